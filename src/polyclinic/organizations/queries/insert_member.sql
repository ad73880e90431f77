INSERT INTO memberships (organization_id, id, user_id, role, branch_ids) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (organization_id, user_id) DO NOTHING
RETURNING id
