SELECT count(*) FROM patients WHERE organization_id = $1
