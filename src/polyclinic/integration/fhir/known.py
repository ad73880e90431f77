"""Places and practitioners that are here already under another record's id.

The same place: a FHIR Organization and a Location are two records of one branch when name and
address agree, or the name does and one of them has no address (Synthea writes every clinic twice
so). Two records of one type are two places, whatever their names.

The same practitioner: the same name and a licence in common.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from polyclinic.db.sql_files import statement
from polyclinic.organizations.branch import CreateBranch
from polyclinic.organizations.practitioner import CreatePractitioner, License
from polyclinic.tenancy.door import OrganizationTransaction

PACKAGE = "polyclinic.integration.fhir"


@dataclass(slots=True)
class _Place:
    id: UUID
    address: str | None
    described_by: set[str]


@dataclass(slots=True)
class KnownPlaces:
    """The branches that bear one of the names in question."""

    _by_name: defaultdict[str, list[_Place]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    async def load(
        cls, transaction: OrganizationTransaction, names: Iterable[str]
    ) -> "KnownPlaces":
        known = cls()
        if wanted := sorted(set(names)):
            rows = await transaction.fetch(
                statement(PACKAGE, "places_of_name"), transaction.context.organization_id, wanted
            )
            for row in rows:
                place = _Place(row["id"], row["address"], set(row["described_by"]))
                known._by_name[row["name"]].append(place)
        return known

    def find(self, command: CreateBranch, resource_type: str) -> UUID | None:
        """The branch that the resource describes too, from now on taken by it."""
        for place in self._by_name[command.name]:
            is_near = place.address == command.address or None in {place.address, command.address}
            if is_near and resource_type not in place.described_by:
                place.described_by.add(resource_type)
                return place.id
        return None

    def add(self, branch_id: UUID, command: CreateBranch, resource_type: str) -> None:
        self._by_name[command.name].append(_Place(branch_id, command.address, {resource_type}))


@dataclass(slots=True)
class KnownPractitioners:
    """The practitioners who bear one of the names in question."""

    _by_license: dict[tuple[str, License], UUID] = field(default_factory=dict)

    @classmethod
    async def load(
        cls, transaction: OrganizationTransaction, names: Iterable[str]
    ) -> "KnownPractitioners":
        known = cls()
        if wanted := sorted(set(names)):
            rows = await transaction.fetch(
                statement(PACKAGE, "practitioners_of_name"),
                transaction.context.organization_id,
                wanted,
            )
            for row in rows:
                licenses = msgspec.json.decode(row["identifiers"], type=list[License])
                known._put(row["id"], row["name"], licenses)
        return known

    def find(self, command: CreatePractitioner) -> UUID | None:
        keys = ((command.name, license_) for license_ in command.identifiers)
        return next((self._by_license[key] for key in keys if key in self._by_license), None)

    def add(self, practitioner_id: UUID, command: CreatePractitioner) -> None:
        self._put(practitioner_id, command.name, command.identifiers)

    def _put(self, practitioner_id: UUID, name: str, licenses: list[License]) -> None:
        for license_ in licenses:
            self._by_license.setdefault((name, license_), practitioner_id)
