-- Records from elsewhere: what became of each, and what waits for a part that can hold it.

-- source names where an id is unique ('fhir'); reference is 'Patient/123' there. Importing again
-- finds the row and adds nothing.
CREATE TABLE imported_records (
    organization_id uuid NOT NULL REFERENCES organizations,
    source          text NOT NULL,
    reference       text NOT NULL,
    entity_type     text NOT NULL,
    entity_id       uuid NOT NULL,
    imported_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, source, reference)
);
CALL isolate_by_organization('imported_records');
GRANT SELECT, INSERT ON imported_records TO polyclinic_app;

-- Resources of types that are not brought in yet, whole, until they are.
CREATE TABLE kept_resources (
    organization_id uuid NOT NULL REFERENCES organizations,
    reference       text NOT NULL,
    resource_type   text NOT NULL,
    body            jsonb NOT NULL,
    kept_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, reference)
);
CREATE INDEX kept_resources_type ON kept_resources (organization_id, resource_type);
CALL isolate_by_organization('kept_resources');
GRANT SELECT, INSERT ON kept_resources TO polyclinic_app;
