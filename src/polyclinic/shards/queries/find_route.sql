SELECT t.shard_id, t.region_id, t.epoch, n.id AS node_id, n.role, n.dsn_reference
FROM tenant_shards t
JOIN nodes n ON n.shard_id = t.shard_id
WHERE t.organization_id = $1 AND (t.state = 'active' OR $2)
ORDER BY n.role <> 'primary', n.id
