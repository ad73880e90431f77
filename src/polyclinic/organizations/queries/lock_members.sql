SELECT id, role FROM memberships WHERE organization_id = $1 AND (id = $2 OR role = 'admin')
ORDER BY id
FOR UPDATE
