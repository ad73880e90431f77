"""The access log: one JSON line a request, written in batches."""

import asyncio
import sys
import time

import msgspec

FLUSH_S = 0.2


class AccessLine(msgspec.Struct):
    """Method, path, status, time. `path` is null where no route took it: it may hold anything.

    A query string is never written; the parameters of our own paths are UUIDs.
    """

    event: str
    level: str
    timestamp: str
    request_id: str
    method: str
    path: str | None
    status: int
    ms: float


class AccessLog:
    """Writes lines to standard output, at the latest 0.2 s after their request."""

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []
        self._second = 0
        self._clock_text = ""

    def add(
        self, request_id: str, method: str, path: str | None, status: int, seconds: float
    ) -> None:
        line = AccessLine(
            "request",
            "info",
            self._now(),
            request_id,
            method,
            path,
            status,
            round(seconds * 1e3, 2),
        )
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
        self._lines.append(self._encode(line))

    def flush(self) -> None:
        """Write what waits; also called at the end of the process."""
        if self._lines:
            lines, self._lines = self._lines, []
            sys.stdout.write(b"\n".join(lines).decode() + "\n")
            sys.stdout.flush()

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._clock_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._clock_text}.{int((now - second) * 1000):03d}Z"
