SELECT s.organization_id AS id, s.name, s.country, s.timezone, s.created_at
FROM organization_summary s JOIN tenant_shards t USING (organization_id)
WHERE s.organization_id = $1
