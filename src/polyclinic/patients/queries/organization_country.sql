SELECT country FROM organizations WHERE organization_id = $1
