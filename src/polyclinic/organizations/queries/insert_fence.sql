INSERT INTO tenant_fence (organization_id, epoch) VALUES ($1, $2)
ON CONFLICT DO NOTHING
