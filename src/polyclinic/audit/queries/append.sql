INSERT INTO audit_log (organization_id, user_id, role, action, entity_type, entity_id, entity_ids,
                       outcome, request_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
