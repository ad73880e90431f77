"""`/v1/audit`: who saw or changed what, for admins."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.params import FromQuery, QueryParameter

from polyclinic.api.operations import operation
from polyclinic.api.requests import AnyRequest, Cursor, Limit, enter, polyclinic
from polyclinic.audit.log import AuditEntry, AuditFilter, read_log
from polyclinic.core.errors import Invalid
from polyclinic.core.pages import DEFAULT_LIMIT, Page
from polyclinic.tenancy.context import Role
from polyclinic.tenancy.door import Intent

Instant = Annotated[datetime | None, QueryParameter(description="RFC 3339, with an offset.")]


@get(
    "/v1/audit",
    **operation(
        "readAudit",
        "Read the audit log",
        "Audit",
        roles=(Role.ADMIN, Role.SUPERADMIN),
        intent=Intent.WRITE,
    ),
)
async def read_audit(
    request: AnyRequest,
    entity_id: FromQuery[UUID | None] = None,
    user_id: FromQuery[UUID | None] = None,
    action: Annotated[str | None, QueryParameter(max_length=100)] = None,
    since: Instant = None,
    until: Instant = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[AuditEntry]:
    """The audit log, newest first. `entity_id` also finds the pages that showed the entity."""
    context = await enter(request)
    wanted = AuditFilter(
        entity_id=entity_id,
        user_id=user_id,
        action=action,
        since=with_offset(since, "since"),
        until=with_offset(until, "until"),
    )
    return await read_log(polyclinic(request).door, context, wanted, limit=limit, cursor=cursor)


def with_offset(instant: datetime | None, field: str) -> datetime | None:
    """Raises `Invalid` for a time that says not where."""
    if instant is not None and instant.tzinfo is None:
        raise Invalid("needs an offset, such as Z or +02:00", field=field)
    return instant


handlers = [read_audit]
