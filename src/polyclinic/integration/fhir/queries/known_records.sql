SELECT r.reference, p.name AS patient_name
FROM imported_records r
LEFT JOIN patients p
       ON p.organization_id = r.organization_id AND p.id = r.entity_id AND r.entity_type = 'patient'
WHERE r.organization_id = $1 AND r.source = 'fhir' AND r.reference = ANY ($2)
UNION ALL
SELECT k.reference, NULL
FROM kept_resources k
WHERE k.organization_id = $1 AND k.reference = ANY ($2)
