"""The demo of `polyclinic up`: two organizations, their staff and some two thousand patients.

Every step is done once (`steps.py`), so a demo that was cut off is finished by the next start, and
one that is there is left as people have made it since.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from random import Random

from polyclinic.core.ids import OrganizationId
from polyclinic.demo.loading import load_people
from polyclinic.demo.names import Gender, languages
from polyclinic.demo.people import RECORD_NUMBERS, Person, people
from polyclinic.demo.steps import claim, done_steps
from polyclinic.identity.key_store import KeyStore
from polyclinic.organizations import branch, organization, practitioner
from polyclinic.organizations.branch import CreateBranch
from polyclinic.organizations.organization import (
    CreateOrganization,
    Organization,
    organization_id_for,
)
from polyclinic.organizations.practitioner import CreatePractitioner, License
from polyclinic.patients.consent import GiveConsent
from polyclinic.patients.profile import Identifier
from polyclinic.patients.registration import RegisterPatient, register
from polyclinic.tenancy.context import NO_ONE, OrganizationContext, Role
from polyclinic.tenancy.door import Door, Intent, OrganizationTransaction

REQUEST_ID = "demo"
CONSENT_SHARE = 0.8
PATIENTS_EACH = 1000
SHARED_PATIENTS = 12
SEED = 2026

_SPECIALTIES = (
    "General practice", "Paediatrics", "Cardiology", "Dermatology", "Gynaecology", "Orthopaedics",
    "Ophthalmology", "Psychiatry", "Endocrinology", "Physiotherapy",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Clinic:
    """What one organization of the demo is made of; `language` is its staff's."""

    key: str
    create: CreateOrganization
    language: str
    branches: tuple[CreateBranch, ...]

    @property
    def organization_id(self) -> OrganizationId:
        """The same in every installation."""
        return organization_id_for(NO_ONE, self.key)

    @property
    def context(self) -> OrganizationContext:
        return OrganizationContext(self.organization_id, NO_ONE, Role.SUPERADMIN, REQUEST_ID)

    def people(self) -> list[Person]:
        return list(people(seed=SEED, count=PATIENTS_EACH, country=self.create.country))


AURORA = Clinic(
    key="demo/aurora",
    create=CreateOrganization("Clínica Aurora", "ES", "Europe/Madrid"),
    language="es",
    branches=(
        CreateBranch("Aurora Centro", "Europe/Madrid", "Calle de la Luna 12, Madrid"),
        CreateBranch("Aurora Getafe", "Europe/Madrid", "Avenida del Sol 4, Getafe"),
        CreateBranch("Aurora Las Palmas", "Atlantic/Canary", "Paseo del Faro 30, Las Palmas"),
    ),
)
HARBOUR = Clinic(
    key="demo/harbour",
    create=CreateOrganization("Harbour Medical Group", "US", "America/New_York"),
    language="en",
    branches=(
        CreateBranch("Harbour Downtown", "America/New_York", "100 Pier Street, Boston, MA"),
        CreateBranch("Harbour Lakeside", "America/Chicago", "8 Lantern Road, Chicago, IL"),
    ),
)


@dataclass(frozen=True, slots=True)
class DemoSummary:
    """`is_new`: some of it was added now."""

    organizations: list[Organization]
    is_new: bool


async def load_demo(door: Door, keys: KeyStore) -> DemoSummary:
    """The demo, whole, whatever of it was there. Repeating it changes nothing."""
    organizations, is_new = [], False
    for clinic in (AURORA, HARBOUR):
        organizations.append(
            await organization.create(
                door, clinic.create, clinic.organization_id, user_id=NO_ONE, request_id=REQUEST_ID
            )
        )
        steps = _Steps(door, clinic.context, await done_steps(door, clinic.context))
        is_new |= await steps.once("staff", lambda to, clinic=clinic: _add_staff(to, clinic))
        is_new |= await _add_patients(steps, keys, clinic)
        if clinic is AURORA:
            is_new |= await steps.once("family", lambda to: _add_family(to, keys))
        else:
            is_new |= await steps.once("shared", lambda to: _add_patients_of_both(to, keys))
    return DemoSummary(organizations, is_new)


@dataclass(frozen=True, slots=True)
class _Steps:
    """One organization's steps; `done` spares the transactions of those that are."""

    door: Door
    context: OrganizationContext
    done: frozenset[str]

    async def once(
        self, step: str, work: Callable[[OrganizationTransaction], Awaitable[None]]
    ) -> bool:
        """Do the step unless it is done; whether it was done now."""
        if step in self.done:
            return False
        async with self.door.transaction(self.context, Intent.WRITE) as transaction:
            is_new = await claim(transaction, step)
            if is_new:
                await work(transaction)
            return is_new


async def _add_patients(steps: _Steps, keys: KeyStore, clinic: Clinic) -> bool:
    """The last step tells a later version, which invents other people, that these are enough."""
    if "people" in steps.done:
        return False
    await load_people(
        steps.door,
        keys,
        steps.context,
        clinic.people(),
        consent_share=CONSENT_SHARE,
        on_progress=lambda _: None,
    )
    return await steps.once("people", _nothing_more)


async def _nothing_more(_: OrganizationTransaction) -> None:
    """The batches are written, each in its own transaction."""


async def _add_staff(transaction: OrganizationTransaction, clinic: Clinic) -> None:
    """The branches, and a practitioner for each specialty; each third works everywhere."""
    branches = [(await branch.create(transaction, create)).id for create in clinic.branches]
    random = Random(SEED)  # noqa: S311
    language = languages()[clinic.language]
    for place, specialty in enumerate(_SPECIALTIES):
        gender: Gender = "female" if place % 2 else "male"
        name = language.full_name(random, gender, language.family_name(random))
        await practitioner.create(
            transaction,
            CreatePractitioner(
                name,
                specialty,
                [License("urn:polyclinic:licence", f"{clinic.create.country}-{1000 + place}")],
                [] if place % 3 == 2 else [branches[place % len(branches)]],
            ),
        )


async def _add_family(transaction: OrganizationTransaction, keys: KeyStore) -> None:
    """A mother and her two children on one phone: three people, none mistaken for another."""
    members: tuple[tuple[str, date, Gender], ...] = (
        ("Lucía Navarro Vidal", date(1988, 3, 14), "female"),
        ("Mateo Ríos Navarro", date(2015, 9, 2), "male"),
        ("Alba Ríos Navarro", date(2019, 11, 27), "female"),
    )
    mother = members[0][0]
    for place, (name, born, sex) in enumerate(members):
        await register(
            transaction,
            keys.ring,
            RegisterPatient(
                name=name,
                date_of_birth=born,
                sex=sex,
                phone="+34 600 123 123",
                email="lucia.navarro@example.com" if name == mother else None,
                emergency_contact_name=None if name == mother else mother,
                identifiers=[Identifier(RECORD_NUMBERS, f"MRN-F{place + 1:05d}")],
                consent=GiveConsent("written"),
            ),
        )


async def _add_patients_of_both(transaction: OrganizationTransaction, keys: KeyStore) -> None:
    """A dozen patients of the first organization come to the second: linked, not doubled."""
    for place, person in enumerate(AURORA.people()[:SHARED_PATIENTS]):
        command = RegisterPatient(
            name=person.name,
            date_of_birth=person.date_of_birth,
            sex=person.sex,
            phone=person.phone,
            email=person.email,
            identifiers=[Identifier(RECORD_NUMBERS, f"MRN-S{place + 1:05d}")],
            consent=GiveConsent("electronic") if place % 2 == 0 else None,
        )
        await register(transaction, keys.ring, command)
