"""Two clinics side by side in one database: neither sees or touches a row of the other.

The tables come from the catalogue, so one that is new and that nothing below fills fails.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from polyclinic.app import Polyclinic
from polyclinic.core.ids import OrganizationId, PatientId, UserId, new_id
from polyclinic.core.names import search_tokens, sound_key
from polyclinic.databases import Database
from polyclinic.integration.fhir import import_fhir
from polyclinic.organizations import branch, member, organization, practitioner
from polyclinic.organizations.branch import CreateBranch
from polyclinic.organizations.member import AddMember
from polyclinic.organizations.organization import CreateOrganization
from polyclinic.organizations.practitioner import CreatePractitioner
from polyclinic.patients import consent, registration
from polyclinic.patients.consent import GiveConsent
from polyclinic.patients.profile import Identifier as Number
from polyclinic.patients.registration import RegisterPatient
from polyclinic.settings import Settings
from polyclinic.tenancy import idempotency
from polyclinic.tenancy.context import NO_ONE, OrganizationContext, Role
from polyclinic.tenancy.door import Intent, OrganizationTransaction
from polyclinic.tenancy.idempotency import Answer
from tests.postgres.catalogue import organizations_tables
from tests.postgres.conftest import DATABASES, Connect

both_databases = pytest.mark.parametrize("database", DATABASES)

BUNDLE = {
    "resourceType": "Bundle",
    "type": "transaction",
    "entry": [
        {
            "fullUrl": "urn:uuid:6e1a7c1e-0000-4000-8000-000000000001",
            "resource": {
                "resourceType": "Patient",
                "id": "6e1a7c1e-0000-4000-8000-000000000001",
                "name": [{"family": "Okafor", "given": ["Ada"]}],
                "birthDate": "1970-05-06",
            },
        },
        {
            "fullUrl": "urn:uuid:6e1a7c1e-0000-4000-8000-000000000002",
            "resource": {
                "resourceType": "Observation",
                "id": "6e1a7c1e-0000-4000-8000-000000000002",
                "status": "final",
            },
        },
    ],
}


@dataclass(frozen=True, slots=True)
class Clinic:
    """One organization, and two of its patients."""

    id: UUID
    shared: PatientId
    shared_person: UUID
    unshared: PatientId
    unshared_person: UUID
    phone: str


@dataclass(frozen=True, slots=True)
class Clinics:
    a: Clinic
    b: Clinic


@pytest.fixture(scope="module")
def clinics(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Clinics:
    """Two clinics with a row in every table, made by the use cases."""
    bundle = tmp_path_factory.mktemp("fhir") / "bundle.json"
    bundle.write_text(json.dumps(BUNDLE))

    async def fill() -> Clinics:
        async with Polyclinic(settings).open() as parts:
            return Clinics(
                await _filled(parts, bundle, "+34611000011"),
                await _filled(parts, bundle, "+34611000021"),
            )

    return asyncio.run(fill())


async def _filled(parts: Polyclinic, bundle: Path, phone: str) -> Clinic:
    organization_id = OrganizationId(new_id())
    command = CreateOrganization("Clinic", "ES", "Europe/Madrid")
    await organization.create(
        parts.door, command, organization_id, user_id=NO_ONE, request_id="test"
    )
    context = OrganizationContext(organization_id, UserId(new_id()), Role.ADMIN, "test")
    await _staff(parts, context)
    shared = await _registered(parts, context, "Shared Person", phone, consent=GiveConsent())
    unshared = await _registered(parts, context, "Private Person", f"{phone[:-1]}9")
    withdrawn = await _registered(parts, context, "Changed Mind", None, consent=GiveConsent())
    await consent.withdraw(parts.door, context, withdrawn[0])
    await import_fhir(parts.door, parts.keys, context, [bundle])
    return Clinic(organization_id, *shared, *unshared, phone)


async def _staff(parts: Polyclinic, context: OrganizationContext) -> None:
    async with parts.door.transaction(context, Intent.WRITE) as transaction:
        place = await branch.create(transaction, CreateBranch("Centre", "Europe/Madrid"))
        await practitioner.create(transaction, CreatePractitioner("Dr", branch_ids=[place.id]))
        await _repeatable(transaction, parts)
    async with parts.door.control_transaction(context, Intent.WRITE) as transaction:
        command = AddMember(f"doctor-of-{context.organization_id}", "doctor")
        await member.add(transaction, command, issuer=parts.issuer)
        await _repeatable(transaction, parts)


async def _repeatable(transaction: OrganizationTransaction, parts: Polyclinic) -> None:
    assert await idempotency.claim(transaction, "key", b"hash", parts.keys.ring) is None
    await idempotency.keep(transaction, "key", Answer(201, b"{}"), parts.keys.ring)


async def _registered(
    parts: Polyclinic,
    context: OrganizationContext,
    name: str,
    phone: str | None,
    consent: GiveConsent | None = None,
) -> tuple[PatientId, UUID]:
    command = RegisterPatient(
        name=name, phone=phone, identifiers=[Number("card", f"N-{new_id()}")], consent=consent
    )
    async with parts.door.transaction(context, Intent.WRITE) as transaction:
        made = await registration.register(transaction, parts.keys.ring, command)
    return made.patient_id, made.row["person_id"]


# -- What belongs to whom ---------------------------------------------------------------------

_OWNED_PERSONS = (
    "EXISTS (SELECT FROM patients link WHERE link.person_id = patient_persons.id"
    " AND link.organization_id = {})"
)


def owned(table: str, clinic: Clinic) -> SQL:
    """The condition under which a row of the table is this clinic's."""
    condition = _OWNED_PERSONS if table == "patient_persons" else "organization_id = {}"
    return SQL(condition.format(Literal(str(clinic.id)).as_string(None)))


def rows_of(admin: psycopg.Connection, table: str, clinic: Clinic) -> list[str]:
    """Every row of the clinic's, as text."""
    query = SQL("SELECT to_jsonb({t}) #>> '{{}}' FROM {t} WHERE {c} ORDER BY 1")
    found = admin.execute(query.format(t=Identifier(table), c=owned(table, clinic)))
    return [row for (row,) in found]


def enter(connection: psycopg.Connection, clinic: Clinic) -> None:
    connection.execute(
        "SELECT enter_organization(%s, %s, 'admin', '', 'test')", [clinic.id, new_id()]
    )


def touched(connection: psycopg.Connection, statement: Any, *args: Any) -> int:
    """How many rows the statement reached; a refused one reached none. Undone either way."""
    try:
        with connection.transaction(force_rollback=True):
            return connection.execute(statement, *args).rowcount
    except psycopg.errors.InsufficientPrivilege:
        return 0


def writable_columns(connection: psycopg.Connection, table: str, privilege: str) -> list[str]:
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
        " AND NOT attisdropped AND attgenerated = ''"
        " AND has_column_privilege('polyclinic_app', attrelid, attnum, %s) ORDER BY attnum",
        [table, privilege],
    )
    return [name for (name,) in rows]


def insertions(admin: psycopg.Connection, table: str, clinic: Clinic) -> Iterator[Any]:
    """The clinic's rows as INSERTs of the columns that the application may write."""
    columns = writable_columns(admin, table, "INSERT")
    for row in rows_of(admin, table, clinic)[:3]:
        if columns:
            names = SQL(", ").join(map(Identifier, columns))
            yield SQL(
                "INSERT INTO {t} ({n}) SELECT {n} FROM jsonb_populate_record(NULL::{t}, {r})"
            ).format(t=Identifier(table), n=names, r=Literal(row))


# -- Tables -----------------------------------------------------------------------------------


@both_databases
def test_every_table_has_rows_of_both(
    database: Database, clinics: Clinics, as_admin: Connect
) -> None:
    admin = as_admin(database)
    for table in organizations_tables(admin):
        assert rows_of(admin, table, clinics.a), f"{table}: fill it in _filled"
        assert rows_of(admin, table, clinics.b), f"{table}: fill it in _filled"


@both_databases
def test_an_organization_sees_its_own_rows_and_no_others(
    database: Database, clinics: Clinics, as_admin: Connect, as_app: Connect
) -> None:
    admin, app = as_admin(database), as_app(database)
    enter(app, clinics.a)
    for table in organizations_tables(admin):
        seen = app.execute(SQL("SELECT count(*) FROM {}").format(Identifier(table))).fetchone()
        # Of the people, those alone who share their profile.
        own = 1 if table == "patient_persons" else len(rows_of(admin, table, clinics.a))
        assert (table, seen) == (table, (own,))
        assert touched(app, SQL("SELECT FROM {} WHERE {}").format(
            Identifier(table), owned(table, clinics.b))) == 0  # fmt: skip


@both_databases
def test_another_organizations_rows_cannot_be_changed_or_deleted(
    database: Database, clinics: Clinics, as_admin: Connect, as_app: Connect
) -> None:
    admin, app = as_admin(database), as_app(database)
    enter(app, clinics.a)
    for table in organizations_tables(admin):
        before = rows_of(admin, table, clinics.b)
        name, theirs = Identifier(table), owned(table, clinics.b)
        for column in writable_columns(admin, table, "UPDATE"):
            change = SQL("UPDATE {t} SET {c} = {c}").format(t=name, c=Identifier(column))
            assert touched(app, change + SQL(" WHERE ") + theirs) == 0, (table, column)
            reached = touched(app, change)
            assert reached <= len(rows_of(admin, table, clinics.a)), (table, column)
        assert touched(app, SQL("DELETE FROM {} WHERE {}").format(name, theirs)) == 0, table
        assert touched(app, SQL("DELETE FROM {}").format(name)) <= len(
            rows_of(admin, table, clinics.a)
        ), table
        assert rows_of(admin, table, clinics.b) == before


@both_databases
def test_a_row_cannot_be_put_into_another_organization(
    database: Database, clinics: Clinics, as_admin: Connect, as_app: Connect
) -> None:
    admin, app = as_admin(database), as_app(database)
    enter(app, clinics.a)
    for table in organizations_tables(admin):
        if table == "patient_persons":
            continue  # belongs to nobody until it is linked
        for insertion in insertions(admin, table, clinics.b):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), app.transaction():
                app.execute(insertion)


@both_databases
def test_a_row_cannot_be_given_away(
    database: Database, clinics: Clinics, as_admin: Connect, as_app: Connect
) -> None:
    admin, app = as_admin(database), as_app(database)
    enter(app, clinics.a)
    for table in organizations_tables(admin):
        if "organization_id" in writable_columns(admin, table, "UPDATE"):
            gift = SQL("UPDATE {} SET organization_id = {}").format(
                Identifier(table), Literal(str(clinics.b.id))
            )
            with pytest.raises(psycopg.errors.InsufficientPrivilege), app.transaction():
                app.execute(gift)


@both_databases
@pytest.mark.parametrize("was_used", [False, True], ids=["never set", "set before"])
def test_without_a_context_there_is_nothing(
    database: Database, was_used: bool, clinics: Clinics, as_admin: Connect, as_app: Connect
) -> None:
    admin, app = as_admin(database), as_app(database)
    if was_used:  # the setting is '' from now on, no longer NULL
        enter(app, clinics.b)
        app.commit()
    for table in organizations_tables(admin):
        name = Identifier(table)
        assert touched(app, SQL("SELECT FROM {}").format(name)) == 0, table
        assert touched(app, SQL("DELETE FROM {}").format(name)) == 0, table
        for column in writable_columns(admin, table, "UPDATE"):
            change = SQL("UPDATE {t} SET {c} = {c}").format(t=name, c=Identifier(column))
            assert touched(app, change) == 0, (table, column)
        for insertion in insertions(admin, table, clinics.b):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), app.transaction():
                app.execute(insertion)


def test_only_admins_read_the_audit_log(clinics: Clinics, as_app: Connect) -> None:
    for role, sees in [("admin", True), ("superadmin", True), ("doctor", False), ("", False)]:
        app = as_app("shard")
        app.execute(
            "SELECT enter_organization(%s, %s, %s, '', 'test')", [clinics.a.id, new_id(), role]
        )
        assert (app.execute("SELECT FROM audit_log").rowcount > 0) is sees


# -- The consent gate -------------------------------------------------------------------------


def profile(connection: psycopg.Connection, clinic: Clinic, patient: UUID) -> tuple[Any, ...]:
    """What the views and the table show of a patient's profile."""
    row = connection.execute(
        "SELECT v.profile_shared, v.phone_sealed IS NOT NULL, v.systems IS NOT NULL,"
        "       i.item::jsonb ? 'date_of_birth',"
        "       EXISTS (SELECT FROM patient_persons WHERE id = v.person_id)"
        " FROM patient_views v JOIN patient_items i USING (organization_id, id)"
        " WHERE v.organization_id = %s AND v.id = %s",
        [clinic.id, patient],
    ).fetchone()
    assert row is not None
    return row


OPEN, CLOSED = (True,) * 5, (False,) * 5


def test_the_profile_is_seen_while_it_is_shared_and_no_longer(
    clinics: Clinics, as_app: Connect
) -> None:
    reader, writer = as_app("shard"), as_app("shard")
    enter(reader, clinics.a)
    assert profile(reader, clinics.a, clinics.a.unshared) == CLOSED
    for function, expected in [
        ("give_consent(%s, 'verbal', NULL)", OPEN),
        ("withdraw_consent(%s)", CLOSED),
    ]:
        enter(writer, clinics.a)
        writer.execute(f"SELECT {function}".encode(), [clinics.a.unshared])
        writer.commit()
        # also for a transaction that was open already
        assert profile(reader, clinics.a, clinics.a.unshared) == expected


def test_a_profile_that_is_not_shared_cannot_be_changed(
    clinics: Clinics, as_app: Connect, as_admin: Connect
) -> None:
    app, admin = as_app("shard"), as_admin("shard")
    enter(app, clinics.a)
    before = rows_of(admin, "patient_persons", clinics.a)
    change = "UPDATE patient_persons SET name = 'changed' WHERE id = %s"
    assert touched(app, change, [clinics.a.unshared_person]) == 0
    assert touched(app, change, [clinics.a.shared_person]) == 1
    for person in (clinics.a.unshared_person, clinics.b.shared_person):
        with pytest.raises(psycopg.Error) as refused, app.transaction():
            app.execute("SELECT carry_person_name(%s, 'x', '{x}', '{x}')", [person])
        assert refused.value.sqlstate == "PC004"
    assert rows_of(admin, "patient_persons", clinics.a) == before


def test_consent_for_another_organizations_patient_changes_nothing(
    clinics: Clinics, as_app: Connect, as_admin: Connect
) -> None:
    app, admin = as_app("shard"), as_admin("shard")
    tables = ("patients", "consents", "patient_persons", "audit_log")
    before = [rows_of(admin, table, clinics.b) for table in tables]
    enter(app, clinics.a)
    for patient in (clinics.b.unshared, clinics.b.shared):
        for function in ("give_consent(%s, 'verbal', NULL)", "withdraw_consent(%s)"):
            answer = app.execute(f"SELECT {function}".encode(), [patient]).fetchone()
            assert answer == (False,)
    app.commit()
    assert [rows_of(admin, table, clinics.b) for table in tables] == before


def test_consent_without_a_context_is_refused(clinics: Clinics, as_app: Connect) -> None:
    app = as_app("shard")
    for _ in ("never set", "set before"):
        for function in ("give_consent(%s, 'verbal', NULL)", "withdraw_consent(%s)"):
            with suppress(psycopg.Error), app.transaction():
                row = app.execute(f"SELECT {function}".encode(), [clinics.b.unshared]).fetchone()
                assert row != (True,)
        enter(app, clinics.a)
        app.commit()


def test_one_organizations_consent_opens_nothing_for_another(
    clinics: Clinics, as_app: Connect
) -> None:
    at_a, at_b = as_app("shard"), as_app("shard")
    enter(at_a, clinics.a)
    enter(at_b, clinics.b)
    linked = new_id()
    at_b.execute(
        "INSERT INTO patients (organization_id, id, person_id, name) VALUES (%s, %s, %s, 'x')",
        [clinics.b.id, linked, clinics.a.shared_person],
    )
    assert profile(at_a, clinics.a, clinics.a.shared) == OPEN
    assert profile(at_b, clinics.b, linked) == CLOSED


def test_a_search_finds_no_patient_of_another_and_no_unshared_phone(
    clinics: Clinics, as_app: Connect, as_admin: Connect
) -> None:
    prints = [
        bytes(print_)
        for (print_,) in as_admin("shard").execute(
            "SELECT fingerprint FROM patient_identifiers WHERE organization_id = %(b)s UNION ALL"
            " SELECT phone_fingerprint FROM patient_persons WHERE phone_fingerprint IS NOT NULL"
            "  AND id = ANY (%(people)s)",
            {
                "b": clinics.b.id,
                "people": [clinics.b.shared_person, clinics.a.unshared_person],
            },
        )
    ]
    assert len(prints) >= 4
    app = as_app("shard")
    enter(app, clinics.a)
    assert app.execute(*find([], prints)).fetchall() == []
    words = list(search_tokens("Private Person"))
    found = {patient for (patient,) in app.execute(*find(words, []))}
    assert clinics.a.unshared in found
    assert clinics.b.unshared not in found


def find(tokens: list[str], prints: list[bytes]) -> tuple[bytes, list[Any]]:
    query = (
        b"SELECT patient_id FROM find_patients(%s::text[], %s::text[], %s, %s::bytea[], 50, 0, '',"
        b" '', '00000000-0000-0000-0000-000000000000')"
    )
    driver = tokens[0] if tokens else ""
    return query, [tokens, [sound_key(token) for token in tokens], driver, prints]
