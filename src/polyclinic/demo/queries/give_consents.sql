SELECT count(*) FILTER (WHERE give_consent(patient_id, 'import', NULL))
FROM unnest($1::uuid[]) AS patient_id
