INSERT INTO organizations (organization_id, name, country, timezone) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
