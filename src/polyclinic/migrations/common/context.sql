-- The organization context: who acts, for which organization, in this transaction alone.
--
-- Invariant: a policy compares with current_setting('app.current_org_id'), and only the functions
-- below set it, always transaction-local. An unset context is '' or NULL, becomes NULL by NULLIF,
-- and matches no row.

-- SQLSTATE class PC belongs to this project:
--   PC001 context already set   PC002 stale route   PC003 not writable here
--   PC004 a name changed without consent (a mistake of ours: no request leads there)

CREATE FUNCTION enter_organization(
    p_organization uuid, p_user uuid, p_role text, p_branches text, p_request text
) RETURNS void
LANGUAGE plpgsql AS $$
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

COMMENT ON FUNCTION enter_organization IS
    'Sets the organization context for this transaction; refused where one is set already.';

-- Every organization's table: enabled, forced, one policy, and nothing for the owner.
CREATE PROCEDURE isolate_by_organization(p_table regclass)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', p_table);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', p_table);
    -- The sub-select runs once per statement and keeps the index; a plpgsql function loses it.
    EXECUTE format(
        'CREATE POLICY organization_isolation ON %s TO polyclinic_app USING ('
        'organization_id = (SELECT NULLIF(current_setting(''app.current_org_id'', true), '''')::uuid))',
        p_table);
END $$;

-- Answers kept for a repeated POST with the same Idempotency-Key. The body is sealed by the API.
CREATE TABLE idempotency_keys (
    organization_id uuid        NOT NULL,
    user_id         uuid        NOT NULL,
    key             text        NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    request_hash    bytea       NOT NULL,
    status          int,
    sealed_answer   bytea,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, user_id, key),
    CHECK ((status IS NULL) = (sealed_answer IS NULL))
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
CALL isolate_by_organization('idempotency_keys');
GRANT SELECT, INSERT, UPDATE (status, sealed_answer) ON idempotency_keys TO polyclinic_app;

CREATE FUNCTION forget_old_idempotency_keys() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH gone AS (
        DELETE FROM public.idempotency_keys WHERE created_at < now() - interval '24 hours' RETURNING 1
    ) SELECT count(*) FROM gone
$$;
ALTER FUNCTION forget_old_idempotency_keys OWNER TO polyclinic_keeper;
CREATE POLICY keeper ON idempotency_keys TO polyclinic_keeper USING (true);
GRANT SELECT, DELETE ON idempotency_keys TO polyclinic_keeper;
REVOKE EXECUTE ON FUNCTION forget_old_idempotency_keys FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_old_idempotency_keys TO polyclinic_app;
