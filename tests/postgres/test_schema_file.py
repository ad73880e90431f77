"""`schema.sql` and the migrations build the same database."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from polyclinic.databases import Database, Databases
from polyclinic.db import migrations, roles
from polyclinic.settings import Settings
from tests.postgres.schema_dump import KINDS, dumped, schema_file


@pytest.fixture
def empty_database(settings: Settings) -> Iterator[str]:
    """A database without a schema, with the roles let in."""
    admin, name = Databases(settings).admin("shard"), "polyclinic_from_file"
    migrations.ensure_database(admin, name)
    dsn = make_conninfo(admin, dbname=name)
    with psycopg.connect(dsn) as connection:
        roles.grant_database(connection)
    yield dsn
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_migrations_build_what_the_file_says(settings: Settings, kind: Database) -> None:
    built = dumped(Databases(settings).admin(kind))
    assert built == schema_file(kind).read_text("utf-8"), "`make schema` writes it anew"


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_builds_what_it_says(empty_database: str, kind: Database) -> None:
    written = schema_file(kind).read_text("utf-8")
    with psycopg.connect(empty_database) as connection:
        connection.execute(written.encode())
    assert dumped(empty_database) == written
