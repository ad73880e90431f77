"""Where the figures were taken: without that they say nothing."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import msgspec
import psycopg


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """The machine and the versions. `load_before` is the load average when the rounds began:
    what others did on the machine at the same time."""

    processor: str
    cores: int
    load_before: float
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
            load_before=round(os.getloadavg()[0], 2),
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
