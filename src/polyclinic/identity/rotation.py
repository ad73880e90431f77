"""Rotating the data keys online: every sealed value and fingerprint moves to the active key.

Order, which keeps every step survivable:
1. The new key is in the ring (file or setting) before the database names it.
2. `activate` waits for registrations in flight and names the key active. From then on every write
   uses it, and looks use every key of the ring, so nobody is missed half-way.
3. `reseal` moves what is left, in small transactions. Cut off anywhere,
   it is taken up by running it again. Old keys stay in the ring: backups were sealed with them.

Runs as `polyclinic_keeper`, the one role that sees past an organization.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg.rows import namedtuple_row

from polyclinic.core.contacts import normal_email
from polyclinic.core.keys import KeyRing
from polyclinic.db.sql_files import statement
from polyclinic.identity.contacts import EMAIL, IDENTIFIER, PHONE, binding, normal_identifier

BATCH = 500
_PACKAGE = "polyclinic.identity"


class Remaining(NamedTuple):
    """Rows sealed with another key than the active one."""

    people: int
    identifiers: int


def activate(connection: psycopg.Connection, key_id: str) -> None:
    """Name the active key. Needs the owner's rights; repeating is harmless."""
    with connection.transaction():
        connection.execute("SET LOCAL ROLE polyclinic_owner")
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('data_keys'))")
        connection.execute("UPDATE data_keys SET is_active = false WHERE key_id <> %s", [key_id])
        connection.execute(
            "INSERT INTO data_keys (key_id, is_active) VALUES (%s, true) "
            "ON CONFLICT (key_id) DO UPDATE SET is_active = true",
            [key_id],
        )


def remaining(connection: psycopg.Connection, key_id: str) -> Remaining:
    """What is left to move."""
    with connection.transaction():
        connection.execute("SET LOCAL ROLE polyclinic_keeper")
        row = connection.execute(statement(_PACKAGE, "remaining"), [key_id, key_id]).fetchone()
    assert row is not None
    return Remaining(*row)


def reseal(
    connection: psycopg.Connection, ring: KeyRing, on_progress: Callable[[int], None]
) -> None:
    """Move every row to the ring's active key; `on_progress` gets the rows of each batch."""
    for step in (_reseal_people, _reseal_identifiers):
        while moved := step(connection, ring):
            on_progress(moved)


def _reseal_people(connection: psycopg.Connection, ring: KeyRing) -> int:
    with connection.transaction():
        rows = list(_stale(connection, "stale_people", ring))
        changes = [_resealed_person(row, ring) for row in rows]
        _write(connection, "reseal_people", changes)
    return len(rows)


def _reseal_identifiers(connection: psycopg.Connection, ring: KeyRing) -> int:
    with connection.transaction():
        rows = list(_stale(connection, "stale_identifiers", ring))
        changes = [_resealed_identifier(row, ring) for row in rows]
        _write(connection, "reseal_identifiers", changes)
    return len(rows)


def _stale(connection: psycopg.Connection, name: str, ring: KeyRing) -> Iterator[Any]:
    connection.execute("SET LOCAL ROLE polyclinic_keeper")
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        cursor.execute(statement(_PACKAGE, name), [ring.active_id, BATCH])
        yield from cursor


def _write(connection: psycopg.Connection, name: str, changes: list[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(statement(_PACKAGE, name), changes)


def _resealed_person(row: Any, ring: KeyRing) -> tuple[Any, ...]:
    phone, phone_sealed = _resealed(row.phone_sealed, row.id, PHONE, ring)
    email, email_sealed = _resealed(row.email_sealed, row.id, EMAIL, ring)
    identity = None if email is None else normal_email(email)
    return (
        phone_sealed,
        ring.fingerprint(phone, purpose=PHONE) if phone and row.phone_is_valid else None,
        email_sealed,
        ring.fingerprint(identity, purpose=EMAIL) if identity else None,
        ring.active_id,
        row.id,
    )


def _resealed_identifier(row: Any, ring: KeyRing) -> tuple[Any, ...]:
    value, sealed = _resealed(row.value_sealed, row.patient_id, IDENTIFIER, ring)
    assert value is not None
    return (
        sealed,
        ring.fingerprint(normal_identifier(value), purpose=IDENTIFIER),
        ring.active_id,
        row.organization_id,
        row.id,
    )


def _resealed(
    sealed: bytes | None, row_id: UUID, field: str, ring: KeyRing
) -> tuple[str | None, bytes | None]:
    if sealed is None:
        return None, None
    bound_to = binding(row_id, field)
    plain = ring.open(bytes(sealed), bound_to=bound_to)
    return plain, ring.seal(plain, bound_to=bound_to)
