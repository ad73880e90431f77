UPDATE patient_persons SET phone_sealed = %s, phone_fingerprint = %s, email_sealed = %s,
       email_fingerprint = %s, key_id = %s
WHERE id = %s
