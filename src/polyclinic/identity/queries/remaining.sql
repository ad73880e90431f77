SELECT (SELECT count(*) FROM patient_persons WHERE key_id <> %s),
       (SELECT count(*) FROM patient_identifiers WHERE key_id <> %s)
