INSERT INTO branches (organization_id, id, name, timezone, address) VALUES ($1, $2, $3, $4, $5)
RETURNING id, name, timezone, address, created_at
