"""Members: which user may act in the organization, in which role, at which branches.

They live in the control database, because sign-in needs them before any shard is known. A change is
announced when it commits, and every process drops what it had cached (tenancy/caller.py).
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import asyncpg
import msgspec
from msgspec import UNSET, Meta, UnsetType

from polyclinic.core.errors import Forbidden
from polyclinic.core.ids import new_id
from polyclinic.core.pages import Page, read_cursor, write_cursor
from polyclinic.db.sql_files import statement
from polyclinic.organizations.branch import require_branches
from polyclinic.organizations.errors import LastAdmin, MemberChanged, MemberExists, MemberNotFound
from polyclinic.tenancy.context import OrganizationContext
from polyclinic.tenancy.door import Door, Intent, OrganizationTransaction

_PACKAGE = "polyclinic.organizations"
_FIRST = UUID(int=0)

MemberRole = Literal["admin", "doctor", "receptionist", "cashier", "patient"]
BranchLimit = Annotated[list[UUID], Meta(min_length=1, max_length=200)]


class AddMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`subject` is the user's id at the identity provider; no `branch_ids`: every branch."""

    subject: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
    role: MemberRole
    branch_ids: BranchLimit | None = None


class ChangeMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays; `branch_ids` null lifts the limit."""

    role: MemberRole | UnsetType = UNSET
    branch_ids: BranchLimit | None | UnsetType = UNSET


class Member(msgspec.Struct, frozen=True):
    id: UUID
    user_id: UUID
    issuer: str
    subject: str
    role: MemberRole
    branch_ids: list[UUID] | None
    version: int
    created_at: datetime


class MemberPosition(msgspec.Struct, frozen=True, tag="members"):
    """A cursor of the list."""

    after: UUID


async def require_known_branches(
    door: Door, context: OrganizationContext, branch_ids: list[UUID] | None | UnsetType
) -> None:
    """Ask the shard before the control transaction opens. Raises `BranchUnknown`."""
    if branch_ids is UNSET or branch_ids is None:
        return
    async with door.transaction(context, Intent.READ) as transaction:
        await require_branches(transaction, branch_ids)


async def add(transaction: OrganizationTransaction, command: AddMember, *, issuer: str) -> Member:
    """Make a user of `issuer` a member, in a control transaction. Raises `MemberExists`, `Forbidden`."""
    organization_id = transaction.context.organization_id
    _require_within(transaction.context, command.branch_ids)
    await transaction.execute(
        statement("polyclinic.tenancy", "ensure_user"), new_id(), issuer, command.subject
    )
    user_id = await transaction.fetchval(
        "SELECT id FROM users WHERE issuer = $1 AND subject = $2", issuer, command.subject
    )
    member_id = await transaction.fetchval(
        statement(_PACKAGE, "insert_member"),
        organization_id, new_id(), user_id, command.role, command.branch_ids,
    )  # fmt: skip
    if member_id is None:
        raise MemberExists("this user is a member already; change the membership instead")
    await transaction.audit("member.add", "member", member_id, details={"role": command.role})
    return await _member(transaction, member_id)


async def page(
    door: Door, context: OrganizationContext, *, limit: int, cursor: str | None
) -> Page[Member]:
    """The organization's members, oldest first."""
    after = read_cursor(cursor, MemberPosition).after if cursor else _FIRST
    async with door.control_transaction(context, Intent.READ) as transaction:
        rows = await transaction.fetch(
            statement(_PACKAGE, "list_members"), context.organization_id, after, None, limit + 1
        )
    items = [_from_row(row) for row in rows[:limit]]
    has_more = len(rows) > limit
    return Page(items, write_cursor(MemberPosition(items[-1].id)) if has_more else None)


async def read(door: Door, context: OrganizationContext, member_id: UUID) -> Member:
    """Raises `MemberNotFound`."""
    async with door.control_transaction(context, Intent.READ) as transaction:
        return await _member(transaction, member_id)


async def change(
    transaction: OrganizationTransaction,
    member_id: UUID,
    command: ChangeMember,
    *,
    version: int | None,
) -> Member:
    """Change role or branches; `version` None changes any version.

    Raises `MemberNotFound`, `MemberChanged`, `LastAdmin`, `Forbidden`.
    """
    await _lock(transaction, member_id, keeps_admin=command.role in (UNSET, "admin"))
    before = await _member(transaction, member_id)
    if version not in (None, before.version):
        raise MemberChanged("somebody changed the membership meanwhile: read it again")
    role = before.role if command.role is UNSET else command.role
    branch_ids = before.branch_ids if command.branch_ids is UNSET else command.branch_ids
    _require_within(transaction.context, before.branch_ids)
    _require_within(transaction.context, branch_ids)
    await transaction.execute(
        statement(_PACKAGE, "change_member"),
        transaction.context.organization_id, member_id, role, branch_ids,
    )  # fmt: skip
    await transaction.audit("member.change", "member", member_id, details={"role": role})
    return await _member(transaction, member_id)


async def remove(transaction: OrganizationTransaction, member_id: UUID) -> None:
    """End a membership. Raises `MemberNotFound`, `LastAdmin`."""
    await _lock(transaction, member_id, keeps_admin=False)
    _require_within(transaction.context, (await _member(transaction, member_id)).branch_ids)
    await transaction.execute(
        statement(_PACKAGE, "delete_member"), transaction.context.organization_id, member_id
    )
    await transaction.audit("member.remove", "member", member_id)


def _require_within(context: OrganizationContext, branch_ids: list[UUID] | None) -> None:
    """Who is limited to branches appoints and changes members of those alone. Raises `Forbidden`."""
    if context.branch_ids is None:
        return
    if branch_ids is None or not set(branch_ids) <= set(context.branch_ids):
        raise Forbidden("you are limited to branches, and this member would reach beyond them")


async def _lock(
    transaction: OrganizationTransaction, member_id: UUID, *, keeps_admin: bool
) -> None:
    """Hold the member and every admin: two admins cannot remove each other at once."""
    rows = await transaction.fetch(
        statement(_PACKAGE, "lock_members"), transaction.context.organization_id, member_id
    )
    roles = {row["id"]: row["role"] for row in rows}
    if member_id not in roles:
        raise MemberNotFound(f"no member {member_id}")
    admins = [identity for identity, role in roles.items() if role == "admin"]
    if not keeps_admin and admins == [member_id]:
        raise LastAdmin("an organization keeps at least one admin; appoint another one first")


async def _member(transaction: OrganizationTransaction, member_id: UUID) -> Member:
    rows = await transaction.fetch(
        statement(_PACKAGE, "list_members"),
        transaction.context.organization_id, _FIRST, member_id, 1,
    )  # fmt: skip
    if not rows:
        raise MemberNotFound(f"no member {member_id}")
    return _from_row(rows[0])


def _from_row(row: asyncpg.Record) -> Member:
    return Member(**row)
