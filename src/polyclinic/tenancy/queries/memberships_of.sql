SELECT user_id, is_superadmin, organization_id, role, branch_ids FROM memberships_of($1, $2)
