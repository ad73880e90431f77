-- The hot reads, each one function: context, read under row-level security, audit record, answer.
-- Called in autocommit, so that the record is durable before the data leaves the server. A replica
-- cannot write: there the caller records the access by group commit on the primary
-- (audit/group_commit.py), before it answers.
-- A plain statement that sets the context in its target list would leak; a function does not.

-- What a list shows of a patient. The gate is in the join: no shared link, no profile columns.
CREATE VIEW patient_items WITH (security_invoker = true) AS
SELECT link.organization_id, link.id,
       '{"id":"' || link.id || '","person_id":"' || link.person_id
       || '","name":' || to_json(link.name)::text
       || CASE WHEN person.id IS NULL THEN ',"profile_shared":false}' ELSE
              ',"profile_shared":true,"date_of_birth":'
              || CASE WHEN person.date_of_birth IS NULL THEN 'null'
                      ELSE '"' || person.date_of_birth || '"' END
              || ',"sex":' || CASE WHEN person.sex IS NULL THEN 'null' ELSE '"' || person.sex || '"' END
              || '}' END AS item
FROM patients link
LEFT JOIN patient_persons person ON person.id = link.person_id AND link.profile_shared;
GRANT SELECT ON patient_items TO polyclinic_app;

-- One patient with everything the organization may see of it; the gate as above.
CREATE VIEW patient_views WITH (security_invoker = true) AS
SELECT link.organization_id, link.id, link.person_id, link.name,
       person.id IS NOT NULL AS profile_shared, person.date_of_birth::text AS date_of_birth,
       person.sex, person.phone_sealed, person.phone_is_valid, person.email_sealed,
       person.blood_type, person.allergies::text AS allergies,
       person.chronic_conditions::text AS chronic_conditions, person.emergency_contact_name,
       person.insurance_entries::text AS insurance_entries,
       numbers.systems, numbers.sealed_values
FROM patients link
LEFT JOIN patient_persons person ON person.id = link.person_id AND link.profile_shared
LEFT JOIN LATERAL (
    SELECT array_agg(i.system ORDER BY i.id) AS systems,
           array_agg(i.value_sealed ORDER BY i.id) AS sealed_values
    FROM patient_identifiers i
    WHERE i.organization_id = link.organization_id AND i.patient_id = link.id
      AND person.id IS NOT NULL
) numbers ON true;
GRANT SELECT ON patient_views TO polyclinic_app;

-- No row where the organization has no such patient; the attempt is recorded either way.
CREATE FUNCTION patient_read(
    p_organization uuid, p_user uuid, p_role text, p_branches text, p_request text, p_patient uuid
) RETURNS TABLE (
    id uuid, person_id uuid, name text, profile_shared boolean, date_of_birth text, sex text,
    phone_sealed bytea, phone_is_valid boolean, email_sealed bytea, blood_type text,
    allergies text, chronic_conditions text, emergency_contact_name text, insurance_entries text,
    systems text[], sealed_values bytea[]
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE v_found boolean;
BEGIN
    PERFORM enter_organization(p_organization, p_user, p_role, p_branches, p_request);
    RETURN QUERY
        SELECT v.id, v.person_id, v.name, v.profile_shared, v.date_of_birth, v.sex,
               v.phone_sealed, v.phone_is_valid, v.email_sealed, v.blood_type, v.allergies,
               v.chronic_conditions, v.emergency_contact_name, v.insurance_entries,
               v.systems, v.sealed_values
        FROM patient_views v
        WHERE v.organization_id = p_organization AND v.id = p_patient;
    v_found := FOUND;
    IF NOT pg_is_in_recovery() THEN
        INSERT INTO audit_log (organization_id, user_id, role, action, entity_type, entity_id, outcome, request_id)
        VALUES (p_organization, p_user, p_role, 'patient.read', 'patient', p_patient,
                CASE WHEN v_found THEN 'done' ELSE 'not-found' END, p_request);
    END IF;
END $$;

-- Newest first, after a patient; `items` is a JSON array's inside.
CREATE FUNCTION patient_page(
    p_organization uuid, p_user uuid, p_role text, p_branches text, p_request text,
    p_limit int, p_before uuid
) RETURNS TABLE (items text, last_id uuid, has_more boolean, shown_ids uuid[])
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_ids uuid[];
    v_more boolean;
BEGIN
    PERFORM enter_organization(p_organization, p_user, p_role, p_branches, p_request);
    v_ids := ARRAY (
        SELECT link.id FROM patients link
        WHERE link.organization_id = p_organization
          AND link.id < coalesce(p_before, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        ORDER BY link.id DESC LIMIT p_limit + 1);
    v_more := cardinality(v_ids) > p_limit;
    v_ids := v_ids[:p_limit];
    RETURN QUERY
        SELECT coalesce(string_agg(shown.item, ',' ORDER BY shown.id DESC), ''),
               v_ids[cardinality(v_ids)], v_more, v_ids
        FROM patient_items shown
        WHERE shown.organization_id = p_organization AND shown.id = ANY (v_ids);
    IF NOT pg_is_in_recovery() THEN
        INSERT INTO audit_log (organization_id, user_id, role, action, entity_type, entity_ids, request_id)
        VALUES (p_organization, p_user, p_role, 'patient.list', 'patient', v_ids, p_request);
    END IF;
END $$;

-- Best match first; driver, tier, sort_a, sort_b and last_id are the cursor of the last item shown.
-- The driver stays with a search: which word is rarest may change between two pages.
CREATE FUNCTION patient_search(
    p_organization uuid, p_user uuid, p_role text, p_branches text, p_request text,
    p_tokens text[], p_sounds text[], p_driver text, p_fingerprints bytea[], p_limit int,
    p_tier int, p_sort_a text, p_sort_b text, p_id uuid
) RETURNS TABLE (items text, has_more boolean, driver text, tier int, sort_a text, sort_b text,
                 last_id uuid, shown_ids uuid[])
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_driver text;
    v_ids uuid[];
    v_tiers int[];
    v_as text[];
    v_bs text[];
    v_last int;
BEGIN
    PERFORM enter_organization(p_organization, p_user, p_role, p_branches, p_request);
    v_driver := CASE WHEN cardinality(p_tokens) = 1 THEN p_tokens[1]
                     WHEN p_driver = ANY (p_tokens) THEN p_driver
                     ELSE rarest_word(p_tokens) END;
    SELECT coalesce(array_agg(f.patient_id), '{}'), array_agg(f.tier), array_agg(f.sort_a), array_agg(f.sort_b)
    INTO v_ids, v_tiers, v_as, v_bs
    FROM find_patients(p_tokens, p_sounds, v_driver, p_fingerprints, p_limit + 1,
                       p_tier, p_sort_a, p_sort_b, p_id) AS f;
    v_last := least(cardinality(v_ids), p_limit);
    RETURN QUERY
        SELECT coalesce(string_agg(shown.item, ',' ORDER BY array_position(v_ids, shown.id)), ''),
               cardinality(v_ids) > p_limit, v_driver, v_tiers[v_last], v_as[v_last], v_bs[v_last], v_ids[v_last],
               v_ids[:v_last]
        FROM patient_items shown
        WHERE shown.organization_id = p_organization AND shown.id = ANY (v_ids[:v_last]);
    IF NOT pg_is_in_recovery() THEN
        INSERT INTO audit_log (organization_id, user_id, role, action, entity_type, entity_ids, request_id)
        VALUES (p_organization, p_user, p_role, 'patient.search', 'patient', v_ids[:v_last], p_request);
    END IF;
END $$;
