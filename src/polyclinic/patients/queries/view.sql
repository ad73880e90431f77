SELECT id, person_id, name, profile_shared, date_of_birth, sex, phone_sealed, phone_is_valid,
       email_sealed, blood_type, allergies, chronic_conditions, emergency_contact_name,
       insurance_entries, systems, sealed_values
FROM patient_views
WHERE organization_id = $1 AND id = $2
