"""Running a job in the load client, and what the processes spent on it."""

import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import psutil  # type: ignore[import-untyped]

from polyclinic.bench.client import Job, Shot, Tally
from polyclinic.bench.errors import BenchFailed
from polyclinic.bench.instance import Instance

_MIB = 1024 * 1024


class Cost(NamedTuple):
    """Processor time in microseconds for each answer, the warm-up's too."""

    api: float
    postgres: float
    client: float


@dataclass(frozen=True, slots=True)
class LoadRun:
    """One job's outcome. `client_share` is the client's part of one core, from 0 to 1."""

    tally: Tally
    rate: float
    client_share: float
    cost: Cost


class Memory(NamedTuple):
    """A process's memory in MB of 2**20 bytes."""

    rss: float
    pss: float
    uss: float


class LoadGenerator:
    """Sends jobs to an instance's API."""

    def __init__(self, instance: Instance, *, warmup_s: float) -> None:
        assert instance.api is not None, "Instance.start_api comes first"
        assert instance.server.pid is not None
        self._port = instance.port
        self._warmup_s = warmup_s
        self._api = psutil.Process(instance.api.pid)
        self._postmaster = psutil.Process(instance.server.pid)

    def sustain(self, shots: list[Shot], *, connections: int, seconds: float) -> LoadRun:
        """`shots` over and over. Raises `BenchFailed` when an answer is not 200 or is empty."""
        return self._measured(
            Job(
                port=self._port,
                connections=connections,
                warmup_s=self._warmup_s,
                seconds=seconds,
                shots=shots,
            )
        )

    def each_once(self, shots: list[Shot], *, unseen: int, at_most_s: float) -> LoadRun:
        """`shots` one after another by one client, the first `unseen` to warm up; as many as the
        time allows."""
        return self._measured(
            Job(
                port=self._port,
                connections=1,
                warmup_s=0,
                seconds=at_most_s,
                unseen=unseen,
                is_repeated=False,
                shots=shots,
            )
        )

    def memory(self) -> Memory:
        """What the API process holds now."""
        found = self._api.memory_full_info()
        return Memory(found.rss / _MIB, found.pss / _MIB, found.uss / _MIB)

    def _measured(self, job: Job) -> LoadRun:
        api, postgres = self._api_cpu_s(), self._postgres_cpu_s()
        tally = _run(job)
        if tally.failure:
            raise BenchFailed(f"the load came to an end: {tally.failure}")
        us = 1e6 / tally.answered
        return LoadRun(
            tally,
            rate=tally.measured / tally.elapsed_s,
            client_share=tally.cpu_s / tally.elapsed_s,
            cost=Cost(
                api=(self._api_cpu_s() - api) * us,
                postgres=(self._postgres_cpu_s() - postgres) * us,
                client=tally.cpu_s / tally.measured * 1e6,
            ),
        )

    def _api_cpu_s(self) -> float:
        times = self._api.cpu_times()
        return float(times.user + times.system)

    def _postgres_cpu_s(self) -> float:
        """Of the postmaster and its children, those that have ended too."""
        ended = self._postmaster.cpu_times()
        total = ended.user + ended.system + ended.children_user + ended.children_system
        for child in self._postmaster.children():
            with suppress(psutil.NoSuchProcess):  # a pgbench's backends end after it
                times = child.cpu_times()
                total += times.user + times.system
        return float(total)


def _run(job: Job) -> Tally:
    done = subprocess.run(
        [sys.executable, "-m", "polyclinic.bench.client"],
        input=msgspec.msgpack.encode(job),
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise BenchFailed(f"the load client ended with status {done.returncode}")
    return msgspec.msgpack.decode(done.stdout, type=Tally)
