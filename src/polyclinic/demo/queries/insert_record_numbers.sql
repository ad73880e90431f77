INSERT INTO patient_identifiers (organization_id, patient_id, system, value_sealed, fingerprint, key_id)
SELECT $1, number.patient_id, $2, number.sealed, number.print, $3
FROM unnest($4::uuid[], $5::bytea[], $6::bytea[]) AS number (patient_id, sealed, print)
