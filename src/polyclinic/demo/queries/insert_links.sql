INSERT INTO patients (organization_id, id, person_id, name)
SELECT $1, link.id, link.person_id, link.name
FROM unnest($2::uuid[], $3::uuid[], $4::text[]) AS link (id, person_id, name)
