-- Who saw or changed what, when and why. Append-only for everybody: no role may update or delete.
-- Partitioned by month; a partition is reached through its parent only.

CREATE TABLE audit_log (
    organization_id uuid        NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT now(),
    id              uuid        NOT NULL DEFAULT uuidv7(),
    user_id         uuid        NOT NULL,
    role            text        NOT NULL,
    action          text        NOT NULL,   -- 'patient.read', 'consent.given', ...
    entity_type     text        NOT NULL,
    entity_id       uuid,                   -- the one thing touched
    entity_ids      uuid[],                 -- or the page of things shown
    outcome         text        NOT NULL DEFAULT 'done'
                    CHECK (outcome IN ('done', 'not-found', 'refused')),
    request_id      text        NOT NULL,
    details         jsonb,                  -- names of changed fields, reasons; never their values
    PRIMARY KEY (organization_id, recorded_at, id)
) PARTITION BY RANGE (recorded_at);
CREATE INDEX audit_log_entity ON audit_log (organization_id, entity_id, recorded_at)
    WHERE entity_id IS NOT NULL;

ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_log FORCE ROW LEVEL SECURITY;
CREATE POLICY organization_isolation ON audit_log FOR INSERT TO polyclinic_app WITH CHECK (
    organization_id = (SELECT NULLIF(current_setting('app.current_org_id', true), '')::uuid));
CREATE POLICY read_by_admins ON audit_log FOR SELECT TO polyclinic_app USING (
    organization_id = (SELECT NULLIF(current_setting('app.current_org_id', true), '')::uuid)
    AND (SELECT current_setting('app.current_role', true)) IN ('admin', 'superadmin'));
-- Group commit mixes organizations in one batch: a role that can add rows and do nothing else.
CREATE POLICY append_batches ON audit_log FOR INSERT TO polyclinic_audit_writer WITH CHECK (true);
GRANT SELECT, INSERT ON audit_log TO polyclinic_app;
GRANT INSERT ON audit_log TO polyclinic_audit_writer;

CREATE FUNCTION record_audit(
    p_action text, p_entity_type text, p_entity_id uuid,
    p_entity_ids uuid[] DEFAULT NULL, p_outcome text DEFAULT 'done', p_details jsonb DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_log (organization_id, user_id, role, action, entity_type, entity_id,
                           entity_ids, outcome, request_id, details)
    VALUES (current_setting('app.current_org_id')::uuid, current_setting('app.current_user_id')::uuid,
            current_setting('app.current_role'), p_action, p_entity_type, p_entity_id,
            p_entity_ids, p_outcome, current_setting('app.current_request_id'), p_details);
END $$;
COMMENT ON FUNCTION record_audit IS
    'One audit record in the caller''s organization transaction; actor and request come from its context.';

-- Makes the partitions of this month and the months ahead; repeating it is harmless.
-- A table is made first and attached after, because ATTACH lets inserts go on (SHARE UPDATE
-- EXCLUSIVE) where CREATE ... PARTITION OF would stop them (ACCESS EXCLUSIVE).
CREATE FUNCTION make_audit_partitions(p_months_ahead int DEFAULT 3) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
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
REVOKE EXECUTE ON FUNCTION make_audit_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_audit_partitions TO polyclinic_app;
SELECT make_audit_partitions();
