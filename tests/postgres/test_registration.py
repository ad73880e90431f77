"""One person stays one person, whoever registers them, and a family on one phone is a family."""

import asyncio
from collections.abc import Callable
from datetime import date

import pytest

from polyclinic.app import Polyclinic
from polyclinic.organizations.organization import Organization
from polyclinic.patients.errors import NotACandidate, PossibleMatch
from polyclinic.patients.registration import Link, Outcome, Registered, RegisterPatient, register
from polyclinic.tenancy.context import OrganizationContext
from polyclinic.tenancy.door import Intent
from tests.conftest import FoundOrganization, acting

Phone = Callable[[], str]


async def registered(
    parts: Polyclinic, context: OrganizationContext, command: RegisterPatient
) -> Registered:
    async with parts.door.transaction(context, Intent.WRITE) as transaction:
        return await register(transaction, parts.keys.ring, command)


def person(name: str, born: str, phone: str, **more: object) -> RegisterPatient:
    return RegisterPatient(
        name=name,
        date_of_birth=date.fromisoformat(born),
        phone=phone,
        **more,  # type: ignore[arg-type]
    )


async def test_a_known_person_is_linked_at_a_second_organization(
    parts: Polyclinic, found_organization: FoundOrganization, new_phone: Phone
) -> None:
    first, second = acting(await found_organization()), acting(await found_organization())
    phone = new_phone()
    new = await registered(parts, first, person("María López", "1980-02-03", phone))
    same = await registered(parts, second, person("Maria Lopez", "1980-02-03", phone))
    assert (new.outcome, same.outcome) == (Outcome.NEW, Outcome.LINKED)
    assert same.row["person_id"] == new.row["person_id"]
    assert same.row["id"] != new.row["id"]


async def test_registering_again_finds_the_patient_again(
    parts: Polyclinic, context: OrganizationContext, new_phone: Phone
) -> None:
    command = person("María López", "1980-02-03", new_phone())
    first = await registered(parts, context, command)
    again = await registered(parts, context, command)
    assert again.outcome is Outcome.EXISTING
    assert again.patient_id == first.patient_id


async def test_fifty_simultaneous_registrations_make_one_person(
    parts: Polyclinic, found_organization: FoundOrganization, new_phone: Phone
) -> None:
    contexts = [acting(await found_organization(name=f"Clinic {n}")) for n in range(5)]
    command = person("Иван Петров", "1971-11-30", new_phone())
    outcomes = await asyncio.gather(
        *(registered(parts, contexts[n % 5], command) for n in range(50))
    )
    assert len({one.row["person_id"] for one in outcomes}) == 1
    counted = [one.outcome for one in outcomes]
    assert counted.count(Outcome.NEW) == 1
    assert counted.count(Outcome.LINKED) == 4
    assert counted.count(Outcome.EXISTING) == 45


async def test_a_mother_and_two_children_on_one_phone_are_three(
    parts: Polyclinic, context: OrganizationContext, new_phone: Phone
) -> None:
    phone = new_phone()
    family = [
        person("Carmen Ruiz Gil", "1985-06-01", phone),
        person("Lucía Moreno Ruiz", "2015-03-12", phone),
        person("Hugo Moreno Ruiz", "2018-09-05", phone),
    ]
    outcomes = [await registered(parts, context, one) for one in family]
    assert {one.outcome for one in outcomes} == {Outcome.NEW}
    assert len({one.row["person_id"] for one in outcomes}) == 3


@pytest.mark.parametrize(
    ("known", "given"),
    [
        (("Ana Sanz", "1990-01-02"), ("Ana Sanz", "1990-02-01")),  # day and month swapped
        (("Ana Sanz", "1990-01-02"), ("Ana Sanz", "1960-07-09")),  # mother and daughter of a name
        (("Leo Gil", "2011-05-05"), ("Mía Gil", "2011-05-05")),  # twins
    ],
)
async def test_what_is_unclear_is_refused_with_masked_candidates(
    parts: Polyclinic,
    context: OrganizationContext,
    new_phone: Phone,
    known: tuple[str, str],
    given: tuple[str, str],
) -> None:
    phone = new_phone()
    first = await registered(parts, context, person(*known, phone))
    with pytest.raises(PossibleMatch) as refusal:
        await registered(parts, context, person(*given, phone))
    (candidate,) = refusal.value.candidates
    assert candidate.person_id == first.row["person_id"]
    assert candidate.matched_on == ["phone"]
    assert candidate.is_patient_here
    shown = f"{candidate.name} {candidate.date_of_birth}"
    assert not any(word[1:] in shown for word in known[0].split())
    assert known[1][:4] not in shown


async def test_the_callers_decision_links_or_makes_a_new_person(
    parts: Polyclinic, context: OrganizationContext, new_phone: Phone
) -> None:
    phone = new_phone()
    first = await registered(parts, context, person("Leo Gil", "2011-05-05", phone))
    known_id = first.row["person_id"]
    linked = await registered(
        parts, context, person("Leonardo Gil", "2011-05-05", phone, decision=Link(known_id))
    )
    twin = await registered(parts, context, person("Mía Gil", "2011-05-05", phone, decision="new"))
    assert linked.row["person_id"] == known_id
    assert twin.row["person_id"] != known_id


async def test_only_a_candidate_can_be_linked(
    parts: Polyclinic, context: OrganizationContext, new_phone: Phone
) -> None:
    stranger = await registered(parts, context, person("Eva Mas", "1999-09-09", new_phone()))
    command = person("Eva Mas", "1999-09-09", new_phone(), decision=Link(stranger.row["person_id"]))
    with pytest.raises(NotACandidate):
        await registered(parts, context, command)


async def test_a_phone_that_is_not_valid_is_kept_and_identifies_nobody(
    parts: Polyclinic, organization: Organization
) -> None:
    context = acting(organization)
    first = await registered(parts, context, person("Ana Sanz", "1990-01-02", "555-907-9875"))
    second = await registered(parts, context, person("Ana Sanz", "1990-01-02", "555-907-9875"))
    assert first.row["person_id"] != second.row["person_id"]


async def test_an_email_identifies_as_a_phone_does(
    parts: Polyclinic, context: OrganizationContext, new_phone: Phone
) -> None:
    address = f"ana{new_phone()}@example.org"
    born = date(1990, 1, 2)
    first = await registered(
        parts, context, RegisterPatient(name="Ana Sanz", date_of_birth=born, email=address)
    )
    second = await registered(
        parts, context, RegisterPatient(name="Ana Sanz", date_of_birth=born, email=address.upper())
    )
    assert second.patient_id == first.patient_id
