SELECT s.id, s.region_id FROM shards s
LEFT JOIN tenant_shards t ON t.shard_id = s.id
WHERE s.tier = 'shared'
GROUP BY s.id, s.region_id
ORDER BY count(t.organization_id), s.id
LIMIT 1
