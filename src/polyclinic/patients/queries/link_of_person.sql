SELECT id FROM patients WHERE organization_id = $1 AND person_id = $2
