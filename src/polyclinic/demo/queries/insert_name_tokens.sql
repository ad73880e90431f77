-- In the index's order: neighbours go to the same page.
INSERT INTO patient_name_tokens (organization_id, token, all_tokens, patient_id)
SELECT $1, token, named.all_tokens, named.patient_id
FROM unnest($2::uuid[], $3::text[]) AS named (patient_id, all_tokens),
     string_to_table(btrim(named.all_tokens), ' ') AS token
ORDER BY token COLLATE "C", named.all_tokens COLLATE "C"
