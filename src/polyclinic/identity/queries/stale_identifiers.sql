SELECT organization_id, id, patient_id, value_sealed FROM patient_identifiers
WHERE key_id <> %s
ORDER BY id
LIMIT %s
FOR UPDATE
