SELECT id FROM patients WHERE organization_id = %(organization_id)s
ORDER BY id DESC OFFSET %(depth)s - 1 LIMIT %(count)s
