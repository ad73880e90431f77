"""Registering a patient: discover, decide, link. One person stays one person.

In one transaction: hold the contacts' locks, look who holds them already, then link the person who
is known or create a new one. What is unclear is refused with masked candidates, and the caller's
decision is audited with the record that it made.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Meta

from polyclinic.core.errors import Invalid
from polyclinic.core.ids import PatientId, new_id
from polyclinic.core.keys import KeyRing
from polyclinic.core.names import masked, search_tokens, sound_key
from polyclinic.db.sql_files import statement
from polyclinic.identity.contacts import IDENTIFIER, Contacts, binding, normal_identifier
from polyclinic.identity.discovery import discover, require_current_ring
from polyclinic.identity.matching import KnownPerson, Verdict, judge
from polyclinic.patients.consent import GiveConsent
from polyclinic.patients.errors import MaskedCandidate, NotACandidate, PossibleMatch
from polyclinic.patients.profile import (
    BloodType,
    EmailText,
    Identifier,
    Insurances,
    Name,
    PhoneText,
    Sex,
    ShortText,
    TextList,
)
from polyclinic.tenancy.door import OrganizationTransaction

PACKAGE = "polyclinic.patients"
OLDEST_BIRTH = date(1880, 1, 1)


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The caller's decision that this is the offered person."""

    link: UUID


class RegisterPatient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A patient as reception writes it down."""

    name: Name
    date_of_birth: date | None = None
    sex: Sex | None = None
    phone: PhoneText | None = None
    email: EmailText | None = None
    blood_type: BloodType | None = None
    allergies: TextList = []
    chronic_conditions: TextList = []
    emergency_contact_name: ShortText | None = None
    insurance_entries: Insurances = []
    identifiers: Annotated[list[Identifier], Meta(max_length=20)] = []
    decision: Literal["new"] | Link | None = None
    consent: GiveConsent | None = None


class Outcome(StrEnum):
    """What a registration did."""

    NEW = "new"
    LINKED = "linked"
    EXISTING = "existing"


@dataclass(frozen=True, slots=True)
class Registered:
    """`row` has the columns of `queries/view.sql`."""

    outcome: Outcome
    patient_id: PatientId
    row: asyncpg.Record


async def register(
    transaction: OrganizationTransaction, ring: KeyRing, command: RegisterPatient
) -> Registered:
    """Register within the caller's transaction, which is rolled back whole if this raises.

    Repeating it with the same phone or e-mail, date of birth and a like name finds the patient
    again; a person with neither is new each time, so a caller who repeats needs an
    Idempotency-Key. Raises `PossibleMatch`, `NotACandidate`, `Invalid`, `KeyRingStale`.
    """
    require_possible_birth(command.date_of_birth)
    organization_id = transaction.context.organization_id
    await require_current_ring(transaction, ring)
    country = await transaction.fetchval(
        statement(PACKAGE, "organization_country"), organization_id
    )
    contacts = Contacts.parse(phone=command.phone, email=command.email, country=country)
    known = await discover(transaction, contacts, ring, date_of_birth=command.date_of_birth)
    person = await _choose(transaction, command, known)
    if person is None:
        outcome = Outcome.NEW
        patient_id = await _create(transaction, ring, command, contacts)
    else:
        outcome, patient_id = await _link(transaction, person)
    if outcome is not Outcome.EXISTING:
        await _add_identifiers(transaction, ring, patient_id, command.identifiers)
    await _record(transaction, outcome, patient_id, command, known)
    if command.consent is not None:
        await command.consent.apply(transaction, patient_id)
    row = await transaction.fetchrow(statement(PACKAGE, "view"), organization_id, patient_id)
    assert row is not None
    return Registered(outcome, patient_id, row)


def require_possible_birth(date_of_birth: date | None) -> None:
    """Raises `Invalid` for a date in the future or before 1880."""
    if date_of_birth is None:
        return
    # A clinic east of UTC registers tomorrow's newborn by the server's calendar.
    latest = date.fromordinal(datetime.now(UTC).date().toordinal() + 1)
    if not OLDEST_BIRTH <= date_of_birth <= latest:
        raise Invalid(f"must lie between {OLDEST_BIRTH} and today", field="date_of_birth")


async def _choose(
    transaction: OrganizationTransaction, command: RegisterPatient, known: list[KnownPerson]
) -> KnownPerson | None:
    """The known person to link, or None for a new one. Raises `PossibleMatch`, `NotACandidate`."""
    verdicts = [
        (person, judge(person, name=command.name, date_of_birth=command.date_of_birth))
        for person in known
    ]
    likely = [person for person, verdict in verdicts if verdict is not Verdict.ANOTHER]
    match command.decision:
        case "new":
            return None
        case Link(link=person_id):
            for person in likely:
                if person.id == person_id:
                    return person
            raise NotACandidate(person_id)
        case None:
            same = [person for person, verdict in verdicts if verdict is Verdict.SAME]
            if len(same) == 1:
                return same[0]
            if likely:
                raise PossibleMatch(await _masked(transaction, likely))
            return None


async def _masked(
    transaction: OrganizationTransaction, people: list[KnownPerson]
) -> list[MaskedCandidate]:
    rows = await transaction.fetch(
        statement(PACKAGE, "links_of_people"),
        transaction.context.organization_id,
        [person.id for person in people],
    )
    here = {row["person_id"] for row in rows}
    return [
        MaskedCandidate(
            person_id=person.id,
            name=masked(person.name),
            date_of_birth=masked_birth(person.date_of_birth),
            matched_on=["phone"] * person.by_phone + ["email"] * person.by_email,
            is_patient_here=person.id in here,
        )
        for person in people
    ]


def masked_birth(date_of_birth: date | None) -> str | None:
    """The day alone: enough to tell two people apart who are asked for it."""
    return None if date_of_birth is None else f"••••-••-{date_of_birth.day:02d}"


async def _create(
    transaction: OrganizationTransaction,
    ring: KeyRing,
    command: RegisterPatient,
    contacts: Contacts,
) -> PatientId:
    person_id = new_id()
    sealed = contacts.sealed(person_id, ring)
    await transaction.execute(
        statement(PACKAGE, "insert_person"),
        person_id, command.name, command.date_of_birth, command.sex,
        sealed.phone_sealed, sealed.phone_is_valid, sealed.phone_fingerprint,
        sealed.email_sealed, sealed.email_fingerprint, sealed.key_id,
        command.blood_type, _json(command.allergies), _json(command.chronic_conditions),
        command.emergency_contact_name, _json(command.insurance_entries),
    )  # fmt: skip
    return await _insert_link(transaction, person_id, command.name)


async def _link(
    transaction: OrganizationTransaction, person: KnownPerson
) -> tuple[Outcome, PatientId]:
    organization_id = transaction.context.organization_id
    present = await transaction.fetchval(
        statement(PACKAGE, "link_of_person"), organization_id, person.id
    )
    if present is not None:
        return Outcome.EXISTING, PatientId(present)
    return Outcome.LINKED, await _insert_link(transaction, person.id, person.name)


async def _insert_link(
    transaction: OrganizationTransaction, person_id: UUID, name: str
) -> PatientId:
    organization_id = transaction.context.organization_id
    patient_id = PatientId(new_id())
    await transaction.execute(
        statement(PACKAGE, "insert_patient"), organization_id, patient_id, person_id, name
    )
    tokens = search_tokens(name)
    await transaction.execute(
        "SELECT index_patient_name($1, $2, $3, $4)",
        organization_id, patient_id, list(tokens), [sound_key(token) for token in tokens],
    )  # fmt: skip
    return patient_id


async def _add_identifiers(
    transaction: OrganizationTransaction,
    ring: KeyRing,
    patient_id: PatientId,
    identifiers: list[Identifier],
) -> None:
    if not identifiers:
        return
    bound_to = binding(patient_id, IDENTIFIER)
    await transaction.execute(
        statement(PACKAGE, "insert_identifiers"),
        transaction.context.organization_id,
        patient_id,
        [identifier.system for identifier in identifiers],
        [ring.seal(identifier.value, bound_to=bound_to) for identifier in identifiers],
        [
            ring.fingerprint(normal_identifier(identifier.value), purpose=IDENTIFIER)
            for identifier in identifiers
        ],
        ring.active_id,
    )


async def _record(
    transaction: OrganizationTransaction,
    outcome: Outcome,
    patient_id: PatientId,
    command: RegisterPatient,
    known: list[KnownPerson],
) -> None:
    """The audit record: what was done, what the look across organizations showed, who decided."""
    match command.decision:
        case None:
            decision = None
        case "new":
            decision = "new"
        case Link():
            decision = "link"
    await transaction.audit(
        "patient.register",
        "patient",
        patient_id,
        details={"outcome": outcome, "decision": decision, "known_people": len(known)},
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
