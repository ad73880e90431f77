-- What the migrations of this folder build, in one piece, for reading and review.
-- Written by `make schema`; a test compares it with the migrations.

SET check_function_bodies = false;

CREATE EXTENSION IF NOT EXISTS btree_gin WITH SCHEMA public;

COMMENT ON EXTENSION btree_gin IS 'support for indexing common datatypes in GIN';

CREATE EXTENSION IF NOT EXISTS fuzzystrmatch WITH SCHEMA public;

COMMENT ON EXTENSION fuzzystrmatch IS 'determine similarities and distance between strings';

CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;

COMMENT ON EXTENSION pg_trgm IS 'text similarity measurement and index searching based on trigrams';

CREATE FUNCTION public.carry_person_name(p_person uuid, p_name text, p_tokens text[], p_sounds text[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
DECLARE
    v_link record;
BEGIN
    PERFORM FROM public.patients
    WHERE organization_id = current_setting('app.current_org_id')::uuid
      AND person_id = p_person AND profile_shared;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the profile is not shared with this organization' USING ERRCODE = 'PC004';
    END IF;
    FOR v_link IN
        UPDATE public.patients SET name = p_name WHERE person_id = p_person
        RETURNING organization_id, id
    LOOP
        DELETE FROM public.patient_name_tokens
        WHERE organization_id = v_link.organization_id AND patient_id = v_link.id;
        PERFORM public.index_patient_name(v_link.organization_id, v_link.id, p_tokens, p_sounds);
    END LOOP;
END $$;

ALTER FUNCTION public.carry_person_name(p_person uuid, p_name text, p_tokens text[], p_sounds text[]) OWNER TO polyclinic_keeper;

CREATE FUNCTION public.discover_people(p_phones bytea[], p_emails bytea[], p_birth date) RETURNS TABLE(person_id uuid, name text, date_of_birth date, by_phone boolean, by_email boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY
        SELECT p.id, p.name, p.date_of_birth,
               coalesce(p.phone_fingerprint = ANY (p_phones), false),
               coalesce(p.email_fingerprint = ANY (p_emails), false)
        FROM public.patient_persons p
        WHERE p.phone_fingerprint = ANY (p_phones) OR p.email_fingerprint = ANY (p_emails)
        -- A care home's number is held by many: who was born that day is among those shown.
        ORDER BY p.date_of_birth IS NOT DISTINCT FROM p_birth DESC, p.id
        LIMIT 100;
END $$;

ALTER FUNCTION public.discover_people(p_phones bytea[], p_emails bytea[], p_birth date) OWNER TO polyclinic_keeper;

CREATE FUNCTION public.enter_organization(p_organization uuid, p_user uuid, p_role text, p_branches text, p_request text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    -- A hot function called inside an open transaction would switch that transaction's context.
    IF coalesce(current_setting('app.current_org_id', true), '') <> '' THEN
        RAISE EXCEPTION 'an organization context is already set in this transaction'
            USING ERRCODE = 'PC001';
    END IF;
    PERFORM set_config('app.current_org_id', p_organization::text, true),
            set_config('app.current_user_id', p_user::text, true),
            set_config('app.current_role', p_role, true),
            set_config('app.current_branch_ids', p_branches, true),
            set_config('app.current_request_id', p_request, true);
END $$;

ALTER FUNCTION public.enter_organization(p_organization uuid, p_user uuid, p_role text, p_branches text, p_request text) OWNER TO polyclinic_owner;

COMMENT ON FUNCTION public.enter_organization(p_organization uuid, p_user uuid, p_role text, p_branches text, p_request text) IS 'Sets the organization context for this transaction; refused where one is set already.';

CREATE FUNCTION public.find_patients(p_tokens text[], p_sounds text[], p_driver text, p_fingerprints bytea[], p_limit integer, p_tier integer, p_sort_a text, p_sort_b text, p_id uuid) RETURNS TABLE(tier integer, sort_a text, sort_b text, patient_id uuid)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    v_organization uuid := NULLIF(current_setting('app.current_org_id', true), '')::uuid;
    v_end    text   := p_driver || chr(1114111);  -- after every word that begins with the driver
    v_begin  text[] := ARRAY (SELECT '% ' || w || '%' FROM unnest(p_tokens) w);
    v_whole  text[] := ARRAY (SELECT '% ' || w || ' %' FROM unnest(p_tokens) w);
    v_left   int := p_limit;
    v_found  int;
    v_tokens text[];   -- spellings: the vocabulary's tokens, ...
    v_costs  int[];    -- ... what each costs, ...
    v_places int[];    -- ... and which query word it stands for
    v_word    text;    -- the word that drives tier 3, ...
    v_place   int;     -- ... its place,
    v_spelled text[];  -- ... its spellings,
    v_others  text[];  -- ... and what else a name must match
BEGIN
    IF p_tier = 0 AND cardinality(p_fingerprints) > 0 THEN
        RETURN QUERY
            SELECT 0, ''::text, ''::text, hit.patient_id FROM (
                SELECT i.patient_id FROM public.patient_identifiers i
                WHERE i.organization_id = v_organization AND i.fingerprint = ANY (p_fingerprints)
                UNION
                SELECT link.id FROM public.patient_persons person
                JOIN public.patients link ON link.organization_id = v_organization
                     AND link.person_id = person.id AND link.profile_shared
                WHERE person.phone_fingerprint = ANY (p_fingerprints)
                UNION
                SELECT link.id FROM public.patient_persons person
                JOIN public.patients link ON link.organization_id = v_organization
                     AND link.person_id = person.id AND link.profile_shared
                WHERE person.email_fingerprint = ANY (p_fingerprints)
            ) hit
            WHERE p_id IS NULL OR hit.patient_id > p_id
            ORDER BY hit.patient_id LIMIT v_left;
        GET DIAGNOSTICS v_found = ROW_COUNT;
        v_left := v_left - v_found;
    END IF;
    IF cardinality(p_tokens) = 0 OR v_left = 0 THEN RETURN; END IF;

    IF p_tier <= 1 THEN
        RETURN QUERY
            SELECT 1, t.token::text, t.all_tokens::text, t.patient_id
            FROM public.patient_name_tokens t
            WHERE t.organization_id = v_organization AND t.token = p_driver
              AND (t.all_tokens, t.patient_id) >
                  (CASE WHEN p_tier = 1 THEN p_sort_b ELSE '' END COLLATE "C", p_id)
              AND t.all_tokens LIKE ALL (v_whole)
            ORDER BY t.all_tokens, t.patient_id LIMIT v_left;
        GET DIAGNOSTICS v_found = ROW_COUNT;
        v_left := v_left - v_found;
        IF v_left = 0 THEN RETURN; END IF;
    END IF;

    IF p_tier <= 2 THEN
        RETURN QUERY
            SELECT 2, t.token::text, t.all_tokens::text, t.patient_id
            FROM public.patient_name_tokens t
            WHERE t.organization_id = v_organization AND t.token < v_end
              -- one lower bound, or the scan starts at the beginning of the organization
              AND (t.token, t.all_tokens, t.patient_id) >
                  (CASE WHEN p_tier = 2 THEN p_sort_a ELSE p_driver END COLLATE "C",
                   CASE WHEN p_tier = 2 THEN p_sort_b ELSE '' END COLLATE "C", p_id)
              AND t.all_tokens LIKE ALL (v_begin)
              AND NOT t.all_tokens LIKE ALL (v_whole)
              -- a name with two such words is shown at the first of them
              AND starts_with(substr(t.all_tokens, position(' ' || p_driver IN t.all_tokens)),
                              ' ' || t.token || ' ')
            ORDER BY t.token, t.all_tokens, t.patient_id LIMIT v_left;
        GET DIAGNOSTICS v_found = ROW_COUNT;
        v_left := v_left - v_found;
        IF v_left = 0 THEN RETURN; END IF;
    END IF;

    SELECT coalesce(array_agg(s.token), '{}'), coalesce(array_agg(s.cost), '{}'),
           coalesce(array_agg(s.place), '{}')
    INTO v_tokens, v_costs, v_places
    FROM public.spellings_of(p_tokens, p_sounds) s;

    IF cardinality(p_tokens) = 1 THEN
        -- A name is found at the cheapest of its spellings, in the order of its index.
        RETURN QUERY
            SELECT 3, hit.cost::text, hit.all_tokens::text, hit.patient_id
            FROM unnest(v_tokens, v_costs) AS near (token, cost)
            CROSS JOIN LATERAL (
                SELECT ARRAY (SELECT '% ' || b.token || ' %'
                              FROM unnest(v_tokens, v_costs) AS b (token, cost)
                              WHERE (b.cost, b.token) < (near.cost, near.token)) AS patterns
                OFFSET 0
            ) cheaper
            CROSS JOIN LATERAL (
                SELECT near.cost, t.all_tokens, t.patient_id
                FROM public.patient_name_tokens t
                WHERE t.organization_id = v_organization AND t.token = near.token
                  AND (t.all_tokens, t.patient_id) > (
                      CASE WHEN p_tier < 3 OR near.cost > p_sort_a::int THEN ''
                           WHEN near.cost = p_sort_a::int THEN p_sort_b
                           ELSE chr(1114111) END COLLATE "C", p_id)
                  AND NOT t.all_tokens LIKE ALL (v_begin)
                  AND NOT t.all_tokens LIKE ANY (cheaper.patterns)
                ORDER BY t.all_tokens, t.patient_id LIMIT v_left
            ) hit
            ORDER BY hit.cost, hit.all_tokens, hit.patient_id LIMIT v_left;
        RETURN;
    END IF;

    -- The order no longer depends on the driver: the word with the fewest counterparts will do.
    SELECT q.word, q.place, counterparts.tokens INTO v_word, v_place, v_spelled
    FROM unnest(p_tokens) WITH ORDINALITY AS q (word, place)
    CROSS JOIN LATERAL (
        SELECT ARRAY (SELECT s.token FROM unnest(v_tokens, v_places) AS s (token, place)
                      WHERE s.place = q.place) AS tokens OFFSET 0
    ) counterparts
    CROSS JOIN LATERAL (
        SELECT count(*) AS names FROM (
            (SELECT FROM public.patient_name_tokens t
             WHERE t.organization_id = v_organization
               AND t.token >= q.word AND t.token < q.word || chr(1114111) LIMIT 5000)
            UNION ALL
            (SELECT FROM public.patient_name_tokens t
             WHERE t.organization_id = v_organization
               AND t.token = ANY (counterparts.tokens) LIMIT 5000)
        ) AS name
    ) counted
    ORDER BY counted.names, q.place LIMIT 1;

    -- A name that holds a counterpart of this word needs one of each other word.
    v_others := ARRAY (
        SELECT ' (?:' || concat_ws('|', q.word, (
            SELECT string_agg(s.token || ' ', '|')
            FROM unnest(v_tokens, v_places) AS s (token, place) WHERE s.place = q.place)) || ')'
        FROM unnest(p_tokens) WITH ORDINALITY AS q (word, place) WHERE q.place <> v_place);

    RETURN QUERY
        WITH matching AS MATERIALIZED (
            SELECT t.all_tokens, t.patient_id FROM public.patient_name_tokens t
            WHERE t.organization_id = v_organization
              AND t.token >= v_word AND t.token < v_word || chr(1114111)
              AND t.all_tokens ~ ALL (v_others) AND NOT t.all_tokens LIKE ALL (v_begin)
            UNION
            SELECT t.all_tokens, t.patient_id FROM public.patient_name_tokens t
            WHERE t.organization_id = v_organization AND t.token = ANY (v_spelled)
              AND t.all_tokens ~ ALL (v_others) AND NOT t.all_tokens LIKE ALL (v_begin)
        ), priced AS MATERIALIZED (
            SELECT (
                SELECT sum(CASE WHEN position(' ' || q.word IN m.all_tokens) > 0 THEN 0 ELSE (
                    SELECT min(s.cost) FROM unnest(v_tokens, v_costs, v_places) AS s (token, cost, place)
                    WHERE s.place = q.place AND position(' ' || s.token || ' ' IN m.all_tokens) > 0
                ) END)::int
                FROM unnest(p_tokens) WITH ORDINALITY AS q (word, place)
            ) AS cost, m.all_tokens, m.patient_id
            FROM matching m
        )
        SELECT 3, p.cost::text, p.all_tokens::text, p.patient_id FROM priced p
        WHERE p_tier < 3 OR (p.cost, p.all_tokens, p.patient_id)
                            > (p_sort_a::int, p_sort_b COLLATE "C", p_id)
        ORDER BY p.cost, p.all_tokens, p.patient_id LIMIT v_left;
END $$;

ALTER FUNCTION public.find_patients(p_tokens text[], p_sounds text[], p_driver text, p_fingerprints bytea[], p_limit integer, p_tier integer, p_sort_a text, p_sort_b text, p_id uuid) OWNER TO polyclinic_keeper;

CREATE FUNCTION public.forget_old_idempotency_keys() RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
    WITH gone AS (
        DELETE FROM public.idempotency_keys WHERE created_at < now() - interval '24 hours' RETURNING 1
    ) SELECT count(*) FROM gone
$$;

ALTER FUNCTION public.forget_old_idempotency_keys() OWNER TO polyclinic_keeper;

CREATE FUNCTION public.give_consent(p_patient uuid, p_method text, p_note text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
DECLARE
    v_organization uuid := current_setting('app.current_org_id')::uuid;
BEGIN
    UPDATE public.patients SET profile_shared = true
    WHERE organization_id = v_organization AND id = p_patient;
    IF NOT FOUND THEN RETURN false; END IF;
    INSERT INTO public.consents (organization_id, patient_id, method, note, given_by)
    VALUES (v_organization, p_patient, p_method, p_note, current_setting('app.current_user_id')::uuid)
    ON CONFLICT (organization_id, patient_id) WHERE withdrawn_at IS NULL DO NOTHING;
    RETURN true;
END $$;

ALTER FUNCTION public.give_consent(p_patient uuid, p_method text, p_note text) OWNER TO polyclinic_keeper;

COMMENT ON FUNCTION public.give_consent(p_patient uuid, p_method text, p_note text) IS 'Shares the profile with the current organization; false where it has no such patient. Repeating keeps the first consent.';

CREATE FUNCTION public.index_patient_name(p_organization uuid, p_patient uuid, p_tokens text[], p_sounds text[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO patient_name_tokens (organization_id, token, all_tokens, patient_id)
    SELECT p_organization, token, ' ' || array_to_string(p_tokens, ' ') || ' ', p_patient
    FROM unnest(p_tokens) AS token;
    INSERT INTO name_vocabulary (organization_id, token, sound)
    SELECT p_organization, token, sound FROM unnest(p_tokens, p_sounds) AS t (token, sound)
    ON CONFLICT DO NOTHING;
END $$;

ALTER FUNCTION public.index_patient_name(p_organization uuid, p_patient uuid, p_tokens text[], p_sounds text[]) OWNER TO polyclinic_owner;

CREATE PROCEDURE public.isolate_by_organization(IN p_table regclass)
    LANGUAGE plpgsql
    AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', p_table);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', p_table);
    -- The sub-select runs once per statement and keeps the index; a plpgsql function loses it.
    EXECUTE format(
        'CREATE POLICY organization_isolation ON %s TO polyclinic_app USING ('
        'organization_id = (SELECT NULLIF(current_setting(''app.current_org_id'', true), '''')::uuid))',
        p_table);
END $$;

ALTER PROCEDURE public.isolate_by_organization(IN p_table regclass) OWNER TO polyclinic_owner;

CREATE FUNCTION public.make_audit_partitions(p_months_ahead integer DEFAULT 3) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
DECLARE
    v_month date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    v_name  text;
    v_made  int := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('make_audit_partitions'));
    FOR i IN 0..p_months_ahead LOOP
        v_name := 'audit_log_' || to_char(v_month, 'YYYY_MM');
        IF to_regclass('public.' || v_name) IS NULL THEN
            EXECUTE format('CREATE TABLE public.%I (LIKE public.audit_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', v_name);
            EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', v_name);
            EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', v_name);
            EXECUTE format(
                'ALTER TABLE public.audit_log ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                v_name, v_month::text || ' 00:00:00+00',
                (v_month + interval '1 month')::date::text || ' 00:00:00+00');
            v_made := v_made + 1;
        END IF;
        v_month := (v_month + interval '1 month')::date;
    END LOOP;
    RETURN v_made;
END $$;

ALTER FUNCTION public.make_audit_partitions(p_months_ahead integer) OWNER TO polyclinic_owner;

CREATE FUNCTION public.patient_page(p_organization uuid, p_user uuid, p_role text, p_branches text, p_request text, p_limit integer, p_before uuid) RETURNS TABLE(items text, last_id uuid, has_more boolean, shown_ids uuid[])
    LANGUAGE plpgsql
    AS $$
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

ALTER FUNCTION public.patient_page(p_organization uuid, p_user uuid, p_role text, p_branches text, p_request text, p_limit integer, p_before uuid) OWNER TO polyclinic_owner;

CREATE FUNCTION public.patient_read(p_organization uuid, p_user uuid, p_role text, p_branches text, p_request text, p_patient uuid) RETURNS TABLE(id uuid, person_id uuid, name text, profile_shared boolean, date_of_birth text, sex text, phone_sealed bytea, phone_is_valid boolean, email_sealed bytea, blood_type text, allergies text, chronic_conditions text, emergency_contact_name text, insurance_entries text, systems text[], sealed_values bytea[])
    LANGUAGE plpgsql
    AS $$
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

ALTER FUNCTION public.patient_read(p_organization uuid, p_user uuid, p_role text, p_branches text, p_request text, p_patient uuid) OWNER TO polyclinic_owner;

CREATE FUNCTION public.patient_search(p_organization uuid, p_user uuid, p_role text, p_branches text, p_request text, p_tokens text[], p_sounds text[], p_driver text, p_fingerprints bytea[], p_limit integer, p_tier integer, p_sort_a text, p_sort_b text, p_id uuid) RETURNS TABLE(items text, has_more boolean, driver text, tier integer, sort_a text, sort_b text, last_id uuid, shown_ids uuid[])
    LANGUAGE plpgsql
    AS $$
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

ALTER FUNCTION public.patient_search(p_organization uuid, p_user uuid, p_role text, p_branches text, p_request text, p_tokens text[], p_sounds text[], p_driver text, p_fingerprints bytea[], p_limit integer, p_tier integer, p_sort_a text, p_sort_b text, p_id uuid) OWNER TO polyclinic_owner;

CREATE FUNCTION public.rarest_word(p_words text[]) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
    SELECT w.word FROM unnest(p_words) AS w (word) CROSS JOIN LATERAL (
        SELECT count(*) AS names FROM (
            SELECT FROM public.patient_name_tokens t
            WHERE t.organization_id = NULLIF(current_setting('app.current_org_id', true), '')::uuid
              AND t.token >= w.word AND t.token < w.word || chr(1114111)
            LIMIT 1000
        ) AS beginning_with
    ) counted
    ORDER BY counted.names, length(w.word) DESC, w.word
    LIMIT 1
$$;

ALTER FUNCTION public.rarest_word(p_words text[]) OWNER TO polyclinic_keeper;

CREATE FUNCTION public.record_audit(p_action text, p_entity_type text, p_entity_id uuid, p_entity_ids uuid[] DEFAULT NULL::uuid[], p_outcome text DEFAULT 'done'::text, p_details jsonb DEFAULT NULL::jsonb) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO audit_log (organization_id, user_id, role, action, entity_type, entity_id,
                           entity_ids, outcome, request_id, details)
    VALUES (current_setting('app.current_org_id')::uuid, current_setting('app.current_user_id')::uuid,
            current_setting('app.current_role'), p_action, p_entity_type, p_entity_id,
            p_entity_ids, p_outcome, current_setting('app.current_request_id'), p_details);
END $$;

ALTER FUNCTION public.record_audit(p_action text, p_entity_type text, p_entity_id uuid, p_entity_ids uuid[], p_outcome text, p_details jsonb) OWNER TO polyclinic_owner;

COMMENT ON FUNCTION public.record_audit(p_action text, p_entity_type text, p_entity_id uuid, p_entity_ids uuid[], p_outcome text, p_details jsonb) IS 'One audit record in the caller''s organization transaction; actor and request come from its context.';

CREATE FUNCTION public.record_change_elsewhere(p_person uuid, p_fields text[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
BEGIN
    INSERT INTO public.audit_log (organization_id, user_id, role, action, entity_type, entity_id,
                                  request_id, details)
    SELECT link.organization_id, current_setting('app.current_user_id')::uuid, 'outsider',
           'patient.changed-elsewhere', 'patient', link.id,
           current_setting('app.current_request_id'), jsonb_build_object('fields', p_fields)
    FROM public.patients link
    WHERE link.person_id = p_person
      AND link.organization_id <> current_setting('app.current_org_id')::uuid
      -- who may not change the person may not write into others' logs either
      AND EXISTS (SELECT FROM public.patients own
                  WHERE own.organization_id = current_setting('app.current_org_id')::uuid
                    AND own.person_id = p_person AND own.profile_shared);
END $$;

ALTER FUNCTION public.record_change_elsewhere(p_person uuid, p_fields text[]) OWNER TO polyclinic_keeper;

CREATE FUNCTION public.require_home(p_epoch bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE v_fence tenant_fence;
BEGIN
    SELECT * INTO v_fence FROM tenant_fence
    WHERE organization_id = current_setting('app.current_org_id')::uuid;
    IF NOT FOUND OR v_fence.epoch <> p_epoch THEN
        RAISE EXCEPTION 'this shard is not the organization''s home at epoch %', p_epoch
            USING ERRCODE = 'PC002';
    ELSIF NOT v_fence.writable THEN
        RAISE EXCEPTION 'the organization is being moved' USING ERRCODE = 'PC003';
    END IF;
END $$;

ALTER FUNCTION public.require_home(p_epoch bigint) OWNER TO polyclinic_owner;

CREATE FUNCTION public.spellings_of(p_words text[], p_sounds text[]) RETURNS TABLE(place integer, token text, cost integer)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    SET "pg_trgm.similarity_threshold" TO '0.3'
    AS $$
    SELECT q.place::int, near.token, min(near.cost)
    FROM unnest(p_words, p_sounds) WITH ORDINALITY AS q (word, sound, place)
    CROSS JOIN LATERAL (
        (SELECT v.token::text,
                greatest(1, least(levenshtein_less_equal(v.token, q.word, 3), 3)) AS cost
         FROM public.name_vocabulary v
         WHERE v.organization_id = NULLIF(current_setting('app.current_org_id', true), '')::uuid
           AND v.sound = q.sound AND q.sound <> ''
         ORDER BY 2, 1 LIMIT 40)
        UNION ALL
        (SELECT v.token::text, 1 + levenshtein_less_equal(v.token, q.word, 2)
         FROM public.name_vocabulary v
         WHERE v.organization_id = NULLIF(current_setting('app.current_org_id', true), '')::uuid
           AND length(q.word) >= 4 AND v.token % q.word
           AND levenshtein_less_equal(v.token, q.word, 2)
               <= CASE WHEN length(q.word) < 7 THEN 1 ELSE 2 END
         ORDER BY 2, 1 LIMIT 20)
    ) near
    GROUP BY q.place, near.token
$$;

ALTER FUNCTION public.spellings_of(p_words text[], p_sounds text[]) OWNER TO polyclinic_keeper;

CREATE FUNCTION public.withdraw_consent(p_patient uuid) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
DECLARE
    v_organization uuid := current_setting('app.current_org_id')::uuid;
BEGIN
    UPDATE public.patients SET profile_shared = false
    WHERE organization_id = v_organization AND id = p_patient;
    IF NOT FOUND THEN RETURN false; END IF;
    UPDATE public.consents
    SET withdrawn_at = now(), withdrawn_by = current_setting('app.current_user_id')::uuid
    WHERE organization_id = v_organization AND patient_id = p_patient AND withdrawn_at IS NULL;
    RETURN true;
END $$;

ALTER FUNCTION public.withdraw_consent(p_patient uuid) OWNER TO polyclinic_keeper;

CREATE TABLE public.audit_log (
    organization_id uuid NOT NULL,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL,
    id uuid DEFAULT uuidv7() NOT NULL,
    user_id uuid NOT NULL,
    role text NOT NULL,
    action text NOT NULL,
    entity_type text NOT NULL,
    entity_id uuid,
    entity_ids uuid[],
    outcome text DEFAULT 'done'::text NOT NULL,
    request_id text NOT NULL,
    details jsonb,
    CONSTRAINT audit_log_outcome_check CHECK ((outcome = ANY (ARRAY['done'::text, 'not-found'::text, 'refused'::text])))
)
PARTITION BY RANGE (recorded_at);

ALTER TABLE ONLY public.audit_log FORCE ROW LEVEL SECURITY;

ALTER TABLE public.audit_log OWNER TO polyclinic_owner;

CREATE TABLE public.branches (
    organization_id uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    timezone text NOT NULL,
    address text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT branches_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)))
);

ALTER TABLE ONLY public.branches FORCE ROW LEVEL SECURITY;

ALTER TABLE public.branches OWNER TO polyclinic_owner;

CREATE TABLE public.consents (
    organization_id uuid NOT NULL,
    id uuid DEFAULT uuidv7() NOT NULL,
    patient_id uuid NOT NULL,
    method text NOT NULL,
    note text,
    given_by uuid NOT NULL,
    given_at timestamp with time zone DEFAULT now() NOT NULL,
    withdrawn_by uuid,
    withdrawn_at timestamp with time zone,
    CONSTRAINT consents_check CHECK (((withdrawn_by IS NULL) = (withdrawn_at IS NULL))),
    CONSTRAINT consents_method_check CHECK ((method = ANY (ARRAY['written'::text, 'verbal'::text, 'electronic'::text, 'import'::text])))
);

ALTER TABLE ONLY public.consents FORCE ROW LEVEL SECURITY;

ALTER TABLE public.consents OWNER TO polyclinic_owner;

CREATE TABLE public.data_keys (
    key_id text NOT NULL,
    is_active boolean NOT NULL,
    activated_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE public.data_keys OWNER TO polyclinic_owner;

CREATE TABLE public.idempotency_keys (
    organization_id uuid NOT NULL,
    user_id uuid NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    status integer,
    sealed_answer bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT idempotency_keys_check CHECK (((status IS NULL) = (sealed_answer IS NULL))),
    CONSTRAINT idempotency_keys_key_check CHECK (((length(key) >= 1) AND (length(key) <= 255)))
);

ALTER TABLE ONLY public.idempotency_keys FORCE ROW LEVEL SECURITY;

ALTER TABLE public.idempotency_keys OWNER TO polyclinic_owner;

CREATE TABLE public.imported_records (
    organization_id uuid NOT NULL,
    source text NOT NULL,
    reference text NOT NULL,
    entity_type text NOT NULL,
    entity_id uuid NOT NULL,
    imported_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY public.imported_records FORCE ROW LEVEL SECURITY;

ALTER TABLE public.imported_records OWNER TO polyclinic_owner;

CREATE TABLE public.kept_resources (
    organization_id uuid NOT NULL,
    reference text NOT NULL,
    resource_type text NOT NULL,
    body jsonb NOT NULL,
    kept_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY public.kept_resources FORCE ROW LEVEL SECURITY;

ALTER TABLE public.kept_resources OWNER TO polyclinic_owner;

CREATE TABLE public.name_vocabulary (
    organization_id uuid NOT NULL,
    token text NOT NULL COLLATE pg_catalog."C",
    sound text NOT NULL COLLATE pg_catalog."C"
);

ALTER TABLE ONLY public.name_vocabulary FORCE ROW LEVEL SECURITY;

ALTER TABLE public.name_vocabulary OWNER TO polyclinic_owner;

CREATE TABLE public.organizations (
    organization_id uuid NOT NULL,
    name text NOT NULL,
    country text NOT NULL,
    timezone text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT organizations_country_check CHECK ((country ~ '^[A-Z]{2}$'::text)),
    CONSTRAINT organizations_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)))
);

ALTER TABLE ONLY public.organizations FORCE ROW LEVEL SECURITY;

ALTER TABLE public.organizations OWNER TO polyclinic_owner;

CREATE TABLE public.patient_identifiers (
    organization_id uuid NOT NULL,
    id uuid DEFAULT uuidv7() NOT NULL,
    patient_id uuid NOT NULL,
    system text NOT NULL,
    value_sealed bytea NOT NULL,
    fingerprint bytea NOT NULL,
    key_id text NOT NULL,
    CONSTRAINT patient_identifiers_system_check CHECK (((length(system) >= 1) AND (length(system) <= 200)))
);

ALTER TABLE ONLY public.patient_identifiers FORCE ROW LEVEL SECURITY;

ALTER TABLE public.patient_identifiers OWNER TO polyclinic_owner;

CREATE TABLE public.patient_persons (
    id uuid NOT NULL,
    name text NOT NULL,
    date_of_birth date,
    sex text,
    phone_sealed bytea,
    phone_is_valid boolean,
    phone_fingerprint bytea,
    email_sealed bytea,
    email_fingerprint bytea,
    key_id text NOT NULL,
    blood_type text,
    allergies jsonb DEFAULT '[]'::jsonb NOT NULL,
    chronic_conditions jsonb DEFAULT '[]'::jsonb NOT NULL,
    emergency_contact_name text,
    insurance_entries jsonb DEFAULT '[]'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT patient_persons_blood_type_check CHECK ((blood_type = ANY (ARRAY['A+'::text, 'A-'::text, 'B+'::text, 'B-'::text, 'AB+'::text, 'AB-'::text, 'O+'::text, 'O-'::text]))),
    CONSTRAINT patient_persons_check CHECK (((phone_sealed IS NULL) = (phone_is_valid IS NULL))),
    CONSTRAINT patient_persons_check1 CHECK (((phone_fingerprint IS NULL) OR phone_is_valid)),
    CONSTRAINT patient_persons_check2 CHECK (((email_fingerprint IS NULL) OR (email_sealed IS NOT NULL))),
    CONSTRAINT patient_persons_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT patient_persons_sex_check CHECK ((sex = ANY (ARRAY['female'::text, 'male'::text, 'other'::text, 'unknown'::text])))
);

ALTER TABLE ONLY public.patient_persons FORCE ROW LEVEL SECURITY;

ALTER TABLE public.patient_persons OWNER TO polyclinic_owner;

CREATE TABLE public.patients (
    organization_id uuid NOT NULL,
    id uuid NOT NULL,
    person_id uuid NOT NULL,
    name text NOT NULL,
    profile_shared boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT patients_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)))
);

ALTER TABLE ONLY public.patients FORCE ROW LEVEL SECURITY;

ALTER TABLE public.patients OWNER TO polyclinic_owner;

CREATE VIEW public.patient_items WITH (security_invoker='true') AS
 SELECT link.organization_id,
    link.id,
    (((((('{"id":"'::text || link.id) || '","person_id":"'::text) || link.person_id) || '","name":'::text) || (to_json(link.name))::text) ||
        CASE
            WHEN (person.id IS NULL) THEN ',"profile_shared":false}'::text
            ELSE ((((',"profile_shared":true,"date_of_birth":'::text ||
            CASE
                WHEN (person.date_of_birth IS NULL) THEN 'null'::text
                ELSE (('"'::text || person.date_of_birth) || '"'::text)
            END) || ',"sex":'::text) ||
            CASE
                WHEN (person.sex IS NULL) THEN 'null'::text
                ELSE (('"'::text || person.sex) || '"'::text)
            END) || '}'::text)
        END) AS item
   FROM (public.patients link
     LEFT JOIN public.patient_persons person ON (((person.id = link.person_id) AND link.profile_shared)));

ALTER VIEW public.patient_items OWNER TO polyclinic_owner;

CREATE TABLE public.patient_name_tokens (
    organization_id uuid NOT NULL,
    token text NOT NULL COLLATE pg_catalog."C",
    all_tokens text NOT NULL COLLATE pg_catalog."C",
    patient_id uuid NOT NULL
);

ALTER TABLE ONLY public.patient_name_tokens FORCE ROW LEVEL SECURITY;

ALTER TABLE public.patient_name_tokens OWNER TO polyclinic_owner;

CREATE VIEW public.patient_views WITH (security_invoker='true') AS
 SELECT link.organization_id,
    link.id,
    link.person_id,
    link.name,
    (person.id IS NOT NULL) AS profile_shared,
    (person.date_of_birth)::text AS date_of_birth,
    person.sex,
    person.phone_sealed,
    person.phone_is_valid,
    person.email_sealed,
    person.blood_type,
    (person.allergies)::text AS allergies,
    (person.chronic_conditions)::text AS chronic_conditions,
    person.emergency_contact_name,
    (person.insurance_entries)::text AS insurance_entries,
    numbers.systems,
    numbers.sealed_values
   FROM ((public.patients link
     LEFT JOIN public.patient_persons person ON (((person.id = link.person_id) AND link.profile_shared)))
     LEFT JOIN LATERAL ( SELECT array_agg(i.system ORDER BY i.id) AS systems,
            array_agg(i.value_sealed ORDER BY i.id) AS sealed_values
           FROM public.patient_identifiers i
          WHERE ((i.organization_id = link.organization_id) AND (i.patient_id = link.id) AND (person.id IS NOT NULL))) numbers ON (true));

ALTER VIEW public.patient_views OWNER TO polyclinic_owner;

CREATE TABLE public.practitioner_branches (
    organization_id uuid NOT NULL,
    practitioner_id uuid NOT NULL,
    branch_id uuid NOT NULL
);

ALTER TABLE ONLY public.practitioner_branches FORCE ROW LEVEL SECURITY;

ALTER TABLE public.practitioner_branches OWNER TO polyclinic_owner;

CREATE TABLE public.practitioners (
    organization_id uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    specialty text,
    identifiers jsonb DEFAULT '[]'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT practitioners_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)))
);

ALTER TABLE ONLY public.practitioners FORCE ROW LEVEL SECURITY;

ALTER TABLE public.practitioners OWNER TO polyclinic_owner;

CREATE TABLE public.schema_version (
    version_num character varying(32) NOT NULL
);

ALTER TABLE public.schema_version OWNER TO polyclinic_owner;

CREATE TABLE public.tenant_fence (
    organization_id uuid NOT NULL,
    epoch bigint NOT NULL,
    writable boolean DEFAULT true NOT NULL
);

ALTER TABLE ONLY public.tenant_fence FORCE ROW LEVEL SECURITY;

ALTER TABLE public.tenant_fence OWNER TO polyclinic_owner;

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (organization_id, recorded_at, id);

ALTER TABLE ONLY public.branches
    ADD CONSTRAINT branches_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE ONLY public.consents
    ADD CONSTRAINT consents_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE ONLY public.data_keys
    ADD CONSTRAINT data_keys_pkey PRIMARY KEY (key_id);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (organization_id, user_id, key);

ALTER TABLE ONLY public.imported_records
    ADD CONSTRAINT imported_records_pkey PRIMARY KEY (organization_id, source, reference);

ALTER TABLE ONLY public.kept_resources
    ADD CONSTRAINT kept_resources_pkey PRIMARY KEY (organization_id, reference);

ALTER TABLE ONLY public.name_vocabulary
    ADD CONSTRAINT name_vocabulary_pkey PRIMARY KEY (organization_id, token);

ALTER TABLE ONLY public.organizations
    ADD CONSTRAINT organizations_pkey PRIMARY KEY (organization_id);

ALTER TABLE ONLY public.patient_identifiers
    ADD CONSTRAINT patient_identifiers_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE ONLY public.patient_name_tokens
    ADD CONSTRAINT patient_name_tokens_pkey PRIMARY KEY (organization_id, token, all_tokens, patient_id);

ALTER TABLE ONLY public.patient_persons
    ADD CONSTRAINT patient_persons_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.patients
    ADD CONSTRAINT patients_organization_id_person_id_key UNIQUE (organization_id, person_id);

ALTER TABLE ONLY public.patients
    ADD CONSTRAINT patients_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE ONLY public.practitioner_branches
    ADD CONSTRAINT practitioner_branches_pkey PRIMARY KEY (organization_id, practitioner_id, branch_id);

ALTER TABLE ONLY public.practitioners
    ADD CONSTRAINT practitioners_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE ONLY public.schema_version
    ADD CONSTRAINT schema_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY public.tenant_fence
    ADD CONSTRAINT tenant_fence_pkey PRIMARY KEY (organization_id);

CREATE INDEX audit_log_entity ON ONLY public.audit_log USING btree (organization_id, entity_id, recorded_at) WHERE (entity_id IS NOT NULL);

CREATE UNIQUE INDEX consents_one_in_force ON public.consents USING btree (organization_id, patient_id) WHERE (withdrawn_at IS NULL);

CREATE UNIQUE INDEX data_keys_one_active ON public.data_keys USING btree (is_active) WHERE is_active;

CREATE INDEX idempotency_keys_age ON public.idempotency_keys USING btree (created_at);

CREATE INDEX kept_resources_type ON public.kept_resources USING btree (organization_id, resource_type);

CREATE INDEX name_vocabulary_sound ON public.name_vocabulary USING btree (organization_id, sound);

CREATE INDEX name_vocabulary_spelling ON public.name_vocabulary USING gin (organization_id, token public.gin_trgm_ops);

CREATE INDEX patient_identifiers_found ON public.patient_identifiers USING btree (organization_id, fingerprint);

CREATE INDEX patient_identifiers_key ON public.patient_identifiers USING btree (key_id, organization_id, id);

CREATE INDEX patient_identifiers_of ON public.patient_identifiers USING btree (organization_id, patient_id);

CREATE INDEX patient_name_tokens_of ON public.patient_name_tokens USING btree (organization_id, patient_id);

CREATE INDEX patient_persons_email ON public.patient_persons USING btree (email_fingerprint) WHERE (email_fingerprint IS NOT NULL);

CREATE INDEX patient_persons_key ON public.patient_persons USING btree (key_id, id);

CREATE INDEX patient_persons_phone ON public.patient_persons USING btree (phone_fingerprint) WHERE (phone_fingerprint IS NOT NULL);

CREATE INDEX patients_of_person ON public.patients USING btree (person_id);

ALTER TABLE ONLY public.branches
    ADD CONSTRAINT branches_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(organization_id);

ALTER TABLE ONLY public.consents
    ADD CONSTRAINT consents_organization_id_patient_id_fkey FOREIGN KEY (organization_id, patient_id) REFERENCES public.patients(organization_id, id);

ALTER TABLE ONLY public.imported_records
    ADD CONSTRAINT imported_records_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(organization_id);

ALTER TABLE ONLY public.kept_resources
    ADD CONSTRAINT kept_resources_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(organization_id);

ALTER TABLE ONLY public.patient_identifiers
    ADD CONSTRAINT patient_identifiers_organization_id_patient_id_fkey FOREIGN KEY (organization_id, patient_id) REFERENCES public.patients(organization_id, id);

ALTER TABLE ONLY public.patient_name_tokens
    ADD CONSTRAINT patient_name_tokens_organization_id_patient_id_fkey FOREIGN KEY (organization_id, patient_id) REFERENCES public.patients(organization_id, id);

ALTER TABLE ONLY public.patients
    ADD CONSTRAINT patients_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(organization_id);

ALTER TABLE ONLY public.patients
    ADD CONSTRAINT patients_person_id_fkey FOREIGN KEY (person_id) REFERENCES public.patient_persons(id);

ALTER TABLE ONLY public.practitioner_branches
    ADD CONSTRAINT practitioner_branches_organization_id_branch_id_fkey FOREIGN KEY (organization_id, branch_id) REFERENCES public.branches(organization_id, id);

ALTER TABLE ONLY public.practitioner_branches
    ADD CONSTRAINT practitioner_branches_organization_id_practitioner_id_fkey FOREIGN KEY (organization_id, practitioner_id) REFERENCES public.practitioners(organization_id, id);

ALTER TABLE ONLY public.practitioners
    ADD CONSTRAINT practitioners_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(organization_id);

CREATE POLICY append_batches ON public.audit_log FOR INSERT TO polyclinic_audit_writer WITH CHECK (true);

ALTER TABLE public.audit_log ENABLE ROW LEVEL SECURITY;

CREATE POLICY branch_limit ON public.branches AS RESTRICTIVE FOR SELECT TO polyclinic_app USING ((( SELECT (NULLIF(current_setting('app.current_branch_ids'::text, true), ''::text) IS NULL)) OR (id = ANY (( SELECT (NULLIF(current_setting('app.current_branch_ids'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))));

CREATE POLICY branch_limit ON public.practitioners AS RESTRICTIVE FOR SELECT TO polyclinic_app USING ((( SELECT (NULLIF(current_setting('app.current_branch_ids'::text, true), ''::text) IS NULL)) OR (NOT (EXISTS ( SELECT
   FROM public.practitioner_branches b
  WHERE ((b.organization_id = practitioners.organization_id) AND (b.practitioner_id = practitioners.id))))) OR (EXISTS ( SELECT
   FROM public.practitioner_branches b
  WHERE ((b.organization_id = practitioners.organization_id) AND (b.practitioner_id = practitioners.id) AND (b.branch_id = ANY (( SELECT (NULLIF(current_setting('app.current_branch_ids'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])))))));

ALTER TABLE public.branches ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.consents ENABLE ROW LEVEL SECURITY;

CREATE POLICY edited_under_consent ON public.patient_persons FOR UPDATE TO polyclinic_app USING ((EXISTS ( SELECT
   FROM public.patients link
  WHERE ((link.organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")) AND (link.person_id = patient_persons.id) AND link.profile_shared))));

ALTER TABLE public.idempotency_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.imported_records ENABLE ROW LEVEL SECURITY;

CREATE POLICY keeper ON public.audit_log FOR INSERT TO polyclinic_keeper WITH CHECK (true);

CREATE POLICY keeper ON public.consents TO polyclinic_keeper USING (true);

CREATE POLICY keeper ON public.idempotency_keys TO polyclinic_keeper USING (true);

CREATE POLICY keeper ON public.name_vocabulary TO polyclinic_keeper USING (true);

CREATE POLICY keeper ON public.patient_identifiers TO polyclinic_keeper USING (true);

CREATE POLICY keeper ON public.patient_name_tokens TO polyclinic_keeper USING (true);

CREATE POLICY keeper ON public.patient_persons TO polyclinic_keeper USING (true);

CREATE POLICY keeper ON public.patients TO polyclinic_keeper USING (true);

ALTER TABLE public.kept_resources ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.name_vocabulary ENABLE ROW LEVEL SECURITY;

CREATE POLICY organization_isolation ON public.audit_log FOR INSERT TO polyclinic_app WITH CHECK ((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY organization_isolation ON public.branches TO polyclinic_app USING ((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY organization_isolation ON public.consents TO polyclinic_app USING ((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY organization_isolation ON public.idempotency_keys TO polyclinic_app USING ((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY organization_isolation ON public.imported_records TO polyclinic_app USING ((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY organization_isolation ON public.kept_resources TO polyclinic_app USING ((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY organization_isolation ON public.name_vocabulary TO polyclinic_app USING ((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY organization_isolation ON public.organizations TO polyclinic_app USING ((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY organization_isolation ON public.patient_identifiers TO polyclinic_app USING ((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY organization_isolation ON public.patient_name_tokens TO polyclinic_app USING ((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY organization_isolation ON public.patients TO polyclinic_app USING ((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY organization_isolation ON public.practitioner_branches TO polyclinic_app USING ((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY organization_isolation ON public.practitioners TO polyclinic_app USING ((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY organization_isolation ON public.tenant_fence TO polyclinic_app USING ((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")));

ALTER TABLE public.organizations ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.patient_identifiers ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.patient_name_tokens ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.patient_persons ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.patients ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.practitioner_branches ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.practitioners ENABLE ROW LEVEL SECURITY;

CREATE POLICY read_by_admins ON public.audit_log FOR SELECT TO polyclinic_app USING (((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")) AND (( SELECT current_setting('app.current_role'::text, true) AS current_setting) = ANY (ARRAY['admin'::text, 'superadmin'::text]))));

CREATE POLICY registered_by_organization ON public.patient_persons FOR INSERT TO polyclinic_app WITH CHECK ((( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif") IS NOT NULL));

CREATE POLICY shared_with_organization ON public.patient_persons FOR SELECT TO polyclinic_app USING ((EXISTS ( SELECT
   FROM public.patients link
  WHERE ((link.organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")) AND (link.person_id = patient_persons.id) AND link.profile_shared))));

ALTER TABLE public.tenant_fence ENABLE ROW LEVEL SECURITY;

GRANT ALL ON SCHEMA public TO polyclinic_owner;
GRANT ALL ON SCHEMA public TO polyclinic_keeper;

REVOKE ALL ON FUNCTION public.carry_person_name(p_person uuid, p_name text, p_tokens text[], p_sounds text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.carry_person_name(p_person uuid, p_name text, p_tokens text[], p_sounds text[]) TO polyclinic_app;

REVOKE ALL ON FUNCTION public.discover_people(p_phones bytea[], p_emails bytea[], p_birth date) FROM PUBLIC;
GRANT ALL ON FUNCTION public.discover_people(p_phones bytea[], p_emails bytea[], p_birth date) TO polyclinic_app;

REVOKE ALL ON FUNCTION public.find_patients(p_tokens text[], p_sounds text[], p_driver text, p_fingerprints bytea[], p_limit integer, p_tier integer, p_sort_a text, p_sort_b text, p_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION public.find_patients(p_tokens text[], p_sounds text[], p_driver text, p_fingerprints bytea[], p_limit integer, p_tier integer, p_sort_a text, p_sort_b text, p_id uuid) TO polyclinic_app;

REVOKE ALL ON FUNCTION public.forget_old_idempotency_keys() FROM PUBLIC;
GRANT ALL ON FUNCTION public.forget_old_idempotency_keys() TO polyclinic_app;

REVOKE ALL ON FUNCTION public.give_consent(p_patient uuid, p_method text, p_note text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.give_consent(p_patient uuid, p_method text, p_note text) TO polyclinic_app;

REVOKE ALL ON FUNCTION public.make_audit_partitions(p_months_ahead integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.make_audit_partitions(p_months_ahead integer) TO polyclinic_app;

REVOKE ALL ON FUNCTION public.rarest_word(p_words text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.rarest_word(p_words text[]) TO polyclinic_app;

REVOKE ALL ON FUNCTION public.record_change_elsewhere(p_person uuid, p_fields text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.record_change_elsewhere(p_person uuid, p_fields text[]) TO polyclinic_app;

REVOKE ALL ON FUNCTION public.spellings_of(p_words text[], p_sounds text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION public.withdraw_consent(p_patient uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION public.withdraw_consent(p_patient uuid) TO polyclinic_app;

GRANT SELECT,INSERT ON TABLE public.audit_log TO polyclinic_app;
GRANT INSERT ON TABLE public.audit_log TO polyclinic_audit_writer;
GRANT INSERT ON TABLE public.audit_log TO polyclinic_keeper;

GRANT SELECT,INSERT ON TABLE public.branches TO polyclinic_app;

GRANT SELECT ON TABLE public.consents TO polyclinic_app;
GRANT SELECT,INSERT,UPDATE ON TABLE public.consents TO polyclinic_keeper;

GRANT SELECT ON TABLE public.data_keys TO polyclinic_app;

GRANT SELECT,INSERT ON TABLE public.idempotency_keys TO polyclinic_app;
GRANT SELECT,DELETE ON TABLE public.idempotency_keys TO polyclinic_keeper;

GRANT UPDATE(status) ON TABLE public.idempotency_keys TO polyclinic_app;

GRANT UPDATE(sealed_answer) ON TABLE public.idempotency_keys TO polyclinic_app;

GRANT SELECT,INSERT ON TABLE public.imported_records TO polyclinic_app;

GRANT SELECT,INSERT ON TABLE public.kept_resources TO polyclinic_app;

GRANT SELECT,INSERT ON TABLE public.name_vocabulary TO polyclinic_app;
GRANT SELECT,INSERT ON TABLE public.name_vocabulary TO polyclinic_keeper;

GRANT SELECT,INSERT ON TABLE public.organizations TO polyclinic_app;

GRANT SELECT,INSERT ON TABLE public.patient_identifiers TO polyclinic_app;
GRANT SELECT,UPDATE ON TABLE public.patient_identifiers TO polyclinic_keeper;

GRANT SELECT,INSERT ON TABLE public.patient_persons TO polyclinic_app;
GRANT SELECT,UPDATE ON TABLE public.patient_persons TO polyclinic_keeper;

GRANT UPDATE(name) ON TABLE public.patient_persons TO polyclinic_app;

GRANT UPDATE(date_of_birth) ON TABLE public.patient_persons TO polyclinic_app;

GRANT UPDATE(sex) ON TABLE public.patient_persons TO polyclinic_app;

GRANT UPDATE(phone_sealed) ON TABLE public.patient_persons TO polyclinic_app;

GRANT UPDATE(phone_is_valid) ON TABLE public.patient_persons TO polyclinic_app;

GRANT UPDATE(phone_fingerprint) ON TABLE public.patient_persons TO polyclinic_app;

GRANT UPDATE(email_sealed) ON TABLE public.patient_persons TO polyclinic_app;

GRANT UPDATE(email_fingerprint) ON TABLE public.patient_persons TO polyclinic_app;

GRANT UPDATE(key_id) ON TABLE public.patient_persons TO polyclinic_app;

GRANT UPDATE(blood_type) ON TABLE public.patient_persons TO polyclinic_app;

GRANT UPDATE(allergies) ON TABLE public.patient_persons TO polyclinic_app;

GRANT UPDATE(chronic_conditions) ON TABLE public.patient_persons TO polyclinic_app;

GRANT UPDATE(emergency_contact_name) ON TABLE public.patient_persons TO polyclinic_app;

GRANT UPDATE(insurance_entries) ON TABLE public.patient_persons TO polyclinic_app;

GRANT UPDATE(updated_at) ON TABLE public.patient_persons TO polyclinic_app;

GRANT SELECT ON TABLE public.patients TO polyclinic_app;
GRANT SELECT ON TABLE public.patients TO polyclinic_keeper;

GRANT INSERT(organization_id) ON TABLE public.patients TO polyclinic_app;

GRANT INSERT(id) ON TABLE public.patients TO polyclinic_app;

GRANT INSERT(person_id) ON TABLE public.patients TO polyclinic_app;

GRANT INSERT(name) ON TABLE public.patients TO polyclinic_app;
GRANT UPDATE(name) ON TABLE public.patients TO polyclinic_keeper;

GRANT UPDATE(profile_shared) ON TABLE public.patients TO polyclinic_keeper;

GRANT SELECT ON TABLE public.patient_items TO polyclinic_app;

GRANT SELECT,INSERT,DELETE ON TABLE public.patient_name_tokens TO polyclinic_app;
GRANT SELECT,INSERT,DELETE ON TABLE public.patient_name_tokens TO polyclinic_keeper;

GRANT SELECT ON TABLE public.patient_views TO polyclinic_app;

GRANT SELECT,INSERT ON TABLE public.practitioner_branches TO polyclinic_app;

GRANT SELECT,INSERT ON TABLE public.practitioners TO polyclinic_app;

GRANT SELECT ON TABLE public.schema_version TO polyclinic_app;

GRANT SELECT,INSERT ON TABLE public.tenant_fence TO polyclinic_app;
