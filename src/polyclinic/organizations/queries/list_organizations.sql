SELECT s.organization_id AS id, s.name, s.country, s.timezone, s.created_at
FROM organization_summary s JOIN tenant_shards t USING (organization_id)
WHERE t.state = 'active' AND s.organization_id > $1 AND ($2::uuid[] IS NULL OR s.organization_id = ANY ($2))
ORDER BY s.organization_id
LIMIT $3
