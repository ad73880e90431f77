"""What the catalogue of a database must say, as queries that name whoever breaks a rule.

A rule holds where its query returns nothing. A table is an organization's, or it stands here with
the reason why it is not: what is neither breaks the first rule.
"""

from collections.abc import Mapping
from typing import Final, LiteralString

import psycopg

NOT_ONE_ORGANIZATIONS: Final[Mapping[str, str]] = {
    "regions": "the directory: names of places",
    "shards": "the directory: names of places",
    "nodes": "the directory: names of servers and of secrets",
    "tenant_shards": "the directory: asked before any organization is known",
    "organization_summary": "names of organizations, for superadmins and for choosing one",
    "users": "a person may be a member of several organizations",
    "data_keys": "ids of keys, never keys",
    "schema_version": "Alembic's own",
}
"""Tables without row-level security, each with its reason."""

PORTABLE: Final[Mapping[str, str]] = {
    "patient_persons": "the portable person belongs to no organization; consent is its policy",
}
"""Tables under row-level security whose key cannot lead with an organization."""

_TABLES: Final = """
    SELECT c.oid, c.relname AS name, c.relrowsecurity, c.relforcerowsecurity, c.relispartition
    FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      AND c.relname <> ALL (%(free)s)
"""

RULES: Final[Mapping[str, LiteralString]] = {
    "a table is an organization's, or listed with a reason why not": f"""
        SELECT t.name FROM ({_TABLES}) t
        WHERE t.name <> ALL (%(portable)s) AND NOT EXISTS (
            SELECT FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attname = 'organization_id')
    """,
    "row-level security is enabled and forced": f"""
        SELECT t.name FROM ({_TABLES}) t WHERE NOT (t.relrowsecurity AND t.relforcerowsecurity)
    """,
    "a table has a permissive policy for the application alone": f"""
        SELECT t.name FROM ({_TABLES}) t
        WHERE NOT t.relispartition AND NOT EXISTS (
            SELECT FROM pg_policy p WHERE p.polrelid = t.oid AND p.polpermissive
            AND p.polroles = ARRAY['polyclinic_app'::regrole::oid])
    """,
    "a policy of the application compares with the context and allows nothing without one": """
        SELECT p.polrelid::regclass || '.' || p.polname
        FROM pg_policy p
        CROSS JOIN LATERAL (VALUES (pg_get_expr(p.polqual, p.polrelid)),
                                   (pg_get_expr(p.polwithcheck, p.polrelid))) AS e (expression)
        WHERE p.polpermissive AND e.expression IS NOT NULL
          AND (0 = ANY (p.polroles) OR 'polyclinic_app'::regrole = ANY (p.polroles))
          AND (e.expression NOT LIKE
                 '%%NULLIF(current_setting(''app.current_org_id''::text, true), ''''::text)%%::uuid%%'
               OR e.expression LIKE '%% IS NULL%%')
    """,
    "only the keeper and the audit writer have policies of their own": """
        SELECT p.polrelid::regclass || '.' || p.polname FROM pg_policy p
        WHERE NOT p.polroles <@ ARRAY['polyclinic_app', 'polyclinic_keeper',
                                      'polyclinic_audit_writer']::regrole[]::oid[]
    """,
    "a primary key leads with organization_id": f"""
        SELECT t.name FROM ({_TABLES}) t
        WHERE t.name <> ALL (%(portable)s) AND NOT EXISTS (
            SELECT FROM pg_index i JOIN pg_attribute a
                ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = t.oid AND i.indisprimary AND a.attname = 'organization_id')
    """,
    "everything in the schema belongs to the owner": """
        SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relowner <> 'polyclinic_owner'::regrole
    """,
    "a view asks with its caller's rights": """
        SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND (c.relkind = 'm' OR (
            c.relkind = 'v' AND NOT coalesce(c.reloptions, '{}')
                                    && '{security_invoker=true,security_invoker=on}'))
    """,
    "a partition is reached through its parent only": """
        SELECT c.relname || ' ' || g.grantee::regrole FROM pg_class c, aclexplode(c.relacl) g
        WHERE c.relispartition AND c.relkind = 'r' AND g.grantee <> c.relowner
        UNION ALL
        SELECT a.attrelid::regclass || '.' || a.attname
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relispartition AND a.attacl IS NOT NULL
    """,
    "PUBLIC may use nothing": """
        SELECT c.relname FROM pg_class c, aclexplode(c.relacl) g
        WHERE c.relnamespace = 'public'::regnamespace AND g.grantee = 0
        UNION ALL
        SELECT a.attrelid::regclass || '.' || a.attname
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid, aclexplode(a.attacl) g
        WHERE c.relnamespace = 'public'::regnamespace AND g.grantee = 0
        UNION ALL
        SELECT d.datname FROM pg_database d, aclexplode(d.datacl) g
        WHERE d.datname = current_database() AND g.grantee = 0
    """,
    "the application and the audit writer neither truncate nor hang anything on a table": """
        SELECT r.role || ' ' || p.privilege || ' ' || c.relname
        FROM pg_class c,
             unnest('{polyclinic_app,polyclinic_audit_writer}'::text[]) AS r (role),
             unnest('{TRUNCATE,REFERENCES,TRIGGER,MAINTAIN}'::text[]) AS p (privilege)
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
          AND has_table_privilege(r.role, c.oid, p.privilege)
    """,
    "the audit writer adds audit records and does nothing else": """
        SELECT p.privilege || ' ' || c.relname
        FROM pg_class c, unnest('{SELECT,INSERT,UPDATE}'::text[]) AS p (privilege)
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
          AND has_any_column_privilege('polyclinic_audit_writer', c.oid, p.privilege)
          AND (c.relname, p.privilege) <> ('audit_log', 'INSERT')
        UNION ALL
        SELECT 'DELETE ' || c.relname FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
          AND has_table_privilege('polyclinic_audit_writer', c.oid, 'DELETE')
    """,
    "nobody but the owner changes an audit record": """
        SELECT r.rolname || ' ' || p.privilege
        FROM pg_roles r, unnest('{UPDATE,DELETE,TRUNCATE}'::text[]) AS p (privilege)
        WHERE NOT r.rolsuper AND r.rolname NOT LIKE 'pg\\_%%' AND r.rolname <> 'polyclinic_owner'
          AND has_table_privilege(r.oid, 'audit_log', p.privilege)
    """,
    "a function with another's rights pins its search_path, temporary tables last": """
        SELECT f.oid::regprocedure::text FROM pg_proc f
        WHERE f.pronamespace = 'public'::regnamespace AND f.prosecdef
          AND NOT EXISTS (SELECT FROM unnest(f.proconfig) s
                          WHERE s = 'search_path=pg_catalog, public, pg_temp')
    """,
    "a function with another's rights is granted by name and owned by a role without a login": """
        SELECT f.oid::regprocedure::text FROM pg_proc f JOIN pg_roles r ON r.oid = f.proowner
        WHERE f.pronamespace = 'public'::regnamespace AND f.prosecdef
          AND (r.rolcanlogin OR r.rolsuper OR f.proacl IS NULL
               OR EXISTS (SELECT FROM aclexplode(f.proacl) g WHERE g.grantee = 0)
               OR has_function_privilege('polyclinic_audit_writer', f.oid, 'EXECUTE'))
    """,
}


def offenders(connection: psycopg.Connection, rule: str) -> list[str]:
    """Who breaks the rule in the connected database."""
    parameters = {"free": [*NOT_ONE_ORGANIZATIONS], "portable": [*PORTABLE]}
    return [name for (name,) in connection.execute(RULES[rule], parameters)]


def organizations_tables(connection: psycopg.Connection) -> list[str]:
    """Every table that holds rows of organizations, partitions left out."""
    rows = connection.execute(
        f"SELECT t.name FROM ({_TABLES}) t WHERE NOT t.relispartition ORDER BY 1",
        {"free": [*NOT_ONE_ORGANIZATIONS]},
    )
    return [name for (name,) in rows]
