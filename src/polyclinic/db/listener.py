"""Hears the announcements (NOTIFY) of one database, over a connection of its own."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import asyncpg
import structlog

from polyclinic.db.errors import OUT_OF_STEP

log = structlog.get_logger()
RECONNECT_S = 1.0


class Listener:
    """Calls a handler with each announcement's payload.

    What was announced while the connection was down is lost, so `on_connected` is called at every
    (re)connection: forget there whatever announcements keep fresh.
    """

    def __init__(
        self,
        dsn: str,
        handlers: Mapping[str, Callable[[str], None]],
        on_connected: Callable[[], None],
    ) -> None:
        self._dsn = dsn
        self._handlers = handlers
        self._on_connected = on_connected
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="listener")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                await self._listen_until_lost()
            except (asyncpg.PostgresError, *OUT_OF_STEP):
                log.warning("listener_disconnected", retry_in_s=RECONNECT_S)
            await asyncio.sleep(RECONNECT_S)

    async def _listen_until_lost(self) -> None:
        lost = asyncio.Event()
        connection = await asyncpg.connect(self._dsn, timeout=3)
        try:
            connection.add_termination_listener(lambda _: lost.set())
            for channel, handler in self._handlers.items():
                await connection.add_listener(
                    channel, lambda _c, _pid, _ch, payload, handle=handler: handle(payload)
                )
            self._on_connected()
            await lost.wait()
        finally:
            connection.terminate()
