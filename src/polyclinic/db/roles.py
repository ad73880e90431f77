"""The roles inside a PostgreSQL server, made once per server.

- `polyclinic_owner` owns every table; nobody signs in as it, migrations run as it.
- `polyclinic_app` serves requests: owns nothing, bypasses nothing.
- `polyclinic_audit_writer` can add audit rows and do nothing else.
- `polyclinic_keeper` owns the few functions that look past one organization; nobody signs in as it.
"""

import psycopg
from psycopg import sql

OWNER = "polyclinic_owner"
APP = "polyclinic_app"
AUDIT_WRITER = "polyclinic_audit_writer"
KEEPER = "polyclinic_keeper"

_LOGIN = {OWNER: False, APP: True, AUDIT_WRITER: True, KEEPER: False}


def ensure_roles(connection: psycopg.Connection, *, password: str | None) -> None:
    """Create the roles that are missing and give the signing-in ones `password`.

    `password` None leaves passwords alone, for servers that trust their socket. Needs CREATEROLE;
    repeating is harmless.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('polyclinic roles'))")
        present = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        for name, can_login in _LOGIN.items():
            if name not in present:
                kind = sql.SQL("LOGIN" if can_login else "NOLOGIN")
                _run(connection, "CREATE ROLE {} {} NOBYPASSRLS NOSUPERUSER", name, kind)
            if can_login and password is not None:
                _run(connection, "ALTER ROLE {} PASSWORD {}", name, sql.Literal(password))
        # Short statements only: a parallel plan costs more to start than any of them takes.
        for setting in ("jit = off", "max_parallel_workers_per_gather = 0"):
            _run(connection, "ALTER ROLE {} SET {}", APP, sql.SQL(setting))
        _run(connection, "GRANT {} TO CURRENT_USER", OWNER)
        _run(connection, "GRANT {} TO CURRENT_USER", KEEPER)
        _run(connection, "GRANT {} TO {}", KEEPER, sql.Identifier(OWNER))


def grant_database(connection: psycopg.Connection) -> None:
    """Let the owner create in the connected database, and the others only enter it."""
    name = sql.Identifier(connection.info.dbname)
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('polyclinic roles'))")
        for statement in (
            "REVOKE ALL ON DATABASE {0} FROM PUBLIC",
            "GRANT ALL ON DATABASE {0} TO polyclinic_owner",
            "GRANT CONNECT ON DATABASE {0} TO polyclinic_app, polyclinic_audit_writer",
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
            "GRANT ALL ON SCHEMA public TO polyclinic_owner",
            "GRANT CREATE, USAGE ON SCHEMA public TO polyclinic_keeper",
        ):
            connection.execute(sql.SQL(statement).format(name))


def _run(connection: psycopg.Connection, template: str, name: str, *more: sql.Composable) -> None:
    connection.execute(sql.SQL(template).format(sql.Identifier(name), *more))
