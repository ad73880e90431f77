"""Branches: the physical locations of an organization."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from polyclinic.core.errors import Forbidden
from polyclinic.core.ids import BranchId, new_id
from polyclinic.core.pages import Page, read_cursor, write_cursor
from polyclinic.db.sql_files import statement
from polyclinic.organizations.errors import BranchUnknown
from polyclinic.organizations.values import Timezone, Title, require_timezone
from polyclinic.tenancy.context import OrganizationContext
from polyclinic.tenancy.door import Door, Intent, OrganizationTransaction

_PACKAGE = "polyclinic.organizations"


class CreateBranch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A location and the time zone its hours are kept in."""

    name: Title
    timezone: Timezone
    address: Annotated[str, Meta(max_length=500)] | None = None


class Branch(msgspec.Struct, frozen=True):
    id: UUID
    name: str
    timezone: str
    address: str | None
    created_at: datetime


class BranchPosition(msgspec.Struct, frozen=True, tag="branches"):
    """A cursor of the list."""

    after: UUID


async def create(transaction: OrganizationTransaction, command: CreateBranch) -> Branch:
    """Add a branch in the caller's transaction. Raises `Invalid`, `Forbidden`."""
    require_timezone(command.timezone)
    if transaction.context.branch_ids is not None:
        raise Forbidden("a member limited to branches adds none")
    branch_id = BranchId(new_id())
    row = await transaction.fetchrow(
        statement(_PACKAGE, "insert_branch"),
        transaction.context.organization_id,
        branch_id,
        command.name,
        command.timezone,
        command.address,
    )
    await transaction.audit("branch.create", "branch", branch_id)
    assert row is not None
    return Branch(**row)


async def page(
    door: Door, context: OrganizationContext, *, limit: int, cursor: str | None
) -> Page[Branch]:
    """The branches that the caller may see, oldest first."""
    after = read_cursor(cursor, BranchPosition).after if cursor else UUID(int=0)
    async with door.transaction(context, Intent.READ) as transaction:
        rows = await transaction.fetch(
            statement(_PACKAGE, "list_branches"), context.organization_id, after, limit + 1
        )
    items = [Branch(**row) for row in rows[:limit]]
    has_more = len(rows) > limit
    return Page(items, write_cursor(BranchPosition(items[-1].id)) if has_more else None)


async def require_branches(
    transaction: OrganizationTransaction, branch_ids: list[UUID] | tuple[UUID, ...]
) -> None:
    """Raises `BranchUnknown` unless the caller may see every one of them."""
    rows = await transaction.fetch(
        statement(_PACKAGE, "known_branches"), transaction.context.organization_id, list(branch_ids)
    )
    unknown = set(branch_ids) - {row["id"] for row in rows}
    if unknown:
        raise BranchUnknown(f"no branch {min(unknown)} in this organization")
