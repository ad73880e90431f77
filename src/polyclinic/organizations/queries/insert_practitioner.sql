INSERT INTO practitioners (organization_id, id, name, specialty, identifiers) VALUES ($1, $2, $3, $4, $5)
RETURNING created_at
