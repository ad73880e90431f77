"""The two sets of data, both made by the seed, in one shard.

`clinics`: the patients split evenly over the organizations, for reads. `hospital`: as many again in
one organization, for pages far down and for search. Each is seeded when first needed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from importlib.resources import files
from typing import Any, Literal
from uuid import UUID

import psycopg

from polyclinic.app import Polyclinic
from polyclinic.bench.instance import Instance
from polyclinic.core.ids import OrganizationId
from polyclinic.databases import Databases
from polyclinic.db.sql_files import statement
from polyclinic.demo.seeding import seed
from polyclinic.organizations import member
from polyclinic.organizations.errors import MemberExists
from polyclinic.organizations.member import AddMember
from polyclinic.tenancy.context import NO_ONE, OrganizationContext, Role
from polyclinic.tenancy.door import Intent
from polyclinic.tenancy.signin import DevIssuer

SetName = Literal["clinics", "hospital"]
DOCTOR = "bench-doctor"
_SEEDS: dict[SetName, int] = {"clinics": 1, "hospital": 2}
_TOKEN_LIFETIME_S = 24 * 3600

OnProgress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Size:
    """What `--patients` and `--organizations` say."""

    patients: int
    organizations: int

    def parameters(self) -> str:
        """Equal for directories that hold the same data in the same schema."""
        return f"{self.patients} patients, {self.organizations} organizations, schema {_schema()}"


def _schema() -> str:
    """A digest of the SQL that makes the shard: data of another schema is made anew, not moved."""
    digest = blake2b(digest_size=4)
    for folder in ("common", "shard"):
        directory = files("polyclinic.migrations").joinpath(folder)
        for file in sorted(directory.iterdir(), key=lambda entry: entry.name):
            if file.name.endswith(".sql"):
                digest.update(file.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Clinic:
    """An organization of a set, with a doctor's access token for it."""

    id: UUID
    token: str


def prepare_set(
    instance: Instance, name: SetName, size: Size, on_progress: OnProgress
) -> list[Clinic]:
    """The set's organizations, seeded unless they are there."""
    found = instance.marker().sets.get(name)
    if found is None:
        ids = asyncio.run(_seed(instance, name, size, on_progress))
        instance.keep_set(name, [str(organization_id) for organization_id in ids])
    else:
        ids = [OrganizationId(UUID(text)) for text in found]
    issuer = DevIssuer.open(instance.settings.data_dir, None)
    return [
        Clinic(id_, issuer.token(subject=DOCTOR, organization=id_, lifetime_s=_TOKEN_LIFETIME_S))
        for id_ in ids
    ]


async def _seed(
    instance: Instance, name: SetName, size: Size, on_progress: OnProgress
) -> list[OrganizationId]:
    async with Polyclinic(instance.settings).open() as parts:
        summary = await seed(
            parts,
            patients=size.patients,
            organizations=size.organizations if name == "clinics" else 1,
            seed=_SEEDS[name],
            on_progress=on_progress,
        )
        for organization_id in summary.organizations:
            await _add_doctor(parts, organization_id)
        return summary.organizations


async def _add_doctor(parts: Polyclinic, organization_id: OrganizationId) -> None:
    context = OrganizationContext(organization_id, NO_ONE, Role.SUPERADMIN, "bench")
    try:
        async with parts.door.control_transaction(context, Intent.WRITE) as transaction:
            await member.add(transaction, AddMember(DOCTOR, "doctor"), issuer=DevIssuer.issuer)
    except MemberExists:
        pass


class Shard:
    """The shard as its administrator, for choosing what to ask for and for maintenance."""

    def __init__(self, instance: Instance) -> None:
        self._dsn = Databases(instance.settings).admin("shard")

    def tidy(self) -> None:
        """Statistics as autovacuum would have made them, and no checkpoint during the rounds."""
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")

    def patients_of(self, organization_id: UUID, count: int) -> list[UUID]:
        """`count` patients, spread evenly over the time of their registration."""
        return self._column("patients_evenly", organization_id=organization_id, count=count)

    def names_of(self, organization_id: UUID, count: int) -> list[str]:
        """`count` names, as frequent among them as in the organization."""
        return self._column("names_evenly", organization_id=organization_id, count=count)

    def patients_at_depth(self, organization_id: UUID, depth: int, count: int) -> list[UUID]:
        """`count` patients in a row, the first of them `depth` places down the list."""
        return self._column(
            "patients_at_depth", organization_id=organization_id, depth=depth, count=count
        )

    def _column(self, query: str, **arguments: object) -> list[Any]:
        text = statement("polyclinic.bench", query)
        with psycopg.connect(self._dsn) as connection:
            return [value for (value,) in connection.execute(text.encode(), arguments)]
