"""One PostgreSQL server as this process sees it: a bounded pool behind a first-come queue.

Invariants:
- A connection is held for a transaction, never for a request.
- Waiting is first come, first served, bounded in number and time; past that it is `PoolFull`.
- A connection whose last statement was cut off (cancelled, timed out, broken) is discarded: its
  answer may still be on the way, and the next user would read it.
- No connection carries state from one user to the next: every setting is transaction-local, so
  nothing is reset between users.

The pool is our own because these are all it has to do; the driver's adds a proxy, a reset and two
tasks' worth of bookkeeping to every statement (docs/decisions/0007-own-pool.md).
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import asyncpg

from polyclinic.db.errors import DatabaseUnavailable, PoolFull, translated


class NodeRole(StrEnum):
    PRIMARY = "primary"
    REPLICA = "replica"


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """`size` connections; at most `max_waiting` requests wait, each `max_wait_s` seconds at most."""

    size: int = 16
    max_waiting: int = 1000
    max_wait_s: float = 2.0
    statement_timeout_s: float = 5.0
    connect_timeout_s: float = 3.0


class Node:
    """A server's connections, made when they are first needed.

    A server that is down fails its users only. For one event loop.
    """

    def __init__(self, name: str, dsn: str, role: NodeRole, limits: PoolLimits) -> None:
        self.name = name
        self.role = role
        self._dsn = dsn
        self._limits = limits
        self._is_open = False
        self._permits = limits.size
        self._line: deque[asyncio.Future[None]] = deque()
        self._idle: list[asyncpg.Connection] = []

    async def open(self) -> None:
        """Let users in; connects to nothing. Repeating is harmless."""
        self._is_open = True

    async def close(self) -> None:
        """Close what is idle; what is in use is closed when it comes back."""
        self._is_open = False
        idle, self._idle = self._idle, []
        for connection in idle:
            try:
                await connection.close(timeout=2)
            except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()

    async def fetchrow(self, query: str, *args: Any) -> asyncpg.Record | None:
        """One row, or None, of one statement in autocommit: durable when this returns."""
        connection = await self.acquire()
        is_clean = False
        try:
            row = await connection.fetchrow(query, *args)
            is_clean = True
            return row
        except BaseException as error:
            is_clean = isinstance(error, asyncpg.PostgresError)
            raise translated(error) or error from None
        finally:
            self.release(connection, clean=is_clean)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection for one piece of work outside any organization (directory, maintenance)."""
        connection = await self.acquire()
        is_clean = False
        try:
            yield connection
            is_clean = True
        except BaseException as error:
            raise translated(error) or error from None
        finally:
            self.release(connection, clean=is_clean)

    async def acquire(self) -> asyncpg.Connection:
        """Wait in line for a connection. Raises `PoolFull`, `DatabaseUnavailable`."""
        if self._permits > 0:
            self._permits -= 1
        else:
            await self._stand_in_line()
        try:
            while self._idle:
                connection = self._idle.pop()
                if not connection.is_closed():
                    return connection
            return await self._connect()
        except BaseException as error:
            self._pass_on()
            raise translated(error) or error from None

    def release(self, connection: asyncpg.Connection, *, clean: bool) -> None:
        """Give a connection back; one that is not `clean` is cut off instead of reused."""
        if clean and self._is_open and not connection.is_closed():
            self._idle.append(connection)
        else:
            connection.terminate()
        self._pass_on()

    def _pass_on(self) -> None:
        """Hand the permit to who waits longest, or keep it."""
        while self._line:
            waiting = self._line.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return
        self._permits += 1

    async def _stand_in_line(self) -> None:
        if len(self._line) >= self._limits.max_waiting:
            raise PoolFull("too many requests are waiting for the database")
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._line.append(turn)
        deadline = loop.call_later(self._limits.max_wait_s, self._give_up, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with contextlib.suppress(ValueError):  # passed over already
                    self._line.remove(turn)
            elif turn.exception() is None:
                self._pass_on()  # cancelled in the moment that its turn came
            raise
        finally:
            deadline.cancel()

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            self._line.remove(turn)
            turn.set_exception(PoolFull("no database connection became free in time"))

    async def _connect(self) -> asyncpg.Connection:
        if not self._is_open:
            raise DatabaseUnavailable(f"the pool of {self.name} is closed")
        timeout_s = self._limits.statement_timeout_s
        timeout_ms = str(round(timeout_s * 1000))
        return await asyncpg.connect(
            self._dsn,
            timeout=self._limits.connect_timeout_s,
            command_timeout=timeout_s + 1,
            max_cached_statement_lifetime=0,
            # A standby under a primary's name would answer reads and record none of them.
            target_session_attrs="primary" if self.role is NodeRole.PRIMARY else "any",
            server_settings={
                "application_name": "polyclinic",
                "statement_timeout": timeout_ms,
                "idle_in_transaction_session_timeout": timeout_ms,
            },
        )
