UPDATE patient_persons SET
    name = $2, date_of_birth = $3, sex = $4, phone_sealed = $5, phone_is_valid = $6,
    phone_fingerprint = $7, email_sealed = $8, email_fingerprint = $9, key_id = $10,
    blood_type = $11, allergies = $12, chronic_conditions = $13, emergency_contact_name = $14,
    insurance_entries = $15, updated_at = now()
WHERE id = $1
