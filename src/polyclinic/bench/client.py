"""The load client, a process of its own: `python -m polyclinic.bench.client` runs one `Job`.

It must not be what is measured, so it does as little as HTTP/1.1 allows: one protocol object per
keep-alive connection that writes the next prebuilt request when an answer is whole, and reads of an
answer its status, its length and whether it holds what is expected.
"""

import asyncio
import gc
import sys
import time
from array import array
from typing import Final, cast

import msgspec
import uvloop

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "
_OK: Final = b"HTTP/1.1 200 "


class Shot(msgspec.Struct, frozen=True, array_like=True):
    """A whole request; `expected` is a part of the right answer's body."""

    request: bytes
    expected: bytes


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """`shots` in turn over `connections`, for `warmup_s` unseen and then `seconds` measured.

    Not `is_repeated`: over one connection, each shot once, as many as `seconds` allow; the first
    `unseen` are not measured.
    """

    port: int
    connections: int
    warmup_s: float
    seconds: float
    unseen: int = 0
    is_repeated: bool = True
    shots: list[Shot]


SLOW_MS = 20


class Tally(msgspec.Struct, kw_only=True):
    """What came of a job. Latencies from write to last byte, of the `measured` answers alone.

    `unexpected` counts answers of status 200 without what was expected in them; `slow_share` is
    the part of the answers that took longer than `SLOW_MS`.
    """

    answered: int = 0
    measured: int = 0
    unexpected: int = 0
    elapsed_s: float = 0
    cpu_s: float = 0
    p50_ms: float = 0
    p99_ms: float = 0
    slow_share: float = 0
    failure: str = ""


class _Load:
    """State that the connections share."""

    def __init__(self, job: Job) -> None:
        self.tally = Tally()
        self.latencies = array("d")
        self.finished = asyncio.get_running_loop().create_future()
        self._job = job
        self._next = 0
        self.is_measuring = not job.is_repeated

    def next_shot(self) -> Shot | None:
        shots = self._job.shots
        if self._next == len(shots):
            if not self._job.is_repeated:
                self.end()
                return None
            self._next = 0
        self._next += 1
        return shots[self._next - 1]

    def end(self, failure: str = "") -> None:
        if not self.finished.done():
            self.tally.failure = failure
            self.finished.set_result(None)


class _Connection(asyncio.Protocol):
    """One request at a time on one keep-alive connection."""

    _transport: asyncio.Transport
    _shot: Shot
    _sent_at: float

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.end("the server closed a connection")

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        head_end = data.find(_HEAD_END)
        at = data.find(_LENGTH, 0, head_end) + len(_LENGTH)
        if head_end < 0:
            self._received = data
            return
        if at < len(_LENGTH):
            self._load.end("an answer without content-length")
            return
        length = int(data[at : data.index(b"\r", at)])
        if len(data) < head_end + len(_HEAD_END) + length:
            self._received = data
            return
        self._received = b""
        self._answered(data, length)

    def _answered(self, data: bytes, length: int) -> None:
        load, now = self._load, time.perf_counter()
        if not data.startswith(_OK) or not length:
            load.end(f"answered {data[:13].decode('latin-1')!r} with {length} bytes")
            return
        load.tally.answered += 1
        if self._shot.expected not in data:
            load.tally.unexpected += 1
        if load.is_measuring:
            load.latencies.append(now - self._sent_at)
        if not load.finished.done():
            self._send()

    def _send(self) -> None:
        shot = self._load.next_shot()
        if shot is not None:
            self._shot = shot
            self._sent_at = time.perf_counter()
            self._transport.write(shot.request)


async def _run(job: Job) -> Tally:
    loop = asyncio.get_running_loop()
    load = _Load(job)
    for _ in range(job.connections):
        await loop.create_connection(lambda: _Connection(load), "127.0.0.1", job.port)
    if job.is_repeated:
        await asyncio.wait([load.finished], timeout=job.warmup_s)
        load.is_measuring = True
    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.wait([load.finished], timeout=job.seconds)
    load.tally.elapsed_s = time.perf_counter() - started
    load.tally.cpu_s = time.process_time() - cpu
    load.is_measuring = False
    load.end()
    return _summed_up(load.tally, sorted(load.latencies[job.unseen :]))


def _summed_up(tally: Tally, found: list[float]) -> Tally:
    tally.measured = len(found)
    if found:
        tally.p50_ms = found[len(found) // 2] * 1000
        tally.p99_ms = found[len(found) * 99 // 100] * 1000
        tally.slow_share = sum(seconds * 1000 > SLOW_MS for seconds in found) / len(found)
    elif not tally.failure:
        tally.failure = "no answer in the time given"
    return tally


def main() -> None:
    """A job in MessagePack on standard input, its tally on standard output."""
    job = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Job)
    gc.disable()
    tally = uvloop.run(_run(job))
    sys.stdout.buffer.write(msgspec.msgpack.encode(tally))


if __name__ == "__main__":
    main()
