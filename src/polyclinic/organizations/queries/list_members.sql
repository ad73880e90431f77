SELECT m.id, m.user_id, u.issuer, u.subject, m.role, m.branch_ids, m.version, m.created_at
FROM memberships m JOIN users u ON u.id = m.user_id
WHERE m.organization_id = $1 AND m.id > $2 AND ($3::uuid IS NULL OR m.id = $3)
ORDER BY m.id
LIMIT $4
