UPDATE memberships SET role = $3, branch_ids = $4, version = version + 1, updated_at = now()
WHERE organization_id = $1 AND id = $2
