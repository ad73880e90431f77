-- The portable person, the organization's link to it, and the consent gate between them.
--
-- Invariant: the application's role sees a patient_persons row only while a link of the current
-- organization shares it. Consent changes through give_consent and withdraw_consent alone, so that
-- who, when and how are always known.

CREATE TABLE patient_persons (
    id                     uuid PRIMARY KEY,
    name                   text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    date_of_birth          date,
    sex                    text CHECK (sex IN ('female', 'male', 'other', 'unknown')),
    phone_sealed           bytea,
    phone_is_valid         boolean,
    phone_fingerprint      bytea,        -- NULL for a phone that is not valid: never an identity
    email_sealed           bytea,
    email_fingerprint      bytea,
    key_id                 text NOT NULL,
    blood_type             text CHECK (blood_type IN ('A+','A-','B+','B-','AB+','AB-','O+','O-')),
    allergies              jsonb NOT NULL DEFAULT '[]',
    chronic_conditions     jsonb NOT NULL DEFAULT '[]',
    emergency_contact_name text,
    insurance_entries      jsonb NOT NULL DEFAULT '[]',
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now(),
    CHECK ((phone_sealed IS NULL) = (phone_is_valid IS NULL)),
    CHECK (phone_fingerprint IS NULL OR phone_is_valid),
    CHECK (email_fingerprint IS NULL OR email_sealed IS NOT NULL)
);
CREATE INDEX patient_persons_phone ON patient_persons (phone_fingerprint)
    WHERE phone_fingerprint IS NOT NULL;
CREATE INDEX patient_persons_email ON patient_persons (email_fingerprint)
    WHERE email_fingerprint IS NOT NULL;
CREATE INDEX patient_persons_key ON patient_persons (key_id, id);

CREATE TABLE patients (
    organization_id uuid NOT NULL REFERENCES organizations,
    id              uuid NOT NULL,
    person_id       uuid NOT NULL REFERENCES patient_persons,
    name            text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    profile_shared  boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, id),
    UNIQUE (organization_id, person_id)
);
CREATE INDEX patients_of_person ON patients (person_id);
CALL isolate_by_organization('patients');
GRANT SELECT ON patients TO polyclinic_app;
-- profile_shared is not among them: it starts false and follows consents.
GRANT INSERT (organization_id, id, person_id, name) ON patients TO polyclinic_app;

ALTER TABLE patient_persons ENABLE ROW LEVEL SECURITY;
ALTER TABLE patient_persons FORCE ROW LEVEL SECURITY;
CREATE POLICY shared_with_organization ON patient_persons FOR SELECT TO polyclinic_app USING (
    EXISTS (SELECT FROM patients link
            WHERE link.organization_id = (SELECT NULLIF(current_setting('app.current_org_id', true), '')::uuid)
              AND link.person_id = patient_persons.id AND link.profile_shared));
CREATE POLICY edited_under_consent ON patient_persons FOR UPDATE TO polyclinic_app USING (
    EXISTS (SELECT FROM patients link
            WHERE link.organization_id = (SELECT NULLIF(current_setting('app.current_org_id', true), '')::uuid)
              AND link.person_id = patient_persons.id AND link.profile_shared));
CREATE POLICY registered_by_organization ON patient_persons FOR INSERT TO polyclinic_app WITH CHECK (
    (SELECT NULLIF(current_setting('app.current_org_id', true), '')::uuid) IS NOT NULL);
GRANT SELECT, INSERT, UPDATE (
    name, date_of_birth, sex, phone_sealed, phone_is_valid, phone_fingerprint, email_sealed,
    email_fingerprint, key_id, blood_type, allergies, chronic_conditions, emergency_contact_name,
    insurance_entries, updated_at
) ON patient_persons TO polyclinic_app;

-- One row per consent given; the newest open one is in force.
CREATE TABLE consents (
    organization_id uuid NOT NULL,
    id              uuid NOT NULL DEFAULT uuidv7(),
    patient_id      uuid NOT NULL,
    method          text NOT NULL CHECK (method IN ('written', 'verbal', 'electronic', 'import')),
    note            text,
    given_by        uuid NOT NULL,
    given_at        timestamptz NOT NULL DEFAULT now(),
    withdrawn_by    uuid,
    withdrawn_at    timestamptz,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, patient_id) REFERENCES patients,
    CHECK ((withdrawn_by IS NULL) = (withdrawn_at IS NULL))
);
CREATE UNIQUE INDEX consents_one_in_force ON consents (organization_id, patient_id)
    WHERE withdrawn_at IS NULL;
CALL isolate_by_organization('consents');
GRANT SELECT ON consents TO polyclinic_app;

-- The organization's own numbers for a patient, and documents it has seen; sealed, found by
-- fingerprint.
CREATE TABLE patient_identifiers (
    organization_id uuid  NOT NULL,
    id              uuid  NOT NULL DEFAULT uuidv7(),
    patient_id      uuid  NOT NULL,
    system          text  NOT NULL CHECK (length(system) BETWEEN 1 AND 200),
    value_sealed    bytea NOT NULL,
    fingerprint     bytea NOT NULL,
    key_id          text  NOT NULL,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, patient_id) REFERENCES patients
);
CREATE INDEX patient_identifiers_found ON patient_identifiers (organization_id, fingerprint);
CREATE INDEX patient_identifiers_of ON patient_identifiers (organization_id, patient_id);
CREATE INDEX patient_identifiers_key ON patient_identifiers (key_id, organization_id, id);
CALL isolate_by_organization('patient_identifiers');
GRANT SELECT, INSERT ON patient_identifiers TO polyclinic_app;

-- Which data keys exist; never the keys. A registration names the key that it hashed with, so that
-- a process that has not heard of a rotation cannot miss a person (identity/discovery.py).
CREATE TABLE data_keys (
    key_id       text PRIMARY KEY,
    is_active    boolean NOT NULL,
    activated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX data_keys_one_active ON data_keys (is_active) WHERE is_active;
GRANT SELECT ON data_keys TO polyclinic_app;

CREATE FUNCTION give_consent(p_patient uuid, p_method text, p_note text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
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
COMMENT ON FUNCTION give_consent IS
    'Shares the profile with the current organization; false where it has no such patient. Repeating keeps the first consent.';

CREATE FUNCTION withdraw_consent(p_patient uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
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

-- The one look across organizations: people who hold a phone or an e-mail, by keyed hash. Who calls
-- it must know the number itself. Each registration records its look: in its own transaction, or
-- beside it where it was refused and undone.
CREATE FUNCTION discover_people(p_phones bytea[], p_emails bytea[], p_birth date)
RETURNS TABLE (person_id uuid, name text, date_of_birth date, by_phone boolean, by_email boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
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

-- What one organization changes of a person is in the audit log of every other that has a link.
CREATE FUNCTION record_change_elsewhere(p_person uuid, p_fields text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
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
ALTER FUNCTION record_change_elsewhere OWNER TO polyclinic_keeper;
CREATE POLICY keeper ON audit_log FOR INSERT TO polyclinic_keeper WITH CHECK (true);
GRANT INSERT ON audit_log TO polyclinic_keeper;

ALTER FUNCTION give_consent OWNER TO polyclinic_keeper;
ALTER FUNCTION withdraw_consent OWNER TO polyclinic_keeper;
ALTER FUNCTION discover_people OWNER TO polyclinic_keeper;
REVOKE EXECUTE ON FUNCTION give_consent, withdraw_consent, discover_people, record_change_elsewhere
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION give_consent, withdraw_consent, discover_people, record_change_elsewhere
    TO polyclinic_app;

CREATE POLICY keeper ON patient_persons TO polyclinic_keeper USING (true);
CREATE POLICY keeper ON patients TO polyclinic_keeper USING (true);
CREATE POLICY keeper ON consents TO polyclinic_keeper USING (true);
CREATE POLICY keeper ON patient_identifiers TO polyclinic_keeper USING (true);
GRANT SELECT, UPDATE ON patient_persons TO polyclinic_keeper;
GRANT SELECT, UPDATE (profile_shared, name) ON patients TO polyclinic_keeper;
GRANT SELECT, INSERT, UPDATE ON consents TO polyclinic_keeper;
GRANT SELECT, UPDATE ON patient_identifiers TO polyclinic_keeper;
