"""Invented people in a real database: stored as registrations are, once, however often it is tried."""

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

from polyclinic.app import Polyclinic
from polyclinic.core.ids import OrganizationId, PatientId
from polyclinic.core.keys import KeyRing
from polyclinic.demo import loading
from polyclinic.demo.clinics import AURORA, HARBOUR, SHARED_PATIENTS, load_demo
from polyclinic.demo.loading import load_people
from polyclinic.demo.people import Person, people
from polyclinic.demo.seeding import seed
from polyclinic.identity.contacts import EMAIL, IDENTIFIER, PHONE, binding
from polyclinic.identity.key_store import KeyStore
from polyclinic.patients.registration import Outcome, Registered, register
from polyclinic.tenancy.context import NO_ONE, OrganizationContext, Role
from polyclinic.tenancy.door import Intent
from tests.conftest import FoundOrganization, acting

_STORED = """
SELECT person.*, link.name AS link_name, number.patient_id, number.system, number.value_sealed,
       number.fingerprint, number.key_id AS number_key_id,
       ARRAY(SELECT (t.token, t.all_tokens)::text FROM patient_name_tokens t
             WHERE t.patient_id = link.id ORDER BY t.token) AS tokens,
       ARRAY(SELECT (v.token, v.sound)::text FROM name_vocabulary v
             WHERE v.token IN (SELECT token FROM patient_name_tokens t WHERE t.patient_id = link.id)
             ORDER BY v.token) AS vocabulary
FROM patients link JOIN patient_persons person ON person.id = link.person_id
JOIN patient_identifiers number ON number.patient_id = link.id
ORDER BY person.name, person.date_of_birth
"""
_OF_THEIR_OWN = {"id", "patient_id", "created_at", "updated_at"}


class Cut(Exception):
    """The load was killed here."""


def some_people(count: int, *, seed: int = 11) -> list[Person]:
    return list(people(seed=seed, count=count, country="ES"))


async def load(
    parts: Polyclinic, context: OrganizationContext, loaded: list[Person], share: float = 1.0
) -> int:
    return await load_people(
        parts.door, parts.keys, context, loaded, consent_share=share, on_progress=lambda _: None
    )


async def fetch(
    parts: Polyclinic, context: OrganizationContext, query: str
) -> list[dict[str, Any]]:
    async with parts.door.transaction(context, Intent.READ) as transaction:
        return [dict(row) for row in await transaction.fetch(query)]


async def count(parts: Polyclinic, context: OrganizationContext, table: str) -> int:
    rows = await fetch(parts, context, f"SELECT count(*) FROM {table}")
    return int(rows[0]["count"])


async def come_in(parts: Polyclinic, context: OrganizationContext, person: Person) -> Registered:
    """Reception registers the person."""
    command = person.as_registration()
    async with parts.door.transaction(context, Intent.WRITE) as transaction:
        registered = await register(transaction, parts.keys.ring, command)
        await transaction.fetchval("SELECT give_consent($1, 'verbal', NULL)", registered.patient_id)
    return registered


def opened(row: dict[str, Any], ring: KeyRing) -> dict[str, Any]:
    """The row with its sealed values opened and without what is each row's own."""
    phone, email, number = row["phone_sealed"], row["email_sealed"], row["value_sealed"]
    person_id, patient_id = row["id"], row["patient_id"]
    row = {name: value for name, value in row.items() if name not in _OF_THEIR_OWN}
    row["phone_sealed"] = phone and ring.open(phone, bound_to=binding(person_id, PHONE))
    row["email_sealed"] = email and ring.open(email, bound_to=binding(person_id, EMAIL))
    row["value_sealed"] = ring.open(number, bound_to=binding(patient_id, IDENTIFIER))
    return row


async def test_loaded_people_are_stored_as_registration_stores_them(
    parts: Polyclinic, found_organization: FoundOrganization
) -> None:
    loaded, registered = acting(await found_organization()), acting(await found_organization())
    invented = some_people(150, seed=301)
    for person in invented:
        assert (await come_in(parts, registered, person)).outcome is Outcome.NEW
    assert await load(parts, loaded, invented) == len(invented)
    ring = parts.keys.ring
    expected = [opened(row, ring) for row in await fetch(parts, registered, _STORED)]
    assert len(expected) == len(invented)
    assert [opened(row, ring) for row in await fetch(parts, loaded, _STORED)] == expected


async def test_a_loaded_person_who_comes_in_is_found(
    parts: Polyclinic, context: OrganizationContext, found_organization: FoundOrganization
) -> None:
    invented = some_people(30, seed=302)
    await load(parts, context, invented)
    elsewhere = acting(await found_organization())
    for person in invented:
        assert (await come_in(parts, context, person)).outcome is Outcome.EXISTING
        assert (await come_in(parts, elsewhere, person)).outcome is Outcome.LINKED


async def test_the_asked_share_of_them_shares_the_profile(
    parts: Polyclinic, context: OrganizationContext
) -> None:
    await load(parts, context, some_people(200), share=0.8)
    assert await count(parts, context, "patients WHERE profile_shared") == 160
    assert await count(parts, context, "patient_persons") == 160
    assert await count(parts, context, "consents WHERE method = 'import'") == 160


async def test_each_batch_leaves_one_audit_record_that_names_its_patients(
    parts: Polyclinic, context: OrganizationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "BATCH_SIZE", 40)
    await load(parts, context, some_people(100))
    records = await fetch(
        parts, context, "SELECT entity_ids FROM audit_log WHERE action = 'patient.seed'"
    )
    patients = await fetch(parts, context, "SELECT id FROM patients")
    assert sorted(len(record["entity_ids"]) for record in records) == [20, 40, 40]
    assert {id_ for record in records for id_ in record["entity_ids"]} == {
        PatientId(patient["id"]) for patient in patients
    }


async def test_a_load_that_was_cut_off_goes_on_and_adds_nobody_twice(
    parts: Polyclinic, context: OrganizationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "BATCH_SIZE", 20)
    invented = some_people(200)

    def cut_off() -> Iterator[Person]:
        yield from islice(invented, 90)
        raise Cut

    with pytest.raises(Cut):
        await load_people(
            parts.door, parts.keys, context, cut_off(), consent_share=0.5, on_progress=print
        )
    there = await count(parts, context, "patients")
    assert 0 <= there <= 80
    assert there % 20 == 0
    # A COMMIT that was under way when its writer was cancelled may take effect after the count.
    assert await load(parts, context, invented) in {200 - kept for kept in range(there, 81, 20)}
    assert await count(parts, context, "patients") == 200
    assert await load(parts, context, invented) == 0


async def test_two_loads_of_the_same_people_at_once_add_them_once(
    parts: Polyclinic, context: OrganizationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "BATCH_SIZE", 25)
    invented = some_people(300)
    added = await asyncio.gather(*(load(parts, context, invented) for _ in range(3)))
    assert sum(added) == 300
    assert await count(parts, context, "patients") == 300


async def test_a_load_follows_a_rotation_of_the_keys(
    parts: Polyclinic, context: OrganizationContext
) -> None:
    """A ring with another key in front stands for a process that has not heard which is active."""
    active = parts.keys.ring.active_id
    ahead = parts.keys.ring.with_new_active()
    added = await load_people(
        parts.door,
        KeyStore(lambda: ahead),
        context,
        some_people(20),
        consent_share=1,
        on_progress=lambda _: None,
    )
    assert added == 20
    assert await count(parts, context, f"patient_persons WHERE key_id = '{active}'") == 20


async def test_progress_counts_everybody_once(
    parts: Polyclinic, context: OrganizationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "BATCH_SIZE", 30)
    heard: list[int] = []
    for _ in range(2):
        await load_people(
            parts.door,
            parts.keys,
            context,
            some_people(100),
            consent_share=0,
            on_progress=heard.append,
        )
    assert sorted(heard) == [10, 10, 30, 30, 30, 30, 30, 30]


async def test_seed_splits_patients_and_repeats_without_adding(parts: Polyclinic) -> None:
    async def again() -> tuple[list[OrganizationId], int]:
        summary = await seed(
            parts, patients=100, organizations=3, seed=5, on_progress=lambda _: None
        )
        return summary.organizations, summary.added

    organizations, added = await again()
    assert added == 100
    counts = [
        await count(
            parts, OrganizationContext(organization_id, NO_ONE, Role.ADMIN, "test"), "patients"
        )
        for organization_id in organizations
    ]
    assert counts == [34, 33, 33]
    assert await again() == (organizations, 0)


async def test_the_demo_is_whole_and_a_second_start_leaves_it_alone(parts: Polyclinic) -> None:
    first, second = await asyncio.gather(load_demo(parts), load_demo(parts))
    third = await load_demo(parts)
    assert not third.is_new
    assert first.organizations == second.organizations == third.organizations
    assert sum(organization.patients for organization in third.organizations) == 2015
    assert await count(parts, AURORA.context, "branches") == 3
    assert await count(parts, HARBOUR.context, "branches") == 2
    for clinic in (AURORA, HARBOUR):
        assert await count(parts, clinic.context, "practitioners") == 10
        shared = await count(parts, clinic.context, "patients WHERE profile_shared")
        assert 800 <= shared <= 810


async def test_a_dozen_patients_of_the_demo_are_one_person_at_both_clinics(
    parts: Polyclinic,
) -> None:
    await load_demo(parts)
    people_of = [
        {row["person_id"] for row in await fetch(parts, clinic.context, query)}
        for clinic in (AURORA, HARBOUR)
        for query in ["SELECT person_id FROM patients"]
    ]
    assert len(people_of[0] & people_of[1]) == SHARED_PATIENTS


async def test_a_mother_and_two_children_of_the_demo_share_one_phone(parts: Polyclinic) -> None:
    await load_demo(parts)
    family = await fetch(
        parts,
        AURORA.context,
        "SELECT name, emergency_contact_name FROM patient_persons WHERE phone_fingerprint = ("
        "SELECT phone_fingerprint FROM patient_persons WHERE name = 'Lucía Navarro Vidal')"
        "ORDER BY date_of_birth",
    )
    assert [member["name"] for member in family] == [
        "Lucía Navarro Vidal",
        "Mateo Ríos Navarro",
        "Alba Ríos Navarro",
    ]
    assert {member["emergency_contact_name"] for member in family[1:]} == {family[0]["name"]}
