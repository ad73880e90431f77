"""Keeps the audit log's partitions ahead of time and lets old idempotency keys go."""

import asyncio
import contextlib

import structlog

from polyclinic.core.errors import Fault
from polyclinic.db.node import Node

log = structlog.get_logger()
EVERY_S = 6 * 3600
MONTHS_AHEAD = 3


class Upkeep:
    """Runs at start and every six hours in each API process; repeating a step is harmless.

    Partitions are three months ahead, so a process must be down for a quarter before one is
    missing; a failed step is tried again after a minute.
    """

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = nodes
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="upkeep")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                await self.step()
                pause_s = EVERY_S
            except Fault as fault:
                log.warning("upkeep_failed", error=fault.code)
                pause_s = 60
            await asyncio.sleep(pause_s)

    async def step(self) -> None:
        """Make missing partitions and forget keys older than a day, on every node."""
        for node in self._nodes:
            async with node.connection() as connection:
                made = await connection.fetchval("SELECT make_audit_partitions($1)", MONTHS_AHEAD)
                await connection.execute("SELECT forget_old_idempotency_keys()")
            if made:
                log.info("audit_partitions_made", node=node.name, count=made)
