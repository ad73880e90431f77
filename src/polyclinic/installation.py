"""Bringing an installation to this code: databases, schemas, the directory's one shard, data keys."""

from dataclasses import dataclass

import psycopg

from polyclinic.core.keys import KeyRing
from polyclinic.databases import EMBEDDED_NAMES, SHARD_REFERENCE, Database, Databases
from polyclinic.db import migrations
from polyclinic.db.embedded import EmbeddedServer
from polyclinic.db.migrations import SchemaState
from polyclinic.db.secret_files import KeyFile
from polyclinic.settings import Settings, database_name

REGION = "local"
SHARD = "shard-1"
DATABASES: tuple[Database, Database] = ("control", "shard")


@dataclass(frozen=True, slots=True)
class Migrated:
    """One database before and after."""

    before: SchemaState
    after: SchemaState


def ensure_databases(settings: Settings) -> None:
    """Create the two databases where they are missing. Repeating is harmless."""
    if settings.external is None:
        server = EmbeddedServer.attach(settings.data_dir / "postgres")
        for name in EMBEDDED_NAMES.values():
            migrations.ensure_database(server.dsn(), name)
        return
    shard, control = settings.external.admin("shard"), settings.external.admin("control")
    if settings.control_database_url is None:
        migrations.ensure_database(shard, database_name(control))


def states(settings: Settings) -> list[SchemaState]:
    """Where each database stands. Changes nothing."""
    databases = Databases(settings)
    return [
        migrations.schema_state(kind, databases.admin(kind))
        if _exists(settings, kind)
        else SchemaState(kind, None, migrations.wanted_version(kind))
        for kind in DATABASES
    ]


def _exists(settings: Settings, kind: Database) -> bool:
    """False for a database that `ensure_databases` would make."""
    if settings.external is None:
        server = EmbeddedServer.attach(settings.data_dir / "postgres")
        return migrations.has_database(server.dsn(), EMBEDDED_NAMES[kind])
    if kind == "shard" or settings.control_database_url is not None:
        return True
    control = database_name(settings.external.admin("control"))
    return migrations.has_database(settings.external.admin("shard"), control)


def prepare(settings: Settings) -> list[Migrated]:
    """Migrate both databases and make them known to each other. Repeating is harmless."""
    ensure_databases(settings)
    databases = Databases(settings)
    done = []
    for kind in DATABASES:
        before = migrations.schema_state(kind, databases.admin(kind))
        after = migrations.migrate(kind, databases.admin(kind), password=databases.password())
        done.append(Migrated(before, after))
    _enter_shard_into_directory(databases.admin("control"))
    _enter_active_key(databases.admin("shard"), _active_key_id(settings))
    return done


def _enter_shard_into_directory(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("SET ROLE polyclinic_owner")
        connection.execute("INSERT INTO regions (id) VALUES (%s) ON CONFLICT DO NOTHING", [REGION])
        connection.execute(
            "INSERT INTO shards (id, region_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [SHARD, REGION],
        )
        connection.execute(
            "INSERT INTO nodes (shard_id, id, role, dsn_reference) "
            "VALUES (%s, 'primary', 'primary', %s) ON CONFLICT DO NOTHING",
            [SHARD, SHARD_REFERENCE],
        )


def _enter_active_key(dsn: str, key_id: str) -> None:
    """The first key of a new installation; later ones come by rotation."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SET ROLE polyclinic_owner")
        connection.execute(
            "INSERT INTO data_keys (key_id, is_active) SELECT %s, true "
            "WHERE NOT EXISTS (SELECT FROM data_keys)",
            [key_id],
        )


def _active_key_id(settings: Settings) -> str:
    if settings.data_keys is not None:
        return KeyRing.parse(settings.data_keys.get_secret_value()).active_id
    return KeyFile(settings.data_dir / "data-keys").load_or_create().active_id
