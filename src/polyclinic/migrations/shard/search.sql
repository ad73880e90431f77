-- Finding a patient by name, spelling, script, phone or number.
--
-- A patient's name is stored as tokens (core/names.py). Prefixes are ranges on a C-collated btree,
-- which row-level security does not stop. Spellings go through the vocabulary: the distinct tokens
-- of an organization, some hundred times fewer than its patients, so that trigrams and sounds stay
-- cheap at any size.

CREATE TABLE patient_name_tokens (
    organization_id uuid NOT NULL,
    token           text COLLATE "C" NOT NULL,
    all_tokens      text COLLATE "C" NOT NULL,   -- ' lopez maria ': every token of the name
    patient_id      uuid NOT NULL,
    PRIMARY KEY (organization_id, token, all_tokens, patient_id),
    FOREIGN KEY (organization_id, patient_id) REFERENCES patients
);
CREATE INDEX patient_name_tokens_of ON patient_name_tokens (organization_id, patient_id);
CALL isolate_by_organization('patient_name_tokens');
GRANT SELECT, INSERT, DELETE ON patient_name_tokens TO polyclinic_app;

CREATE TABLE name_vocabulary (
    organization_id uuid NOT NULL,
    token           text COLLATE "C" NOT NULL,
    sound           text COLLATE "C" NOT NULL,
    PRIMARY KEY (organization_id, token)
);
CREATE INDEX name_vocabulary_sound ON name_vocabulary (organization_id, sound);
CREATE INDEX name_vocabulary_spelling ON name_vocabulary
    USING gin (organization_id, token gin_trgm_ops);
CALL isolate_by_organization('name_vocabulary');
GRANT SELECT, INSERT ON name_vocabulary TO polyclinic_app;

CREATE POLICY keeper ON patient_name_tokens TO polyclinic_keeper USING (true);
CREATE POLICY keeper ON name_vocabulary TO polyclinic_keeper USING (true);
GRANT SELECT, INSERT, DELETE ON patient_name_tokens TO polyclinic_keeper;
GRANT SELECT, INSERT ON name_vocabulary TO polyclinic_keeper;

-- Puts a name into the index. Runs with its caller's rights, in its caller's organization.
-- Tokens come sorted, so that two registrations cannot wait for each other's vocabulary rows.
CREATE FUNCTION index_patient_name(
    p_organization uuid, p_patient uuid, p_tokens text[], p_sounds text[]
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO patient_name_tokens (organization_id, token, all_tokens, patient_id)
    SELECT p_organization, token, ' ' || array_to_string(p_tokens, ' ') || ' ', p_patient
    FROM unnest(p_tokens) AS token;
    INSERT INTO name_vocabulary (organization_id, token, sound)
    SELECT p_organization, token, sound FROM unnest(p_tokens, p_sounds) AS t (token, sound)
    ON CONFLICT DO NOTHING;
END $$;

-- A person's new name reaches every link of this shard, in the transaction that changed it.
CREATE FUNCTION carry_person_name(p_person uuid, p_name text, p_tokens text[], p_sounds text[])
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
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

-- The word of a query that the fewest names begin with: it drives the search, the others filter.
CREATE FUNCTION rarest_word(p_words text[]) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
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

-- The spellings of a query's words: tokens of the vocabulary that sound the same (cost 1 to 3) or
-- differ by one letter (two in a long word; cost 1 more than the letters).
CREATE FUNCTION spellings_of(p_words text[], p_sounds text[])
RETURNS TABLE (place int, token text, cost int)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET pg_trgm.similarity_threshold = 0.3 AS $$
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

-- Patients of the current organization, best match first, after a cursor (tier, sort_a, sort_b, id).
--   tier 0  a phone, e-mail or number, by fingerprint (phone and e-mail only where shared)
--   tier 1  every word is a word of the name
--   tier 2  every word begins a word of the name
--   tier 3  the words are spellings, sounds or beginnings of words of the name; fewest changes first
-- Each tier leaves out what an earlier one holds, and its order is a function of the row, the query
-- and its driver alone, so a cursor neither skips nor repeats. Words are of [a-z0-9], so they are
-- patterns as they stand.
CREATE FUNCTION find_patients(
    p_tokens text[], p_sounds text[], p_driver text, p_fingerprints bytea[], p_limit int,
    p_tier int, p_sort_a text, p_sort_b text, p_id uuid
) RETURNS TABLE (tier int, sort_a text, sort_b text, patient_id uuid)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
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

ALTER FUNCTION carry_person_name OWNER TO polyclinic_keeper;
ALTER FUNCTION rarest_word OWNER TO polyclinic_keeper;
ALTER FUNCTION spellings_of OWNER TO polyclinic_keeper;
ALTER FUNCTION find_patients OWNER TO polyclinic_keeper;
REVOKE EXECUTE ON FUNCTION carry_person_name, rarest_word, spellings_of, find_patients FROM PUBLIC;
GRANT EXECUTE ON FUNCTION carry_person_name, rarest_word, find_patients TO polyclinic_app;
