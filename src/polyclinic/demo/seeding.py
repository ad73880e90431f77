"""Load for measurements: organizations of invented people, by the hundred thousand."""

from collections.abc import Callable
from dataclasses import dataclass

from polyclinic.core.ids import OrganizationId
from polyclinic.demo.loading import load_people
from polyclinic.demo.people import people
from polyclinic.demo.steps import Services
from polyclinic.organizations import organization
from polyclinic.organizations.organization import CreateOrganization, organization_id_for
from polyclinic.tenancy.context import NO_ONE, OrganizationContext, Role

REQUEST_ID = "seed"
CONSENT_SHARE = 0.8

_PLACES = (
    ("ES", "Europe/Madrid"), ("US", "America/New_York"), ("DE", "Europe/Berlin"),
    ("IN", "Asia/Kolkata"), ("BR", "America/Sao_Paulo"), ("PL", "Europe/Warsaw"),
    ("GR", "Europe/Athens"), ("TR", "Europe/Istanbul"), ("VN", "Asia/Ho_Chi_Minh"),
    ("EG", "Africa/Cairo"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SeedSummary:
    """`patients` are in `organizations` now; `added` of them were not before."""

    organizations: list[OrganizationId]
    patients: int
    added: int


async def seed(
    services: Services,
    *,
    patients: int,
    organizations: int,
    seed: int,
    on_progress: Callable[[int], None],
) -> SeedSummary:
    """Organizations 'Seeded Clinic 1' and on, with `patients` in all, split evenly.

    The same arguments name the same organizations and people: repeating it goes on where a call
    was cut off, and adds nothing after one that ended. Another `seed` gives others.
    """
    created, added = [], 0
    for place, count in enumerate(_shares(patients, organizations)):
        country, timezone = _PLACES[place % len(_PLACES)]
        key = f"seed/{seed}/{patients}/{organizations}/{place}"
        organization_id = organization_id_for(NO_ONE, key)
        await organization.create(
            services.door,
            CreateOrganization(f"Seeded Clinic {place + 1}", country, timezone),
            organization_id,
            user_id=NO_ONE,
            request_id=REQUEST_ID,
        )
        added += await load_people(
            services.door,
            services.keys,
            OrganizationContext(organization_id, NO_ONE, Role.SUPERADMIN, REQUEST_ID),
            people(seed=seed * 1000 + place, count=count, country=country),
            consent_share=CONSENT_SHARE,
            on_progress=on_progress,
        )
        created.append(organization_id)
    return SeedSummary(created, patients, added)


def _shares(total: int, parts: int) -> list[int]:
    each, rest = divmod(total, parts)
    return [each + (place < rest) for place in range(parts)]
