SELECT organization_id FROM tenant_shards
WHERE state = 'creating' AND updated_at < now() - interval '1 minute'
ORDER BY organization_id
LIMIT 100
