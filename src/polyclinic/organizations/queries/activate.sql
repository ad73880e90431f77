UPDATE tenant_shards SET state = 'active', updated_at = now() WHERE organization_id = $1 AND state = 'creating'
