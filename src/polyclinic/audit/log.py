"""Reading the audit log: newest first, the shard's and the control database's records as one list."""

from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from itertools import islice
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from polyclinic.core.pages import Page, read_cursor, write_cursor
from polyclinic.db.sql_files import statement
from polyclinic.tenancy.context import OrganizationContext
from polyclinic.tenancy.door import Door, Intent, OrganizationTransaction

_LAST_ID = UUID(int=(1 << 128) - 1)
_END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One access or change. `details` names fields and reasons, never a person's data."""

    id: UUID
    recorded_at: datetime
    user_id: UUID
    role: str
    action: str
    entity_type: str
    entity_id: UUID | None
    entity_ids: list[UUID] | None
    outcome: str
    request_id: str
    details: dict[str, Any] | None


class AuditPosition(msgspec.Struct, frozen=True, tag="audit"):
    """A cursor of this list."""

    recorded_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """What to show; None: everything. `since` is inclusive, `until` exclusive."""

    entity_id: UUID | None = None
    user_id: UUID | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def read_log(
    door: Door, context: OrganizationContext, wanted: AuditFilter, *, limit: int, cursor: str | None
) -> Page[AuditEntry]:
    """A page of the organization's audit log; looking at it is itself recorded.

    Each database keeps the records of its own changes, because they commit together with them.
    """
    start = read_cursor(cursor, AuditPosition) if cursor else None
    arguments = _arguments(context, wanted, start, limit + 1)
    async with door.control_transaction(context, Intent.READ) as transaction:
        members = await _entries(transaction, arguments)
    async with door.transaction(context, Intent.READ) as transaction:
        records = await _entries(transaction, arguments)
        await transaction.audit("audit.read", "audit_log")
    newest_first = merge(members, records, key=lambda e: (e.recorded_at, e.id), reverse=True)
    items = list(islice(newest_first, limit + 1))
    if len(items) <= limit:
        return Page(items, None)
    last = items[limit - 1]
    return Page(items[:limit], write_cursor(AuditPosition(last.recorded_at, last.id)))


def _arguments(
    context: OrganizationContext, wanted: AuditFilter, start: AuditPosition | None, limit: int
) -> tuple[Any, ...]:
    before = wanted.until or _END_OF_TIME
    first_id = UUID(int=0) if wanted.until else _LAST_ID
    if start is not None:
        before, first_id = start.recorded_at, start.id
    return (
        context.organization_id, before, first_id, wanted.since or _BEGINNING,
        wanted.entity_id, wanted.user_id, wanted.action, limit,
    )  # fmt: skip


async def _entries(
    transaction: OrganizationTransaction, arguments: tuple[Any, ...]
) -> list[AuditEntry]:
    rows = await transaction.fetch(statement("polyclinic.audit", "read_log"), *arguments)
    return [_entry(row) for row in rows]


def _entry(row: asyncpg.Record) -> AuditEntry:
    details = row["details"]
    fields = {**row, "details": None if details is None else msgspec.json.decode(details)}
    return AuditEntry(**fields)
