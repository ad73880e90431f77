"""Audit records that cannot be written where the access happens, many in one COMMIT.

A read on a replica has no transaction to write in, and a refused attempt has none at all. Each
caller waits until its record is durable on the organization's primary, so nothing leaves before it
was recorded; callers that wait at the same time share one INSERT and one flush.

The batch mixes organizations, so it runs as a role that can add audit rows and do nothing else.
"""

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from polyclinic.core.errors import Busy
from polyclinic.db.node import Node
from polyclinic.db.sql_files import statement
from polyclinic.tenancy.access import Access
from polyclinic.tenancy.context import OrganizationContext

log = structlog.get_logger()
MAX_BATCH = 500

_Row = tuple[object, ...]
_Waiting = tuple[_Row, asyncio.Future[None]]


class NotRecorded(Busy):
    """The access could not be recorded, so its answer is withheld."""

    code = "not-recorded"


class GroupCommit:
    """Records accesses on one primary. While one batch is written, the next one gathers."""

    def __init__(self, writer: Node) -> None:
        self._writer = writer
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def record(self, context: OrganizationContext, access: Access) -> None:
        """Returns when the record is durable. Raises `NotRecorded`."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((_row(context, access), done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_all(), name="audit-group-commit")
        await done

    async def open(self) -> None:
        await self._writer.open()

    async def close(self) -> None:
        """Write what waits, then let the connections go."""
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._writer.close()

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            try:
                await self._write([row for row, _ in batch])
            except Exception as error:
                # No traceback: a driver's message may quote what was to be written.
                log.error("audit_batch_failed", records=len(batch), error=type(error).__name__)  # noqa: TRY400
                _settle(batch, lambda done: done.set_exception(NotRecorded("not recorded")))
            else:
                _settle(batch, lambda done: done.set_result(None))

    async def _write(self, rows: list[_Row]) -> None:
        async with self._writer.connection() as connection:
            await connection.executemany(statement("polyclinic.audit", "append"), rows)


def _settle(batch: list[_Waiting], settle: Callable[[asyncio.Future[None]], None]) -> None:
    for _, done in batch:
        if not done.done():  # a caller may have gone
            settle(done)


def _row(context: OrganizationContext, access: Access) -> _Row:
    role = access.role or context.role.value
    entity_ids = None if access.entity_ids is None else list(access.entity_ids)
    return (
        context.organization_id, context.user_id, role, access.action, access.entity_type,
        access.entity_id, entity_ids, access.outcome, context.request_id,
    )  # fmt: skip
