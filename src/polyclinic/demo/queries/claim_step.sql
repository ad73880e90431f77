INSERT INTO imported_records (organization_id, source, reference, entity_type, entity_id)
VALUES ($1, 'demo', $2, 'demo-step', $1)
ON CONFLICT DO NOTHING
RETURNING true
