SELECT person_id FROM patients WHERE organization_id = $1 AND person_id = ANY ($2)
