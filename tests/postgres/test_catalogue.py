"""Every table, view, function and role of both databases, as the catalogue has it."""

import psycopg
import pytest

from polyclinic.databases import Database
from tests.postgres.catalogue import (
    NOT_ONE_ORGANIZATIONS,
    PORTABLE,
    RULES,
    offenders,
    organizations_tables,
)
from tests.postgres.conftest import DATABASES, Connect

both_databases = pytest.mark.parametrize("database", DATABASES)

# What each mistake is, and the rule that must see it.
MISTAKES = {
    "a table of nobody's": (
        "CREATE TABLE visits (id uuid PRIMARY KEY)",
        "a table is an organization's, or listed with a reason why not",
    ),
    "no row-level security": (
        "CREATE TABLE visits (organization_id uuid, id uuid, PRIMARY KEY (organization_id, id))",
        "row-level security is enabled and forced",
    ),
    "security not forced": (
        (
            "CREATE TABLE visits (organization_id uuid PRIMARY KEY);"
            "CALL isolate_by_organization('visits'); ALTER TABLE visits NO FORCE ROW LEVEL SECURITY"
        ),
        "row-level security is enabled and forced",
    ),
    "no policy": (
        (
            "CREATE TABLE visits (organization_id uuid PRIMARY KEY);"
            "ALTER TABLE visits ENABLE ROW LEVEL SECURITY; ALTER TABLE visits FORCE ROW LEVEL SECURITY"
        ),
        "a table has a permissive policy for the application alone",
    ),
    "a policy that allows all": (
        (
            "CREATE TABLE visits (organization_id uuid PRIMARY KEY);"
            "CREATE POLICY p ON visits TO polyclinic_app USING (true)"
        ),
        "a policy of the application compares with the context and allows nothing without one",
    ),
    "allow when unset": (
        (
            "CREATE TABLE visits (organization_id uuid PRIMARY KEY);"
            "CREATE POLICY p ON visits TO polyclinic_app USING ("
            "  NULLIF(current_setting('app.current_org_id', true), '')::uuid IS NULL"
            "  OR organization_id = NULLIF(current_setting('app.current_org_id', true), '')::uuid)"
        ),
        "a policy of the application compares with the context and allows nothing without one",
    ),
    "a check that allows all": (
        (
            "CREATE TABLE visits (organization_id uuid PRIMARY KEY);"
            "CREATE POLICY p ON visits FOR INSERT TO PUBLIC WITH CHECK (true)"
        ),
        "a policy of the application compares with the context and allows nothing without one",
    ),
    "a policy for the owner": (
        (
            "CREATE TABLE visits (organization_id uuid PRIMARY KEY);"
            "CREATE POLICY p ON visits TO polyclinic_owner USING (true)"
        ),
        "only the keeper and the audit writer have policies of their own",
    ),
    "a key that leads elsewhere": (
        (
            "CREATE TABLE visits (organization_id uuid, id uuid, PRIMARY KEY (id, organization_id));"
            "CALL isolate_by_organization('visits')"
        ),
        "a primary key leads with organization_id",
    ),
    "a table of the application's": (
        (
            "GRANT CREATE ON SCHEMA public TO polyclinic_app; SET ROLE polyclinic_app;"
            "CREATE TABLE visits (organization_id uuid PRIMARY KEY); RESET ROLE"
        ),
        "everything in the schema belongs to the owner",
    ),
    "a view with its owner's rights": (
        "CREATE VIEW seen AS SELECT * FROM audit_log",
        "a view asks with its caller's rights",
    ),
    "a materialized view": (
        "CREATE MATERIALIZED VIEW seen AS SELECT * FROM audit_log",
        "a view asks with its caller's rights",
    ),
    "a partition that is granted": (
        (
            "CREATE TABLE old PARTITION OF audit_log FOR VALUES FROM ('1990-01-01') TO ('1990-02-01');"
            "GRANT SELECT ON old TO polyclinic_app"
        ),
        "a partition is reached through its parent only",
    ),
    "a partition without security": (
        "CREATE TABLE old PARTITION OF audit_log FOR VALUES FROM ('1990-01-01') TO ('1990-02-01')",
        "row-level security is enabled and forced",
    ),
    "a column for everybody": (
        (
            "CREATE TABLE visits (organization_id uuid PRIMARY KEY);"
            "GRANT SELECT (organization_id) ON visits TO PUBLIC"
        ),
        "PUBLIC may use nothing",
    ),
    "truncation": (
        "GRANT TRUNCATE ON audit_log TO polyclinic_app",
        "the application and the audit writer neither truncate nor hang anything on a table",
    ),
    "an audit writer that reads": (
        "GRANT SELECT (role) ON audit_log TO polyclinic_audit_writer",
        "the audit writer adds audit records and does nothing else",
    ),
    "an audit log that can be changed": (
        "GRANT UPDATE ON audit_log TO polyclinic_keeper",
        "nobody but the owner changes an audit record",
    ),
    "a function that finds what its caller puts first": (
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1",
        "a function with another's rights pins its search_path, temporary tables last",
    ),
    "a function for everybody": (
        (
            "SET ROLE polyclinic_owner; CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER"
            " SET search_path = pg_catalog, public, pg_temp RETURN 1; RESET ROLE"
        ),
        "a function with another's rights is granted by name and owned by a role without a login",
    ),
    "a function with a superuser's rights": (
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1;"
            "REVOKE EXECUTE ON FUNCTION f FROM PUBLIC"
        ),
        "a function with another's rights is granted by name and owned by a role without a login",
    ),
}


@both_databases
@pytest.mark.parametrize("rule", RULES)
def test_nothing_breaks_the_rule(database: Database, rule: str, as_admin: Connect) -> None:
    assert offenders(as_admin(database), rule) == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_seen_by_its_rule(mistake: str, as_admin: Connect) -> None:
    statement, rule = MISTAKES[mistake]
    connection = as_admin("control")
    before = offenders(connection, rule)
    connection.execute(statement.encode())
    assert set(offenders(connection, rule)) > set(before)


def test_every_rule_has_been_seen_to_fail() -> None:
    assert {rule for _, rule in MISTAKES.values()} == set(RULES)


def test_a_table_that_is_listed_exists(as_admin: Connect) -> None:
    present = {
        name
        for database in DATABASES
        for (name,) in as_admin(database).execute("SELECT relname FROM pg_class")
    }
    assert {*NOT_ONE_ORGANIZATIONS, *PORTABLE} <= present


@both_databases
def test_there_are_tables_to_guard(database: Database, as_admin: Connect) -> None:
    assert len(organizations_tables(as_admin(database))) >= 3


@both_databases
def test_the_months_ahead_have_their_audit_partitions(
    database: Database, as_admin: Connect
) -> None:
    rows = as_admin(database).execute(
        "SELECT count(*) FROM generate_series(0, 3) AS ahead (months) WHERE to_regclass("
        "'audit_log_' || to_char((now() AT TIME ZONE 'UTC') + make_interval(months => months),"
        " 'YYYY_MM')) IS NOT NULL"
    )
    assert rows.fetchone() == (4,)


@both_databases
def test_the_application_owns_nothing_and_creates_nothing(
    database: Database, as_admin: Connect
) -> None:
    connection = as_admin(database)
    owned = connection.execute(
        "SELECT classid::regclass::text, objid FROM pg_shdepend WHERE deptype = 'o'"
        " AND refobjid IN ('polyclinic_app'::regrole, 'polyclinic_audit_writer'::regrole)"
    ).fetchall()
    assert owned == []
    for role in ("polyclinic_app", "polyclinic_audit_writer"):
        may = connection.execute(
            "SELECT has_schema_privilege(%(role)s, 'public', 'CREATE'),"
            " has_database_privilege(%(role)s, current_database(), 'CREATE'),"
            " has_database_privilege(%(role)s, current_database(), 'TEMP')",
            {"role": role},
        ).fetchone()
        assert may == (False, False, False)


def test_roles_have_no_way_around_the_policies(as_admin: Connect) -> None:
    rows = as_admin("shard").execute(
        "SELECT rolname, rolcanlogin, rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb"
        " OR rolreplication FROM pg_roles WHERE rolname LIKE 'polyclinic\\_%' ORDER BY 1"
    )
    assert rows.fetchall() == [
        ("polyclinic_app", True, False),
        ("polyclinic_audit_writer", True, False),
        ("polyclinic_keeper", False, False),
        ("polyclinic_owner", False, False),
    ]


def test_roles_that_sign_in_can_become_nobody_else(as_admin: Connect) -> None:
    rows = as_admin("shard").execute(
        "SELECT roleid::regrole::text FROM pg_auth_members"
        " WHERE member IN ('polyclinic_app'::regrole, 'polyclinic_audit_writer'::regrole)"
    )
    assert rows.fetchall() == []


@pytest.mark.parametrize(
    ("database", "statement"),
    [
        ("shard", "UPDATE audit_log SET outcome = 'done'"),
        ("control", "DELETE FROM audit_log"),
        ("shard", "TRUNCATE audit_log"),
        ("shard", "UPDATE patients SET profile_shared = true"),
        ("shard", "INSERT INTO patients (profile_shared) VALUES (true)"),
        ("shard", "INSERT INTO consents DEFAULT VALUES"),
        ("shard", "UPDATE tenant_fence SET writable = true"),
        ("shard", "UPDATE data_keys SET is_active = false"),
        ("control", "UPDATE users SET is_superadmin = true"),
        ("control", "INSERT INTO users (is_superadmin) VALUES (true)"),
        ("control", "UPDATE nodes SET dsn_reference = ''"),
        ("control", "SET ROLE polyclinic_owner"),
        ("shard", "SET ROLE polyclinic_keeper"),
        ("shard", "CREATE TABLE mine (id int)"),
        ("shard", "CREATE TEMP TABLE mine (id int)"),
        ("shard", "ALTER TABLE patients DISABLE ROW LEVEL SECURITY"),
        ("shard", "COPY patients TO PROGRAM 'cat'"),
    ],
)
def test_the_application_is_refused(database: Database, statement: str, as_app: Connect) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_app(database).execute(statement.encode())


def test_a_partition_cannot_be_read_around_its_parent(as_app: Connect, as_admin: Connect) -> None:
    rows = as_admin("shard").execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_log'::regclass"
    )
    for (partition,) in rows:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            as_app("shard").execute(f"SELECT FROM {partition}".encode())
