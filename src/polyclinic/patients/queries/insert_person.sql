INSERT INTO patient_persons (
    id, name, date_of_birth, sex, phone_sealed, phone_is_valid, phone_fingerprint,
    email_sealed, email_fingerprint, key_id, blood_type, allergies, chronic_conditions,
    emergency_contact_name, insurance_entries
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
