"""Organizations: two databases hold one, so creating it is a sequence that may be cut anywhere.

1. Control database, one transaction: placement in state `creating`, summary, audit record.
2. Shard, one transaction: the organization and its fence.
3. Control database: `active`; only now does the directory route to it.

Each step is safe to repeat. `finish_creating` takes up what a crash left behind.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from polyclinic.core.ids import OrganizationId, UserId, new_id
from polyclinic.core.pages import Page, read_cursor, write_cursor
from polyclinic.db.node import Node
from polyclinic.db.sql_files import statement
from polyclinic.organizations.errors import NoShard
from polyclinic.organizations.values import (
    Country,
    Timezone,
    Title,
    require_country,
    require_timezone,
)
from polyclinic.shards.directory import OrganizationUnknown
from polyclinic.tenancy.context import OrganizationContext, Role
from polyclinic.tenancy.door import Door, Intent
from polyclinic.tenancy.idempotency import KeyReused

_PACKAGE = "polyclinic.organizations"


class CreateOrganization(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A clinic, chain or hospital. Its country reads phones written without a country code."""

    name: Title
    country: Country
    timezone: Timezone


class Organization(msgspec.Struct, frozen=True):
    id: UUID
    name: str
    country: str
    timezone: str
    created_at: datetime

    def founded_as(self) -> CreateOrganization:
        return CreateOrganization(self.name, self.country, self.timezone)


class OrganizationPosition(msgspec.Struct, frozen=True, tag="organizations"):
    """A cursor of the list."""

    after: UUID


def organization_id_for(user_id: UserId, idempotency_key: str | None) -> OrganizationId:
    """A new id; the same for the same user and key, so that a repeated request finds its own."""
    if idempotency_key is None:
        return OrganizationId(new_id())
    digest = hashlib.blake2b(user_id.bytes + idempotency_key.encode(), digest_size=16).digest()
    return OrganizationId(UUID(bytes=digest, version=4))


async def create(
    door: Door,
    command: CreateOrganization,
    organization_id: OrganizationId,
    *,
    user_id: UserId,
    request_id: str,
) -> Organization:
    """`create_once` for who need not know whether it was there."""
    made, _ = await create_once(
        door, command, organization_id, user_id=user_id, request_id=request_id
    )
    return made


async def create_once(
    door: Door,
    command: CreateOrganization,
    organization_id: OrganizationId,
    *,
    user_id: UserId,
    request_id: str,
) -> tuple[Organization, bool]:
    """Create it, or finish and return what an earlier call with this id began; whether it is new.

    Raises `Invalid`, `NoShard`, and `KeyReused` where the id belongs to another organization.
    """
    require_country(command.country)
    require_timezone(command.timezone)
    context = OrganizationContext(organization_id, user_id, Role.SUPERADMIN, request_id)
    async with door.control_transaction(context, Intent.WRITE) as transaction:
        shard = await transaction.fetchrow(statement(_PACKAGE, "pick_shard"))
        if shard is None:
            raise NoShard("no shard takes organizations; add one to the directory")
        is_new = await transaction.fetchval(
            statement(_PACKAGE, "insert_placement"),
            organization_id,
            shard["id"],
            shard["region_id"],
        )
        if is_new:
            await transaction.execute(
                statement(_PACKAGE, "insert_summary"),
                organization_id, command.name, command.country, command.timezone,
            )  # fmt: skip
            await transaction.audit("organization.create", "organization", organization_id)
    organization = await _finish(door, context)
    if organization.founded_as() != command:
        raise KeyReused("this Idempotency-Key was used for another organization")
    return organization, bool(is_new)


async def read(door: Door, context: OrganizationContext) -> Organization:
    """The context's organization. Raises `OrganizationUnknown`."""
    async with door.control_transaction(context, Intent.READ) as transaction:
        row = await transaction.fetchrow(
            statement(_PACKAGE, "read_organization"), context.organization_id
        )
    if row is None:
        raise OrganizationUnknown(f"no organization {context.organization_id}")
    return Organization(**row)


async def page(
    control: Node, only: Sequence[UUID] | None, *, limit: int, cursor: str | None
) -> Page[Organization]:
    """Organizations by id; `only` None shows all, which is for superadmins."""
    after = read_cursor(cursor, OrganizationPosition).after if cursor else UUID(int=0)
    async with control.connection() as connection:
        rows = await connection.fetch(
            statement(_PACKAGE, "list_organizations"), after, only, limit + 1
        )
    items = [Organization(**row) for row in rows[:limit]]
    has_more = len(rows) > limit
    return Page(items, write_cursor(OrganizationPosition(items[-1].id)) if has_more else None)


async def finish_creating(door: Door, control: Node) -> int:
    """Finish organizations whose creation was cut off over a minute ago; how many there were."""
    async with control.connection() as connection:
        rows = await connection.fetch(statement(_PACKAGE, "unfinished"))
    for row in rows:
        organization_id = OrganizationId(row["organization_id"])
        await _finish(
            door,
            OrganizationContext(
                organization_id, UserId(UUID(int=0)), Role.SUPERADMIN, "finish-creating"
            ),
        )
    return len(rows)


async def _finish(door: Door, context: OrganizationContext) -> Organization:
    organization = await read(door, context)
    async with door.founding_transaction(context) as transaction:
        await transaction.execute(
            statement(_PACKAGE, "insert_home"),
            organization.id, organization.name, organization.country, organization.timezone,
        )  # fmt: skip
        await transaction.execute(statement(_PACKAGE, "insert_fence"), organization.id, 1)
    async with door.control_transaction(context, Intent.WRITE) as transaction:
        await transaction.execute(statement(_PACKAGE, "activate"), organization.id)
    return organization
