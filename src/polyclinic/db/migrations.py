"""Bringing a database to this code's schema version: forward only, one transaction, one at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from polyclinic.core.errors import Fault
from polyclinic.db import roles

Kind = Literal["control", "shard"]
OLDEST_SERVER = 180_000


class ServerTooOld(Fault):
    """The server lacks what the schema uses (`uuidv7()`, for one)."""

    code = "server-too-old"


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Where a database stands and where this code wants it; `current` None: nothing there yet."""

    kind: Kind
    current: str | None
    wanted: str

    @property
    def is_current(self) -> bool:
        return self.current == self.wanted


def wanted_version(kind: Kind) -> str:
    """The newest revision that this code carries."""
    head = ScriptDirectory.from_config(_config(kind)).get_current_head()
    assert head is not None
    return head


def schema_state(kind: Kind, dsn: str) -> SchemaState:
    """Compare a database with this code. Changes nothing."""
    with _alembic_connection(dsn) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "schema_version"})
        return SchemaState(kind, context.get_current_revision(), wanted_version(kind))


def migrate(kind: Kind, dsn: str, *, password: str | None = None) -> SchemaState:
    """Create roles, grant them the database, and run the revisions that are missing.

    `dsn` signs in as a role with CREATEROLE that may create in the database. Two at once: the
    second waits and finds nothing to do. A failure leaves the database as it was.
    """
    with psycopg.connect(dsn, autocommit=True) as admin:
        if admin.info.server_version < OLDEST_SERVER:
            raise ServerTooOld("Polyclinic needs PostgreSQL 18 or newer; upgrade the server")
        roles.ensure_roles(admin, password=password)
        roles.grant_database(admin)
    with _alembic_connection(dsn) as connection:
        connection.exec_driver_sql("SET ROLE polyclinic_owner")
        connection.exec_driver_sql("SET lock_timeout = '5s'")
        connection.exec_driver_sql("SET statement_timeout = '10min'")
        connection.exec_driver_sql("SET client_min_messages = 'warning'")
        connection.exec_driver_sql("SELECT pg_advisory_lock(hashtext('polyclinic migrate'))")
        connection.commit()
        config = _config(kind)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.exec_driver_sql("GRANT SELECT ON schema_version TO polyclinic_app")
        connection.commit()
    return schema_state(kind, dsn)


def ensure_database(dsn: str, name: str) -> None:
    """Create an empty database beside the one that `dsn` opens, unless it is there."""
    if has_database(dsn, name):
        return
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))


def has_database(dsn: str, name: str) -> bool:
    """Whether the server of `dsn` has a database of this name."""
    with psycopg.connect(dsn, autocommit=True) as admin:
        row = admin.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone()
    return row is not None


def _config(kind: Kind) -> Config:
    config = Config()
    location = str(files("polyclinic.migrations").joinpath(kind)).replace("%", "%%")
    config.set_main_option("script_location", location)
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _alembic_connection(dsn: str) -> Iterator[sqlalchemy.Connection]:
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(dsn),
        poolclass=sqlalchemy.pool.NullPool,
    )
    with engine.connect() as connection:
        yield connection
    engine.dispose()
