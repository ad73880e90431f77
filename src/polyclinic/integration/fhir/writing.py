"""One batch of prepared resources into the organization's database, in the caller's transaction.

Invariants:
- A record and its row in imported_records or kept_resources commit together, so a cut-off import
  goes on where it stopped.
- Imports of one organization take turns, batch by batch: the look for known records sees all that
  the other has written.
- The contacts' locks of a whole batch are taken at once, in the order in which a registration
  takes its own: taken one patient after another they would deadlock with registrations.

A batch is written plainly first. When the database refuses something, `BatchSpoiled` is raised and
the batch is written again, each resource under a savepoint: the usual batch pays for none.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from polyclinic.core.errors import Refusal
from polyclinic.core.keys import KeyRing
from polyclinic.core.names import is_like
from polyclinic.db.sql_files import statement
from polyclinic.identity.contacts import Contacts
from polyclinic.identity.discovery import require_current_ring
from polyclinic.integration.fhir.known import PACKAGE, KnownPlaces, KnownPractitioners
from polyclinic.integration.fhir.mapping import Site
from polyclinic.integration.fhir.preparing import Keep, Prepared
from polyclinic.integration.fhir.report import Outcome
from polyclinic.organizations import branch, practitioner
from polyclinic.organizations.branch import CreateBranch
from polyclinic.organizations.practitioner import CreatePractitioner
from polyclinic.patients.consent import share_profile
from polyclinic.patients.errors import PossibleMatch
from polyclinic.patients.registration import Outcome as Registration
from polyclinic.patients.registration import RegisterPatient, register
from polyclinic.tenancy.door import OrganizationTransaction

OTHER_NAME: Final = "name: another than this record brought in before; nothing was changed"
POSSIBLE_MATCH: Final = "may be a person who is known already; registered as a new one"
HERE_ALREADY: Final = "another record of somebody or something that is here; linked to it"
# What one resource can cause by what it holds; all else is the batch's or the server's trouble.
_REFUSALS: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    Refusal,
)


class BatchSpoiled(Exception):
    """A resource was refused; nothing of the batch can stay without savepoints."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a resource, once the transaction has committed."""

    prepared: Prepared
    outcome: Outcome
    remarks: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(slots=True)
class BatchWriter:
    """`is_careful`: each resource under a savepoint, and a refused one is counted, not raised."""

    transaction: OrganizationTransaction
    ring: KeyRing
    site: Site
    is_consented: bool
    is_careful: bool
    _places: KnownPlaces = field(default_factory=KnownPlaces)
    _practitioners: KnownPractitioners = field(default_factory=KnownPractitioners)
    _written: list[Written] = field(default_factory=list)
    _kept: list[Prepared] = field(default_factory=list)
    _records: list[tuple[str, str, UUID]] = field(default_factory=list)

    async def write(self, batch: Sequence[Prepared]) -> list[Written]:
        """Write the batch. Raises `BatchSpoiled` unless it is careful, `KeyRingStale`."""
        await self._query("hold_import")
        fresh = await self._fresh(batch)
        await self._prepare_for(fresh)
        for prepared in fresh:
            await self._bring_in(prepared)
        if self._kept:
            await self._keep(self._kept)
        await self._record()
        return self._written

    async def _fresh(self, batch: Sequence[Prepared]) -> list[Prepared]:
        """The resources that are not here yet, each once."""
        references = list({prepared.reference for prepared in batch})
        rows = await self._query("known_records", references)
        known: dict[str, str | None] = {row["reference"]: row["patient_name"] for row in rows}
        fresh = []
        for prepared in batch:
            if prepared.reference in known:
                remarks = _renamed(prepared.action, known[prepared.reference])
                self._done(prepared, Outcome.ALREADY_THERE, remarks)
            else:
                known[prepared.reference] = getattr(prepared.action, "name", None)
                fresh.append(prepared)
        return fresh

    async def _prepare_for(self, fresh: list[Prepared]) -> None:
        actions = [prepared.action for prepared in fresh]
        await self._hold_contacts([a for a in actions if isinstance(a, RegisterPatient)])
        places = [a.name for a in actions if isinstance(a, CreateBranch)]
        people = [a.name for a in actions if isinstance(a, CreatePractitioner)]
        self._places = await KnownPlaces.load(self.transaction, places)
        self._practitioners = await KnownPractitioners.load(self.transaction, people)

    async def _hold_contacts(self, patients: list[RegisterPatient]) -> None:
        if not patients:
            return
        await require_current_ring(self.transaction, self.ring)
        prints: set[bytes] = set()
        for patient in patients:
            contacts = Contacts.parse(
                phone=patient.phone, email=patient.email, country=self.site.country
            )
            prints.update(contacts.phone_prints(self.ring)[:1])
            prints.update(contacts.email_prints(self.ring)[:1])
        await self.transaction.execute(
            statement("polyclinic.identity", "lock_contacts"), sorted(prints)
        )

    async def _bring_in(self, prepared: Prepared) -> None:
        async with self._guarded(prepared):
            match prepared.action:
                case Keep():
                    await self._set_aside(prepared)
                case RegisterPatient() as command:
                    await self._patient(prepared, command)
                case CreatePractitioner() as command:
                    await self._practitioner(prepared, command)
                case CreateBranch() as command:
                    await self._branch(prepared, command)

    @asynccontextmanager
    async def _guarded(self, prepared: Prepared) -> AsyncIterator[None]:
        if not self.is_careful:
            try:
                yield
            except _REFUSALS as error:
                raise BatchSpoiled from error
            return
        await self.transaction.execute("SAVEPOINT resource")
        try:
            yield
        except _REFUSALS as error:
            await self.transaction.execute("ROLLBACK TO SAVEPOINT resource")
            self._written.append(Written(prepared, Outcome.REJECTED, reason=_reason(error)))
        await self.transaction.execute("RELEASE SAVEPOINT resource")

    async def _patient(self, prepared: Prepared, command: RegisterPatient) -> None:
        remarks: tuple[str, ...] = ()
        try:
            registered = await register(self.transaction, self.ring, command)
        except PossibleMatch:
            remarks = (POSSIBLE_MATCH,)
            as_new = msgspec.structs.replace(command, decision="new")
            registered = await register(self.transaction, self.ring, as_new)
        is_new = registered.outcome is not Registration.EXISTING
        if is_new and self.is_consented:
            await share_profile(self.transaction, registered.patient_id, method="import", note=None)
        self._recorded(prepared, "patient", registered.patient_id, is_new=is_new, remarks=remarks)

    async def _practitioner(self, prepared: Prepared, command: CreatePractitioner) -> None:
        known = self._practitioners.find(command)
        if known is None:
            made = await practitioner.create(self.transaction, command)
            self._practitioners.add(made.id, command)
            self._recorded(prepared, "practitioner", made.id, is_new=True)
        else:
            self._recorded(prepared, "practitioner", known, is_new=False)

    async def _branch(self, prepared: Prepared, command: CreateBranch) -> None:
        known = self._places.find(command, prepared.resource_type)
        if known is None:
            made = await branch.create(self.transaction, command)
            self._places.add(made.id, command, prepared.resource_type)
            self._recorded(prepared, "branch", made.id, is_new=True)
        else:
            self._recorded(prepared, "branch", known, is_new=False)

    async def _set_aside(self, prepared: Prepared) -> None:
        """One by one where a refusal must be told apart, else all at the end."""
        if self.is_careful:
            await self._keep([prepared])
            self._done(prepared, Outcome.KEPT)
        else:
            self._kept.append(prepared)

    async def _keep(self, kept: list[Prepared]) -> None:
        bodies = [prepared.action.body for prepared in kept if isinstance(prepared.action, Keep)]
        try:
            await self._query(
                "insert_kept",
                [prepared.reference for prepared in kept],
                [prepared.resource_type for prepared in kept],
                bodies,
            )
        except _REFUSALS as error:
            if self.is_careful:
                raise
            raise BatchSpoiled from error
        if not self.is_careful:
            for prepared in kept:
                self._done(prepared, Outcome.KEPT)

    async def _record(self) -> None:
        kept = sum(written.outcome is Outcome.KEPT for written in self._written)
        if self._records:
            references, kinds, ids = zip(*self._records, strict=True)
            await self._query("insert_records", references, kinds, ids)
        if self._records or kept:
            details = {"records": len(self._records), "kept": kept}
            await self.transaction.audit("import.fhir", "import", details=details)

    def _recorded(
        self,
        prepared: Prepared,
        entity_type: str,
        entity_id: UUID,
        *,
        is_new: bool,
        remarks: tuple[str, ...] = (),
    ) -> None:
        self._records.append((prepared.reference, entity_type, entity_id))
        if is_new:
            self._done(prepared, Outcome.IMPORTED, prepared.remarks + remarks)
        else:
            self._written.append(Written(prepared, Outcome.ALREADY_THERE, reason=HERE_ALREADY))

    def _done(self, prepared: Prepared, outcome: Outcome, remarks: tuple[str, ...] = ()) -> None:
        self._written.append(Written(prepared, outcome, remarks))

    async def _query(self, name: str, *args: object) -> list[asyncpg.Record]:
        organization_id = self.transaction.context.organization_id
        return await self.transaction.fetch(statement(PACKAGE, name), organization_id, *args)


def _renamed(action: object, name: str | None) -> tuple[str, ...]:
    """Another person under a known id: two systems with the same ids, or a person's new name."""
    if isinstance(action, RegisterPatient) and name and not is_like(action.name, name):
        return (OTHER_NAME,)
    return ()


def _reason(error: Exception) -> str:
    """Without the driver's words, which hold values."""
    if isinstance(error, asyncpg.PostgresError):
        return f"the database refuses it ({error.sqlstate})"
    return f"{getattr(error, 'code', 'refused')}: {error}"
