INSERT INTO patient_identifiers (organization_id, patient_id, system, value_sealed, fingerprint, key_id)
SELECT $1, $2, t.system, t.sealed, t.print, $6
FROM unnest($3::text[], $4::bytea[], $5::bytea[]) AS t (system, sealed, print)
