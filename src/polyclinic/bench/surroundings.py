"""Where the figures were taken: without that they say nothing."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import msgspec
import psutil  # type: ignore[import-untyped]
import psycopg


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """The machine and the versions. `busy_before` is the share of the cores in percent
    that others used while nothing of this measurement ran: from some 10 on, the API, one process
    among many, gets less than its share and the ratios are too low."""

    processor: str
    cores: int
    busy_before: float
    postgresql: str
    python: str
    polyclinic: str
    commit: str | None

    @classmethod
    def found(cls, dsn: str) -> "Surroundings":
        with psycopg.connect(dsn) as connection:
            server = connection.execute("SHOW server_version").fetchone()
        return cls(
            processor=_processor(),
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _cores(),
            busy_before=psutil.cpu_percent(interval=1),
            postgresql=str(server[0]) if server else "",
            python=f"{platform.python_implementation()} {platform.python_version()}",
            polyclinic=version("polyclinic"),
            commit=_commit(),
        )


def _cores() -> int:
    return os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str | None:
    """The commit of the source tree, '+' where it was changed since; None for an installed copy."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return done.stdout.strip() or None
