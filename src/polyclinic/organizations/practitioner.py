"""Practitioners: who treats, and at which branches."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Meta

from polyclinic.core.ids import PractitionerId, new_id
from polyclinic.core.pages import Page, read_cursor, write_cursor
from polyclinic.db.sql_files import statement
from polyclinic.organizations.branch import require_branches
from polyclinic.organizations.errors import PractitionerNotFound
from polyclinic.organizations.values import Title
from polyclinic.tenancy.context import OrganizationContext
from polyclinic.tenancy.door import Door, Intent, OrganizationTransaction

_PACKAGE = "polyclinic.organizations"
_FIRST = UUID(int=0)


class License(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number by which a registry knows the practitioner."""

    system: Title
    value: Title


class CreatePractitioner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No branches: works at the whole organization."""

    name: Title
    specialty: Title | None = None
    identifiers: Annotated[list[License], Meta(max_length=20)] = []
    branch_ids: Annotated[list[UUID], Meta(max_length=200)] = []


class Practitioner(msgspec.Struct, frozen=True):
    id: UUID
    name: str
    specialty: str | None
    identifiers: list[License]
    branch_ids: list[UUID]
    created_at: datetime


class PractitionerPosition(msgspec.Struct, frozen=True, tag="practitioners"):
    """A cursor of the list."""

    after: UUID


async def create(transaction: OrganizationTransaction, command: CreatePractitioner) -> Practitioner:
    """Add a practitioner in the caller's transaction. Raises `BranchUnknown`."""
    organization_id = transaction.context.organization_id
    branch_ids = sorted(set(command.branch_ids))
    await require_branches(transaction, branch_ids)
    practitioner_id = PractitionerId(new_id())
    created_at = await transaction.fetchval(
        statement(_PACKAGE, "insert_practitioner"),
        organization_id, practitioner_id, command.name, command.specialty,
        msgspec.json.encode(command.identifiers).decode(),
    )  # fmt: skip
    await transaction.execute(
        statement(_PACKAGE, "insert_practitioner_branches"),
        organization_id, practitioner_id, branch_ids,
    )  # fmt: skip
    await transaction.audit("practitioner.create", "practitioner", practitioner_id)
    return Practitioner(
        practitioner_id,
        command.name,
        command.specialty,
        command.identifiers,
        branch_ids,
        created_at,
    )


async def page(
    door: Door, context: OrganizationContext, *, limit: int, cursor: str | None
) -> Page[Practitioner]:
    """The practitioners whom the caller may see, oldest first."""
    after = read_cursor(cursor, PractitionerPosition).after if cursor else _FIRST
    rows = await _rows(door, context, after=after, only=None, limit=limit + 1)
    items = [_practitioner(row) for row in rows[:limit]]
    if len(rows) <= limit:
        return Page(items, None)
    return Page(items, write_cursor(PractitionerPosition(items[-1].id)))


async def read(door: Door, context: OrganizationContext, practitioner_id: UUID) -> Practitioner:
    """Raises `PractitionerNotFound`."""
    rows = await _rows(door, context, after=_FIRST, only=practitioner_id, limit=1)
    if not rows:
        raise PractitionerNotFound(f"no practitioner {practitioner_id}")
    return _practitioner(rows[0])


async def _rows(
    door: Door, context: OrganizationContext, *, after: UUID, only: UUID | None, limit: int
) -> list[asyncpg.Record]:
    async with door.transaction(context, Intent.READ) as transaction:
        return await transaction.fetch(
            statement(_PACKAGE, "list_practitioners"), context.organization_id, after, only, limit
        )


def _practitioner(row: asyncpg.Record) -> Practitioner:
    licenses = msgspec.json.decode(row["identifiers"], type=list[License])
    return Practitioner(**{**row, "identifiers": licenses})
