"""One PostgreSQL server as this process sees it: a bounded pool behind a first-come queue.

Invariants:
- A connection is held for a transaction, never for a request.
- Waiting is first come, first served, bounded in number and time; past that the answer is `PoolFull`.
- A connection whose last statement was cut off (cancelled, timed out, broken) is discarded: its
  answer may still be on the way, and the next user would read it.
- No connection carries state from one user to the next: every setting is transaction-local, so the
  driver's RESET round trip is left out.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import asyncpg

from polyclinic.db.errors import PoolFull, translated


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


class _Connection(asyncpg.Connection):  # type: ignore[misc]
    """Without the reset between users; see the module's last invariant."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""


class Node:
    """A server's connections. `open` does not connect: a server that is down fails its users only."""

    def __init__(self, name: str, dsn: str, role: NodeRole, limits: PoolLimits) -> None:
        self.name = name
        self.role = role
        self._dsn = dsn
        self._limits = limits
        self._free = asyncio.Semaphore(limits.size)
        self._waiting = 0
        self._pool: asyncpg.Pool | None = None

    async def open(self) -> None:
        """Make the pool; repeating is harmless."""
        if self._pool is None:
            timeout_ms = round(self._limits.statement_timeout_s * 1000)
            self._pool = await asyncpg.create_pool(
                self._dsn,
                min_size=0,
                max_size=self._limits.size,
                connection_class=_Connection,
                max_inactive_connection_lifetime=300,
                timeout=self._limits.connect_timeout_s,
                command_timeout=self._limits.statement_timeout_s + 1,
                server_settings={
                    "application_name": "polyclinic",
                    "statement_timeout": str(timeout_ms),
                    "idle_in_transaction_session_timeout": str(timeout_ms),
                },
            )

    async def close(self) -> None:
        """Let running statements end, then close every connection."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            try:
                async with asyncio.timeout(5):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    async def fetchrow(self, query: str, *args: Any) -> asyncpg.Record | None:
        """One row, or None, of one statement in autocommit: durable when this returns."""
        connection = await self.acquire()
        clean = False
        try:
            row = await connection.fetchrow(query, *args)
            clean = True
            return row
        except BaseException as error:
            clean = isinstance(error, asyncpg.PostgresError)
            raise translated(error) or error from None
        finally:
            await self.release(connection, clean=clean)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection for one piece of work outside any organization (directory, maintenance)."""
        connection = await self.acquire()
        clean = False
        try:
            yield connection
            clean = True
        except BaseException as error:
            raise translated(error) or error from None
        finally:
            await self.release(connection, clean=clean)

    async def acquire(self) -> asyncpg.Connection:
        """Wait in line for a connection. Raises `PoolFull`, `DatabaseUnavailable`."""
        await self._enter()
        try:
            assert self._pool is not None, "Node.open comes first"
            return await self._pool.acquire()
        except BaseException as error:
            self._free.release()
            raise translated(error) or error from None

    async def release(self, connection: asyncpg.Connection, *, clean: bool) -> None:
        """Give a connection back; one that is not `clean` is cut off instead of reused."""
        try:
            if not clean:
                connection.terminate()
            if self._pool is not None:
                await self._pool.release(connection)
        finally:
            self._free.release()

    async def _enter(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        if self._waiting >= self._limits.max_waiting:
            raise PoolFull("too many requests are waiting for the database")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._limits.max_wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise PoolFull("no database connection became free in time") from None
        finally:
            self._waiting -= 1
