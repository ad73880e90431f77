SELECT id, recorded_at, user_id, role, action, entity_type, entity_id, entity_ids, outcome,
       request_id, details::text AS details
FROM audit_log
WHERE organization_id = $1
  AND (recorded_at, id) < ($2, $3)
  AND recorded_at >= $4
  AND ($5::uuid IS NULL OR entity_id = $5 OR $5 = ANY (entity_ids))
  AND ($6::uuid IS NULL OR user_id = $6)
  AND ($7::text IS NULL OR action = $7)
ORDER BY recorded_at DESC, id DESC
LIMIT $8
