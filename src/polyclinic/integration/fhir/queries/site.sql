SELECT country, timezone FROM organizations WHERE organization_id = $1
