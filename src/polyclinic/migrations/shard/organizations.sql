CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS btree_gin;
CREATE EXTENSION IF NOT EXISTS fuzzystrmatch;

CREATE TABLE organizations (
    organization_id uuid PRIMARY KEY,
    name            text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    country         text NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
    timezone        text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CALL isolate_by_organization('organizations');
GRANT SELECT, INSERT ON organizations TO polyclinic_app;

-- Promise "one writable home": a write compares its route's epoch with this row.
CREATE TABLE tenant_fence (
    organization_id uuid PRIMARY KEY,
    epoch           bigint  NOT NULL,
    writable        boolean NOT NULL DEFAULT true
);
CALL isolate_by_organization('tenant_fence');
GRANT SELECT, INSERT ON tenant_fence TO polyclinic_app;

CREATE FUNCTION require_home(p_epoch bigint) RETURNS void
LANGUAGE plpgsql AS $$
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

CREATE TABLE branches (
    organization_id uuid NOT NULL REFERENCES organizations,
    id              uuid NOT NULL,
    name            text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    timezone        text NOT NULL,
    address         text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, id)
);
CALL isolate_by_organization('branches');
-- Members limited to branches see those only.
CREATE POLICY branch_limit ON branches AS RESTRICTIVE FOR SELECT TO polyclinic_app USING (
    (SELECT NULLIF(current_setting('app.current_branch_ids', true), '') IS NULL)
    OR id = ANY ((SELECT NULLIF(current_setting('app.current_branch_ids', true), '')::uuid[])::uuid[]));
GRANT SELECT, INSERT ON branches TO polyclinic_app;

CREATE TABLE practitioners (
    organization_id uuid NOT NULL REFERENCES organizations,
    id              uuid NOT NULL,
    name            text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    specialty       text,
    identifiers     jsonb NOT NULL DEFAULT '[]',   -- licence numbers: [{"system", "value"}]
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, id)
);
CALL isolate_by_organization('practitioners');
GRANT SELECT, INSERT ON practitioners TO polyclinic_app;

CREATE TABLE practitioner_branches (
    organization_id uuid NOT NULL,
    practitioner_id uuid NOT NULL,
    branch_id       uuid NOT NULL,
    PRIMARY KEY (organization_id, practitioner_id, branch_id),
    FOREIGN KEY (organization_id, practitioner_id) REFERENCES practitioners,
    FOREIGN KEY (organization_id, branch_id) REFERENCES branches
);
CALL isolate_by_organization('practitioner_branches');
GRANT SELECT, INSERT ON practitioner_branches TO polyclinic_app;
-- A practitioner of no branch in particular belongs to the whole organization.
CREATE POLICY branch_limit ON practitioners AS RESTRICTIVE FOR SELECT TO polyclinic_app USING (
    (SELECT NULLIF(current_setting('app.current_branch_ids', true), '') IS NULL)
    OR NOT EXISTS (SELECT FROM practitioner_branches b
                   WHERE b.organization_id = practitioners.organization_id
                     AND b.practitioner_id = practitioners.id)
    OR EXISTS (SELECT FROM practitioner_branches b
               WHERE b.organization_id = practitioners.organization_id
                 AND b.practitioner_id = practitioners.id
                 AND b.branch_id = ANY ((SELECT NULLIF(current_setting('app.current_branch_ids', true), '')::uuid[])::uuid[])));
