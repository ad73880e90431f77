INSERT INTO tenant_shards (organization_id, shard_id, region_id) VALUES ($1, $2, $3)
ON CONFLICT (organization_id) DO NOTHING
RETURNING true
