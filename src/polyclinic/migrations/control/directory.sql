-- Where organizations live. No person, no clinical data.

CREATE TABLE regions (
    id         text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE shards (
    id         text PRIMARY KEY,
    region_id  text NOT NULL REFERENCES regions,
    tier       text NOT NULL DEFAULT 'shared' CHECK (tier IN ('shared', 'enterprise')),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- dsn_reference names a secret ('setting:database'), never holds one.
CREATE TABLE nodes (
    shard_id      text NOT NULL REFERENCES shards,
    id            text NOT NULL,
    role          text NOT NULL CHECK (role IN ('primary', 'replica')),
    dsn_reference text NOT NULL,
    PRIMARY KEY (shard_id, id)
);
CREATE UNIQUE INDEX nodes_one_primary ON nodes (shard_id) WHERE role = 'primary';

-- An organization has exactly one writable home; its epoch grows with each move and is checked
-- again inside the shard (tenant_fence) in the write's own transaction.
CREATE TABLE tenant_shards (
    organization_id uuid PRIMARY KEY,
    shard_id        text   NOT NULL REFERENCES shards,
    region_id       text   NOT NULL REFERENCES regions,
    tier            text   NOT NULL DEFAULT 'shared' CHECK (tier IN ('shared', 'enterprise')),
    epoch           bigint NOT NULL DEFAULT 1 CHECK (epoch > 0),
    state           text   NOT NULL DEFAULT 'creating' CHECK (state IN ('creating', 'active')),
    updated_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE organization_summary (
    organization_id uuid PRIMARY KEY REFERENCES tenant_shards,
    name            text NOT NULL,
    country         text NOT NULL,
    timezone        text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now()
);

GRANT SELECT ON regions, shards, nodes TO polyclinic_app;
GRANT SELECT, INSERT, UPDATE (state, updated_at) ON tenant_shards TO polyclinic_app;
GRANT SELECT, INSERT ON organization_summary TO polyclinic_app;
