"""The one door to an organization's data.

Invariants:
- Every statement on an organization's data runs in a transaction whose context was set by
  `enter_organization` in that transaction, on the organization's own shard.
- A connection is taken at the first statement and given back at COMMIT; none is held over an
  outside call (`outside_call` refuses).
- A write compares the route's epoch with the shard's fence inside the same transaction. A stale
  route is dropped and told to the caller as `HomeMoved`: a second try is routed anew.

Two forms: `Door.call` for a hot use case that is one plpgsql function (one round trip, autocommit),
`Door.transaction` for everything else (BEGIN and context in one message, then prepared statements).
"""

import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from enum import StrEnum
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import asyncpg
import msgspec

from polyclinic.core.errors import Fault
from polyclinic.db.errors import OUT_OF_STEP, translated
from polyclinic.db.node import Node, NodeRole
from polyclinic.shards.directory import Directory
from polyclinic.tenancy.access import Access, AccessRecorder
from polyclinic.tenancy.context import OrganizationContext

_STALE_ROUTE = "PC002"
_BEING_MOVED = "PC003"
_open: ContextVar["OrganizationTransaction | None"] = ContextVar("open_transaction", default=None)


class Intent(StrEnum):
    """Declared by the operation, never guessed from an HTTP verb."""

    READ = "read"
    WRITE = "write"


class HomeMoved(Fault):
    """The shard is no longer this organization's writable home; the route was dropped."""

    code = "home-moved"


class HeldOver(Fault):
    """A connection would have been held over an outside call or a second transaction."""

    code = "held-over"


class NotCommitted(Fault):
    """PostgreSQL answered COMMIT with ROLLBACK, because an earlier statement had failed."""

    code = "not-committed"


class OrganizationTransaction:
    """One transaction under one organization's context. Nothing is acquired before a statement.

    Leaving the block commits; an exception rolls back. The methods are asyncpg's.
    """

    def __init__(
        self, node: Node, context: OrganizationContext, *, intent: Intent, epoch: int | None
    ) -> None:
        self.context = context
        self._node = node
        self._intent = intent
        self._epoch = epoch
        self._connection: asyncpg.Connection | None = None
        self._is_beginning = False

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        return await (await self._begun()).fetch(query, *args)  # type: ignore[no-any-return]

    async def fetchrow(self, query: str, *args: Any) -> asyncpg.Record | None:
        return await (await self._begun()).fetchrow(query, *args)

    async def fetchval(self, query: str, *args: Any) -> Any:
        return await (await self._begun()).fetchval(query, *args)

    async def execute(self, query: str, *args: Any) -> None:
        await (await self._begun()).execute(query, *args)

    async def executemany(self, query: str, rows: list[tuple[Any, ...]]) -> None:
        await (await self._begun()).executemany(query, rows)

    async def audit(
        self,
        action: str,
        entity_type: str,
        entity_id: UUID | None = None,
        *,
        entity_ids: list[UUID] | None = None,
        outcome: str = "done",
        details: dict[str, Any] | None = None,
    ) -> None:
        """Add the audit record that commits with this change. `details` holds no person's data."""
        text = None if details is None else msgspec.json.encode(details).decode()
        await self.execute(
            "SELECT record_audit($1, $2, $3, $4, $5, $6)",
            action, entity_type, entity_id, entity_ids, outcome, text,
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        if _open.get() is not None:
            raise HeldOver("a transaction is open in this task; use it instead of a second one")
        _open.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        _open.set(None)
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        clean = False
        try:
            # After a cancelled or broken statement the connection is out of step: no ROLLBACK,
            # cutting it off rolls back.
            if error is None:
                outcome = await connection.execute("COMMIT")
                clean = True
                if outcome != "COMMIT":
                    raise NotCommitted("a statement failed and the block went on: nothing is kept")
            elif isinstance(error, Exception) and not isinstance(error, OUT_OF_STEP):
                await connection.execute("ROLLBACK")
                clean = True
        except BaseException as failure:
            raise translated(failure) or failure from error
        finally:
            self._node.release(connection, clean=clean)

    async def _begun(self) -> asyncpg.Connection:
        if self._connection is None:
            if self._is_beginning:
                raise HeldOver("one statement at a time: this transaction is just beginning")
            self._is_beginning = True
            try:
                self._connection = await self._begin()
            finally:
                self._is_beginning = False
        return self._connection

    async def _begin(self) -> asyncpg.Connection:
        connection = await self._node.acquire()
        try:
            await connection.execute(self._opening())
        except BaseException:
            self._node.release(connection, clean=False)
            raise
        return connection

    def _opening(self) -> str:
        """BEGIN and context as one message. Every value is a UUID, a known word or quoted."""
        context = self.context
        request = context.request_id.replace("'", "''")
        opening = (
            f"BEGIN; SELECT enter_organization('{context.organization_id}', '{context.user_id}', "
            f"'{context.role.value}', '{context.branches}', '{request}')"
        )
        if self._intent is Intent.WRITE and self._epoch is not None:
            opening += f"; SELECT require_home({self._epoch})"
        return opening


class Door:
    """Opens organization transactions on the right node.

    `recorder` makes the records of reads on replicas durable; without one every read is the
    primary's.
    """

    def __init__(
        self, directory: Directory, control: Node, recorder: AccessRecorder | None = None
    ) -> None:
        self._directory = directory
        self._control = control
        self._recorder = recorder

    async def call(
        self,
        context: OrganizationContext,
        query: str,
        *args: Any,
        access: Callable[[asyncpg.Record | None], Access],
    ) -> asyncpg.Record | None:
        """The one row of a hot function that enters the organization itself, or None.

        `query` takes the context as its first five parameters. The access is recorded and durable
        when this returns: by the function itself on a primary, by the recorder beside a replica,
        which is told what `access` makes of the row.
        """
        if _open.get() is not None:
            raise HeldOver("a hot function inside a transaction would switch its context")
        route = await self._directory.route(context.organization_id)
        node = route.primary
        if self._recorder is not None and route.replicas:
            node = random.choice(route.replicas)  # noqa: S311 - spreads load, guards nothing
        row = await node.fetchrow(
            query,
            context.organization_id,
            context.user_id,
            context.role.value,
            context.branches,
            context.request_id,
            *args,
        )
        if node.role is NodeRole.REPLICA and self._recorder is not None:
            await self._recorder.record(context, access(row))
        return row

    @asynccontextmanager
    async def transaction(
        self, context: OrganizationContext, intent: Intent
    ) -> AsyncIterator[OrganizationTransaction]:
        """A transaction on the organization's shard, committed when the block is left."""
        route = await self._directory.route(context.organization_id)
        transaction = OrganizationTransaction(
            route.primary, context, intent=intent, epoch=route.epoch
        )
        async with self._translating(context), transaction:
            yield transaction

    @asynccontextmanager
    async def founding_transaction(
        self, context: OrganizationContext
    ) -> AsyncIterator[OrganizationTransaction]:
        """The transaction that puts a new organization and its fence on its shard."""
        route = await self._directory.route_while_creating(context.organization_id)
        transaction = OrganizationTransaction(
            route.primary, context, intent=Intent.WRITE, epoch=None
        )
        async with self._translating(context), transaction:
            yield transaction

    @asynccontextmanager
    async def control_transaction(
        self, context: OrganizationContext, intent: Intent
    ) -> AsyncIterator[OrganizationTransaction]:
        """The same on the control database: members, directory entries, their audit records."""
        transaction = OrganizationTransaction(self._control, context, intent=intent, epoch=None)
        async with self._translating(context), transaction:
            yield transaction

    @asynccontextmanager
    async def _translating(self, context: OrganizationContext) -> AsyncIterator[None]:
        try:
            yield
        except asyncpg.PostgresError as error:
            if error.sqlstate in (_STALE_ROUTE, _BEING_MOVED):
                self._directory.forget(context.organization_id)
                raise HomeMoved("the organization is moving; try again") from None
            raise translated(error) or error from None
        except OUT_OF_STEP as error:
            raise translated(error) or error from None


@contextmanager
def outside_call() -> Iterator[None]:
    """Wrap every call to another service in this: it refuses while a connection is held."""
    held = _open.get()
    if held is not None and held._connection is not None:
        raise HeldOver("an outside call would hold a database connection; commit first")
    yield
