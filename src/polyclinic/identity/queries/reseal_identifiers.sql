UPDATE patient_identifiers SET value_sealed = %s, fingerprint = %s, key_id = %s
WHERE organization_id = %s AND id = %s
