"""The demo of `polyclinic up`: two organizations, their staff and some two thousand patients.

Every step is done once (`steps.py`), so a demo that was cut off is finished by the next start, and
one that is there is left as people have made it since.
"""

from dataclasses import dataclass
from datetime import date
from functools import partial
from random import Random

from polyclinic.core.ids import OrganizationId
from polyclinic.db.sql_files import statement
from polyclinic.demo.loading import load_people
from polyclinic.demo.names import Gender, languages
from polyclinic.demo.people import RECORD_NUMBERS, Person, people
from polyclinic.demo.steps import Services, Steps, done_steps
from polyclinic.identity.key_store import KeyStore
from polyclinic.organizations import branch, organization, practitioner
from polyclinic.organizations.branch import CreateBranch
from polyclinic.organizations.organization import (
    CreateOrganization,
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
class DemoOrganization:
    """One organization of the demo, and how many patients it has now."""

    id: OrganizationId
    name: str
    patients: int


@dataclass(frozen=True, slots=True)
class DemoSummary:
    """`is_new`: some of it was added now."""

    organizations: list[DemoOrganization]
    is_new: bool


async def load_demo(services: Services) -> DemoSummary:
    """The demo, whole, whatever of it was there. Repeating it changes nothing."""
    added = [await _load(services, clinic) for clinic in (AURORA, HARBOUR)]
    organizations = [
        DemoOrganization(
            clinic.organization_id, clinic.create.name, await _count(services.door, clinic.context)
        )
        for clinic in (AURORA, HARBOUR)
    ]
    return DemoSummary(organizations, is_new=any(added))


async def _load(services: Services, clinic: Clinic) -> bool:
    """Whether any step was done now. The second clinic needs the first one's patients."""
    await organization.create(
        services.door,
        clinic.create,
        clinic.organization_id,
        user_id=NO_ONE,
        request_id=REQUEST_ID,
    )
    steps = Steps(services, clinic.context, await done_steps(services.door, clinic.context))
    visitors = _add_family if clinic is AURORA else _add_patients_of_both
    done_now = [
        await steps.once("staff", partial(_add_staff, clinic)),
        await _add_people(steps, clinic),
        await steps.once("visitors", partial(visitors, services.keys)),
    ]
    return any(done_now)


async def _count(door: Door, context: OrganizationContext) -> int:
    async with door.transaction(context, Intent.READ) as transaction:
        counted: int = await transaction.fetchval(
            statement("polyclinic.demo", "count_patients"), context.organization_id
        )
    return counted


async def _add_people(steps: Steps, clinic: Clinic) -> bool:
    """The step after the batches tells a later version, which may invent other people, that these
    are enough."""
    if "people" in steps.done:
        return False
    await load_people(
        steps.services.door,
        steps.services.keys,
        steps.context,
        clinic.people(),
        consent_share=CONSENT_SHARE,
        on_progress=lambda _: None,
    )
    return await steps.once("people", _nothing_more)


async def _nothing_more(_: OrganizationTransaction) -> None:
    """The batches are written, each in its own transaction."""


async def _add_staff(clinic: Clinic, transaction: OrganizationTransaction) -> None:
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


async def _add_family(keys: KeyStore, transaction: OrganizationTransaction) -> None:
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
                phone="+34 655 010 203",
                email="lucia.navarro@example.com" if name == mother else None,
                emergency_contact_name=None if name == mother else mother,
                identifiers=[Identifier(RECORD_NUMBERS, f"MRN-F{place + 1:05d}")],
                consent=GiveConsent("written"),
            ),
        )


async def _add_patients_of_both(keys: KeyStore, transaction: OrganizationTransaction) -> None:
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
