"""A background loop of one step that is safe to repeat."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from polyclinic.core.errors import Fault

log = structlog.get_logger()


class Periodic:
    """Runs `step` at start and every `every_s` seconds; after a fault, again in `retry_s`."""

    def __init__(
        self, name: str, step: Callable[[], Awaitable[None]], *, every_s: float, retry_s: float
    ) -> None:
        self._name = name
        self._step = step
        self._every_s = every_s
        self._retry_s = retry_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            pause_s = self._every_s
            try:
                await self._step()
            except Fault as fault:
                log.warning("periodic_step_failed", name=self._name, code=fault.code)
                pause_s = self._retry_s
            await asyncio.sleep(pause_s)
