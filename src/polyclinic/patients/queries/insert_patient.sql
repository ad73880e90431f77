INSERT INTO patients (organization_id, id, person_id, name) VALUES ($1, $2, $3, $4)
