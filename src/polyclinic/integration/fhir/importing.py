"""Import of FHIR R4 files into one organization: repeatable, resumable, never all or nothing.

Each batch is one organization transaction. A bundle is one batch unless it is large; NDJSON is cut
into batches. Killed anywhere, the import is run again: what has committed is already there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from polyclinic.core.errors import Busy
from polyclinic.db.errors import ConcurrentChange, StatementTimedOut
from polyclinic.db.sql_files import statement
from polyclinic.identity.discovery import KeyRingStale
from polyclinic.identity.key_store import KeyStore
from polyclinic.integration.fhir.known import PACKAGE
from polyclinic.integration.fhir.mapping import Site
from polyclinic.integration.fhir.preparing import Keep, Prepared, Refused, prepare
from polyclinic.integration.fhir.reading import files_of, read_file
from polyclinic.integration.fhir.report import ImportReport, Outcome, Tally
from polyclinic.integration.fhir.writing import BatchSpoiled, BatchWriter, Written
from polyclinic.shards.directory import OrganizationUnknown
from polyclinic.tenancy.context import OrganizationContext
from polyclinic.tenancy.door import Door, HomeMoved, Intent

# A batch stays well below the statement timeout that others wait for its locks in.
_BATCH_RECORDS: Final = 200
_BATCH_RESOURCES: Final = 2_000
_BATCH_BYTES: Final = 8 * 1024 * 1024
_RETRIES: Final = 6
_FIRST_PAUSE_S: Final = 0.1
_PASSING: Final = (Busy, HomeMoved, ConcurrentChange, StatementTimedOut)


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """`is_consented`: record a consent of method 'import' for the patients who are brought in."""

    is_consented: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """After each batch; bytes are of all files together, and what they cover has committed."""

    file: Path
    files_done: int
    files: int
    bytes_done: int
    bytes_total: int
    resources: int


async def import_fhir(
    door: Door,
    keys: KeyStore,
    context: OrganizationContext,
    paths: Sequence[Path],
    *,
    options: ImportOptions = ImportOptions(),
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> ImportReport:
    """Bring in the resources of files and folders. Repeating it is harmless, two at once too.

    Bad input is in the report and never raised. Raises `PathUnknown`, `OrganizationUnknown`, and a
    fault that outlasts some attempts, with everything before it committed.
    """
    files = files_of(paths)
    run = _Import(door, keys, context, await _site(door, context), options, Tally())
    sizes = [file.stat().st_size for file in files]
    done = 0

    def tell(file: Path, files_done: int, bytes_done: int) -> None:
        resources = run.tally.resources
        on_progress(Progress(file, files_done, len(files), bytes_done, sum(sizes), resources))

    for number, (file, size) in enumerate(zip(files, sizes, strict=True)):
        async for bytes_read in run.file(file):
            tell(file, number, done + bytes_read)
        done += size
        tell(file, number + 1, done)
    return run.tally.report(files=len(files))


async def _site(door: Door, context: OrganizationContext) -> Site:
    async with door.transaction(context, Intent.READ) as transaction:
        row = await transaction.fetchrow(statement(PACKAGE, "site"), context.organization_id)
    if row is None:
        raise OrganizationUnknown(f"no organization {context.organization_id}")
    return Site(row["country"], row["timezone"])


@dataclass(slots=True)
class _Batch:
    resources: list[Prepared] = field(default_factory=list)
    records: int = 0
    size_bytes: int = 0

    @property
    def is_full(self) -> bool:
        return (
            self.records >= _BATCH_RECORDS
            or len(self.resources) >= _BATCH_RESOURCES
            or self.size_bytes >= _BATCH_BYTES
        )

    def add(self, prepared: Prepared) -> None:
        self.resources.append(prepared)
        self.records += not isinstance(prepared.action, Keep)
        self.size_bytes += prepared.size_bytes


@dataclass(frozen=True, slots=True)
class _Import:
    door: Door
    keys: KeyStore
    context: OrganizationContext
    site: Site
    options: ImportOptions
    tally: Tally

    async def file(self, path: Path) -> AsyncIterator[int]:
        """Import one file; yields how many of its bytes are done, after each batch."""
        for batch, bytes_read in self._batches(path):
            for written in await self._written(batch):
                self._count(written)
            yield bytes_read

    def _batches(self, path: Path) -> Iterator[tuple[list[Prepared], int]]:
        batch = _Batch()
        bytes_read = 0
        for found in read_file(path):
            prepared = prepare(found, self.site)
            if isinstance(prepared, Refused):
                self._refuse(prepared)
                continue
            bytes_read = getattr(found, "bytes_read", bytes_read)
            batch.add(prepared)
            if batch.is_full:
                yield batch.resources, bytes_read
                batch = _Batch()
        if batch.resources:
            yield batch.resources, bytes_read

    async def _written(self, batch: list[Prepared]) -> list[Written]:
        try:
            return await self._persistently(batch, is_careful=False)
        except BatchSpoiled:
            return await self._persistently(batch, is_careful=True)

    async def _persistently(self, batch: list[Prepared], *, is_careful: bool) -> list[Written]:
        """Commit the batch, past troubles that pass by themselves."""
        for attempt in range(_RETRIES):
            try:
                return await self._write(batch, is_careful=is_careful)
            except KeyRingStale as stale:
                self.keys.follow(stale.active_id)
            except _PASSING:
                await asyncio.sleep(_FIRST_PAUSE_S * 2**attempt)
        return await self._write(batch, is_careful=is_careful)

    async def _write(self, batch: list[Prepared], *, is_careful: bool) -> list[Written]:
        async with self.door.transaction(self.context, Intent.WRITE) as transaction:
            writer = BatchWriter(
                transaction,
                self.keys.ring,
                self.site,
                is_consented=self.options.is_consented,
                is_careful=is_careful,
            )
            return await writer.write(batch)

    def _count(self, written: Written) -> None:
        prepared = written.prepared
        self.tally.count(prepared.resource_type, written.outcome)
        if written.outcome is Outcome.REJECTED and written.reason:
            self._note(prepared, written.outcome, written.reason)
        elif written.reason:
            self.tally.explain(written.outcome, prepared.resource_type, written.reason)
        if written.remarks:
            self.tally.count(prepared.resource_type, Outcome.FLAGGED)
        for remark in written.remarks:
            self._note(prepared, Outcome.FLAGGED, remark)

    def _refuse(self, refused: Refused) -> None:
        self.tally.count(refused.resource_type, refused.outcome)
        self._note(refused, refused.outcome, refused.reason)

    def _note(self, about: Prepared | Refused, outcome: Outcome, reason: str) -> None:
        self.tally.note(
            outcome,
            about.place,
            reason,
            resource_type=about.resource_type,
            reference=about.reference,
        )
