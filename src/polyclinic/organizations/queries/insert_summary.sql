INSERT INTO organization_summary (organization_id, name, country, timezone) VALUES ($1, $2, $3, $4)
