SELECT reference FROM imported_records WHERE organization_id = $1 AND source = 'demo'
