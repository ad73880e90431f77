-- Who may act where: identity provider's subject, organizations, roles. No names, no e-mail.

CREATE TABLE users (
    id            uuid PRIMARY KEY,
    issuer        text NOT NULL,
    subject       text NOT NULL CHECK (length(subject) BETWEEN 1 AND 255),
    is_superadmin boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (issuer, subject)
);
-- is_superadmin is not among them: it is granted with the owner's rights alone.
GRANT SELECT, INSERT (id, issuer, subject) ON users TO polyclinic_app;

-- branch_ids NULL: every branch; otherwise only those.
CREATE TABLE memberships (
    organization_id uuid NOT NULL REFERENCES tenant_shards,
    id              uuid NOT NULL,
    user_id         uuid NOT NULL REFERENCES users,
    role            text NOT NULL
                    CHECK (role IN ('admin', 'doctor', 'receptionist', 'cashier', 'patient')),
    branch_ids      uuid[] CHECK (branch_ids IS NULL OR cardinality(branch_ids) > 0),
    version         int NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, id),
    UNIQUE (organization_id, user_id)
);
CREATE INDEX memberships_of_user ON memberships (user_id);
CALL isolate_by_organization('memberships');
GRANT SELECT, INSERT, UPDATE, DELETE ON memberships TO polyclinic_app;

-- Sign-in asks before any organization is known: this function alone may look across them, and
-- only for the one person who signs in.
CREATE FUNCTION memberships_of(p_issuer text, p_subject text)
RETURNS TABLE (user_id uuid, is_superadmin boolean, organization_id uuid, role text, branch_ids uuid[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT u.id, u.is_superadmin, m.organization_id, m.role, m.branch_ids
    FROM public.users u LEFT JOIN public.memberships m ON m.user_id = u.id
    WHERE u.issuer = p_issuer AND u.subject = p_subject
    ORDER BY m.organization_id
$$;
ALTER FUNCTION memberships_of OWNER TO polyclinic_keeper;
REVOKE EXECUTE ON FUNCTION memberships_of FROM PUBLIC;
GRANT EXECUTE ON FUNCTION memberships_of TO polyclinic_app;
CREATE POLICY keeper ON memberships FOR SELECT TO polyclinic_keeper USING (true);
GRANT SELECT ON memberships, users TO polyclinic_keeper;

-- Every API process drops what it cached about this subject (app.py listens).
CREATE FUNCTION announce_membership_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('membership_changed', coalesce(NEW.user_id, OLD.user_id)::text);
    RETURN NULL;
END $$;
CREATE TRIGGER membership_changed AFTER INSERT OR UPDATE OR DELETE ON memberships
    FOR EACH ROW EXECUTE FUNCTION announce_membership_change();
