"""Who runs the server of a directory: the supervisor's lock and the postmaster's processes."""

import fcntl
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil  # type: ignore[import-untyped]

from polyclinic.core.errors import Conflict

_POLL_S = 0.01


class AlreadyRunning(Conflict):
    """Another process supervises the server of this directory; `pid` is that process."""

    code = "already-running"

    def __init__(self, directory: Path, pid: int | None) -> None:
        super().__init__(
            f"Process {pid or '(unknown)'} already runs the server in {directory}. "
            f"Stop it first, or use another data directory."
        )
        self.pid = pid


@dataclass(frozen=True, slots=True)
class PidFile:
    """`postmaster.pid`: the line numbers are PostgreSQL's (miscadmin.h); it is written in steps."""

    pid: int
    port: int
    socket_directory: str
    status: str

    @classmethod
    def read(cls, data: Path) -> Self | None:
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
            lines += [""] * (8 - len(lines))
            return cls(int(lines[0]), int(lines[3] or 0), lines[4].strip(), lines[7].strip())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None


class DirectoryLock:
    """An flock on a file that names its holder. The descriptor is not inherited by programs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock or raise `AlreadyRunning`; harmless when held."""
        if self.is_held:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).strip()
            os.close(descriptor)
            pid = int(holder) if holder.isdigit() else None
            raise AlreadyRunning(self._path.parent, pid) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def wait_until_gone(processes: list[psutil.Process], *, timeout_s: float) -> list[psutil.Process]:
    """Those that still live at the end. A zombie is gone: it holds no file and no memory, and some
    init processes take seconds to collect it (`psutil.wait_procs` would wait for that)."""
    deadline = time.monotonic() + timeout_s
    while (alive := [process for process in processes if is_alive(process)]) and (
        time.monotonic() < deadline
    ):
        time.sleep(_POLL_S)
    return alive


def is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
