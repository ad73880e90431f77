INSERT INTO patient_persons (
    id, name, date_of_birth, sex, phone_sealed, phone_is_valid, phone_fingerprint,
    email_sealed, email_fingerprint, key_id, blood_type, allergies, chronic_conditions,
    emergency_contact_name, insurance_entries
)
SELECT p.id, p.name, p.date_of_birth, p.sex,
       p.phone_sealed, CASE WHEN p.phone_sealed IS NOT NULL THEN true END, p.phone_fingerprint,
       p.email_sealed, p.email_fingerprint, $1, p.blood_type, p.allergies::jsonb,
       p.chronic_conditions::jsonb, p.emergency_contact_name, p.insurance_entries::jsonb
FROM unnest(
    $2::uuid[], $3::text[], $4::date[], $5::text[], $6::bytea[], $7::bytea[], $8::bytea[],
    $9::bytea[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[]
) AS p (
    id, name, date_of_birth, sex, phone_sealed, phone_fingerprint, email_sealed,
    email_fingerprint, blood_type, allergies, chronic_conditions, emergency_contact_name,
    insurance_entries
)
