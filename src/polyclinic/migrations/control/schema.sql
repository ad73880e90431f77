-- What the migrations of this folder build, in one piece, for reading and review.
-- Written by `make schema`; a test compares it with the migrations.

SET check_function_bodies = false;

CREATE FUNCTION public.announce_membership_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_notify('membership_changed', coalesce(NEW.user_id, OLD.user_id)::text);
    RETURN NULL;
END $$;

ALTER FUNCTION public.announce_membership_change() OWNER TO polyclinic_owner;

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

CREATE FUNCTION public.forget_old_idempotency_keys() RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
    WITH gone AS (
        DELETE FROM public.idempotency_keys WHERE created_at < now() - interval '24 hours' RETURNING 1
    ) SELECT count(*) FROM gone
$$;

ALTER FUNCTION public.forget_old_idempotency_keys() OWNER TO polyclinic_keeper;

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

CREATE FUNCTION public.memberships_of(p_issuer text, p_subject text) RETURNS TABLE(user_id uuid, is_superadmin boolean, organization_id uuid, role text, branch_ids uuid[])
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
    SELECT u.id, u.is_superadmin, m.organization_id, m.role, m.branch_ids
    FROM public.users u LEFT JOIN public.memberships m ON m.user_id = u.id
    WHERE u.issuer = p_issuer AND u.subject = p_subject
    ORDER BY m.organization_id
$$;

ALTER FUNCTION public.memberships_of(p_issuer text, p_subject text) OWNER TO polyclinic_keeper;

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

CREATE TABLE public.memberships (
    organization_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    role text NOT NULL,
    branch_ids uuid[],
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT memberships_branch_ids_check CHECK (((branch_ids IS NULL) OR (cardinality(branch_ids) > 0))),
    CONSTRAINT memberships_role_check CHECK ((role = ANY (ARRAY['admin'::text, 'doctor'::text, 'receptionist'::text, 'cashier'::text, 'patient'::text])))
);

ALTER TABLE ONLY public.memberships FORCE ROW LEVEL SECURITY;

ALTER TABLE public.memberships OWNER TO polyclinic_owner;

CREATE TABLE public.nodes (
    shard_id text NOT NULL,
    id text NOT NULL,
    role text NOT NULL,
    dsn_reference text NOT NULL,
    CONSTRAINT nodes_role_check CHECK ((role = ANY (ARRAY['primary'::text, 'replica'::text])))
);

ALTER TABLE public.nodes OWNER TO polyclinic_owner;

CREATE TABLE public.organization_summary (
    organization_id uuid NOT NULL,
    name text NOT NULL,
    country text NOT NULL,
    timezone text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE public.organization_summary OWNER TO polyclinic_owner;

CREATE TABLE public.regions (
    id text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE public.regions OWNER TO polyclinic_owner;

CREATE TABLE public.schema_version (
    version_num character varying(32) NOT NULL
);

ALTER TABLE public.schema_version OWNER TO polyclinic_owner;

CREATE TABLE public.shards (
    id text NOT NULL,
    region_id text NOT NULL,
    tier text DEFAULT 'shared'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT shards_tier_check CHECK ((tier = ANY (ARRAY['shared'::text, 'enterprise'::text])))
);

ALTER TABLE public.shards OWNER TO polyclinic_owner;

CREATE TABLE public.tenant_shards (
    organization_id uuid NOT NULL,
    shard_id text NOT NULL,
    region_id text NOT NULL,
    tier text DEFAULT 'shared'::text NOT NULL,
    epoch bigint DEFAULT 1 NOT NULL,
    state text DEFAULT 'creating'::text NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenant_shards_epoch_check CHECK ((epoch > 0)),
    CONSTRAINT tenant_shards_state_check CHECK ((state = ANY (ARRAY['creating'::text, 'active'::text]))),
    CONSTRAINT tenant_shards_tier_check CHECK ((tier = ANY (ARRAY['shared'::text, 'enterprise'::text])))
);

ALTER TABLE public.tenant_shards OWNER TO polyclinic_owner;

CREATE TABLE public.users (
    id uuid NOT NULL,
    issuer text NOT NULL,
    subject text NOT NULL,
    is_superadmin boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT users_subject_check CHECK (((length(subject) >= 1) AND (length(subject) <= 255)))
);

ALTER TABLE public.users OWNER TO polyclinic_owner;

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (organization_id, recorded_at, id);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (organization_id, user_id, key);

ALTER TABLE ONLY public.memberships
    ADD CONSTRAINT memberships_organization_id_user_id_key UNIQUE (organization_id, user_id);

ALTER TABLE ONLY public.memberships
    ADD CONSTRAINT memberships_pkey PRIMARY KEY (organization_id, id);

ALTER TABLE ONLY public.nodes
    ADD CONSTRAINT nodes_pkey PRIMARY KEY (shard_id, id);

ALTER TABLE ONLY public.organization_summary
    ADD CONSTRAINT organization_summary_pkey PRIMARY KEY (organization_id);

ALTER TABLE ONLY public.regions
    ADD CONSTRAINT regions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.schema_version
    ADD CONSTRAINT schema_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY public.shards
    ADD CONSTRAINT shards_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.tenant_shards
    ADD CONSTRAINT tenant_shards_pkey PRIMARY KEY (organization_id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_issuer_subject_key UNIQUE (issuer, subject);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

CREATE INDEX audit_log_entity ON ONLY public.audit_log USING btree (organization_id, entity_id, recorded_at) WHERE (entity_id IS NOT NULL);

CREATE INDEX idempotency_keys_age ON public.idempotency_keys USING btree (created_at);

CREATE INDEX memberships_of_user ON public.memberships USING btree (user_id);

CREATE UNIQUE INDEX nodes_one_primary ON public.nodes USING btree (shard_id) WHERE (role = 'primary'::text);

CREATE TRIGGER membership_changed AFTER INSERT OR DELETE OR UPDATE ON public.memberships FOR EACH ROW EXECUTE FUNCTION public.announce_membership_change();

ALTER TABLE ONLY public.memberships
    ADD CONSTRAINT memberships_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.tenant_shards(organization_id);

ALTER TABLE ONLY public.memberships
    ADD CONSTRAINT memberships_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.nodes
    ADD CONSTRAINT nodes_shard_id_fkey FOREIGN KEY (shard_id) REFERENCES public.shards(id);

ALTER TABLE ONLY public.organization_summary
    ADD CONSTRAINT organization_summary_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.tenant_shards(organization_id);

ALTER TABLE ONLY public.shards
    ADD CONSTRAINT shards_region_id_fkey FOREIGN KEY (region_id) REFERENCES public.regions(id);

ALTER TABLE ONLY public.tenant_shards
    ADD CONSTRAINT tenant_shards_region_id_fkey FOREIGN KEY (region_id) REFERENCES public.regions(id);

ALTER TABLE ONLY public.tenant_shards
    ADD CONSTRAINT tenant_shards_shard_id_fkey FOREIGN KEY (shard_id) REFERENCES public.shards(id);

CREATE POLICY append_batches ON public.audit_log FOR INSERT TO polyclinic_audit_writer WITH CHECK (true);

ALTER TABLE public.audit_log ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.idempotency_keys ENABLE ROW LEVEL SECURITY;

CREATE POLICY keeper ON public.idempotency_keys TO polyclinic_keeper USING (true);

CREATE POLICY keeper ON public.memberships FOR SELECT TO polyclinic_keeper USING (true);

ALTER TABLE public.memberships ENABLE ROW LEVEL SECURITY;

CREATE POLICY organization_isolation ON public.audit_log FOR INSERT TO polyclinic_app WITH CHECK ((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY organization_isolation ON public.idempotency_keys TO polyclinic_app USING ((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY organization_isolation ON public.memberships TO polyclinic_app USING ((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY read_by_admins ON public.audit_log FOR SELECT TO polyclinic_app USING (((organization_id = ( SELECT (NULLIF(current_setting('app.current_org_id'::text, true), ''::text))::uuid AS "nullif")) AND (( SELECT current_setting('app.current_role'::text, true) AS current_setting) = ANY (ARRAY['admin'::text, 'superadmin'::text]))));

GRANT ALL ON SCHEMA public TO polyclinic_owner;
GRANT ALL ON SCHEMA public TO polyclinic_keeper;

REVOKE ALL ON FUNCTION public.forget_old_idempotency_keys() FROM PUBLIC;
GRANT ALL ON FUNCTION public.forget_old_idempotency_keys() TO polyclinic_app;

REVOKE ALL ON FUNCTION public.make_audit_partitions(p_months_ahead integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.make_audit_partitions(p_months_ahead integer) TO polyclinic_app;

REVOKE ALL ON FUNCTION public.memberships_of(p_issuer text, p_subject text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.memberships_of(p_issuer text, p_subject text) TO polyclinic_app;

GRANT SELECT,INSERT ON TABLE public.audit_log TO polyclinic_app;
GRANT INSERT ON TABLE public.audit_log TO polyclinic_audit_writer;

GRANT SELECT,INSERT ON TABLE public.idempotency_keys TO polyclinic_app;
GRANT SELECT,DELETE ON TABLE public.idempotency_keys TO polyclinic_keeper;

GRANT UPDATE(status) ON TABLE public.idempotency_keys TO polyclinic_app;

GRANT UPDATE(sealed_answer) ON TABLE public.idempotency_keys TO polyclinic_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.memberships TO polyclinic_app;
GRANT SELECT ON TABLE public.memberships TO polyclinic_keeper;

GRANT SELECT ON TABLE public.nodes TO polyclinic_app;

GRANT SELECT,INSERT ON TABLE public.organization_summary TO polyclinic_app;

GRANT SELECT ON TABLE public.regions TO polyclinic_app;

GRANT SELECT ON TABLE public.schema_version TO polyclinic_app;

GRANT SELECT ON TABLE public.shards TO polyclinic_app;

GRANT SELECT,INSERT ON TABLE public.tenant_shards TO polyclinic_app;

GRANT UPDATE(state) ON TABLE public.tenant_shards TO polyclinic_app;

GRANT UPDATE(updated_at) ON TABLE public.tenant_shards TO polyclinic_app;

GRANT SELECT ON TABLE public.users TO polyclinic_app;
GRANT SELECT ON TABLE public.users TO polyclinic_keeper;

GRANT INSERT(id) ON TABLE public.users TO polyclinic_app;

GRANT INSERT(issuer) ON TABLE public.users TO polyclinic_app;

GRANT INSERT(subject) ON TABLE public.users TO polyclinic_app;
