SELECT id, name, timezone, address, created_at FROM branches
WHERE organization_id = $1 AND id > $2
ORDER BY id
LIMIT $3
