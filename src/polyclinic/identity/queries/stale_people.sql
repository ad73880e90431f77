SELECT id, phone_sealed, phone_is_valid, email_sealed FROM patient_persons
WHERE key_id <> %s
ORDER BY id
LIMIT %s
FOR UPDATE
