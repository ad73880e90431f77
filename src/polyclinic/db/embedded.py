"""A real PostgreSQL server on this machine, owned by one supervising process.

Invariants, and what keeps them:
- One supervisor per directory: `.lock` is flock-ed from `start` to `stop`; the kernel releases it
  when the supervisor dies, and the server never inherits it.
- One server per data directory: a stale `postmaster.pid` is removed only under that lock, after
  proof that no process of an earlier server works in the directory.
- A data directory is complete or absent: it is made beside its place and renamed into it.
- Acknowledged commits survive: fsync, full_page_writes and synchronous_commit stay on.
- No patient data in the log: neither statements, parameters nor messages of failing statements.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]

from polyclinic.core.errors import Fault, Refusal
from polyclinic.db.postgres_user import (
    ForeignDirectory,
    ServerUser,
    place_data,
    programs,
    socket_directory,
)
from polyclinic.db.postmaster import (
    AlreadyRunning,
    DirectoryLock,
    PidFile,
    wait_until_gone,
)
from polyclinic.db.server_settings import ServerSettings

__all__ = ["AlreadyRunning", "EmbeddedServer", "NotRunning", "ServerSettings", "StartFailed"]

_SETTINGS_FILE = "polyclinic.conf"
_LOG_LIMIT_BYTES = 16 * 1024 * 1024
_POLL_S = 0.01

# The sync (0.1 s) is not skipped: later checkpoints would not flush files that only initdb wrote.
_INITDB_OPTIONS = (
    "--username=postgres",
    "--auth-local=trust",
    "--auth-host=reject",
    "--data-checksums",
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",  # the same order on every machine
    "--locale=C",
    # pg_trgm asks libc what a letter is: with "C" a Cyrillic name would have no trigrams.
    "--lc-ctype=C.UTF-8",
    "--no-instructions",
)


class NotRunning(Fault):
    """No server runs in this directory."""

    code = "not-running"


class StartFailed(Fault):
    """The server did not come up; the message ends with the last lines of its log."""

    code = "start-failed"


@contextmanager
def _permission_explained(directory: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise ForeignDirectory(
            f"This user may not use {error.filename}. Run this as the user that made "
            f"{directory}, or choose another data directory."
        ) from None


def _open_log(path: Path) -> BinaryIO:
    """The log to append to; one of 16 MiB is set aside first, as postgres.log.1."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > _LOG_LIMIT_BYTES:
            path.replace(path.with_suffix(".log.1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb")


class EmbeddedServer:
    """The server of one directory: `data` (or a link to it), `postgres.log`, `socket`, `.lock`."""

    def __init__(self, directory: Path, settings: ServerSettings | None = None) -> None:
        self.directory = directory.resolve()
        self.settings = settings or ServerSettings()
        self.log = self.directory / "postgres.log"
        self._data = self.directory / "data"
        self._lock = DirectoryLock(self.directory / ".lock")
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def attach(cls, directory: Path) -> Self:
        """A server that another process runs, to connect to. Raises `NotRunning`."""
        server = cls(directory)
        command = f"polyclinic up --data-dir {server.directory.parent}"
        advice = f"No server runs in {server.directory}. Start it with: {command}"
        try:
            file = PidFile.read(server._data)
        except PermissionError:
            raise NotRunning(f"{server._data} is another user's; run this as that one.") from None
        if file is None or file.status != "ready" or not server.is_running():
            raise NotRunning(advice)
        return server

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, `None` when it does not run."""
        process = self._postmaster()
        return None if process is None else int(process.pid)

    def is_running(self) -> bool:
        return self._postmaster() is not None

    def dsn(self, database: str = "postgres", *, user: str = "postgres") -> str:
        """A URL that asyncpg, psycopg and libpq understand; the same from start to start."""
        file = PidFile.read(self._data)
        if file is not None and file.socket_directory:
            host, port = file.socket_directory, file.port
        else:
            host = str(socket_directory(self.directory, ServerUser.current()))
            port = self.settings.port
        names = f"{quote(user, safe='')}@/{quote(database, safe='')}"
        return f"postgresql://{names}?host={quote(host)}&port={port}"

    def start(self, *, timeout_s: float = 30) -> None:
        """Run the server, making the data directory if new, until it accepts connections.

        Adopts a server whose supervisor died, as it is. Repeating is harmless. Raises
        `AlreadyRunning`, `ForeignDirectory`, `StartFailed`.
        """
        if self._lock.is_held and self._is_ready():
            return
        deadline = time.monotonic() + timeout_s
        try:
            self._take_directory()
            self._wait_for_shutdown_under_way(deadline)
            if not self.is_running():
                self._launch(deadline)
            self._wait_until_ready(deadline)
        except BaseException:  # Ctrl-C too: nobody else would stop what was just started
            self._abandon()
            raise

    def stop(self, *, timeout_s: float = 20) -> None:
        """Fast shutdown (clients are cut off, nothing is lost); immediate after `timeout_s`.

        Repeating is harmless. Raises `AlreadyRunning` when another process supervises it.
        """
        with _permission_explained(self.directory):
            if not self.directory.is_dir():
                return
            self._lock.acquire()
        try:
            for order, patience_s in ((signal.SIGINT, timeout_s), (signal.SIGQUIT, 5.0)):
                if self._end(order, patience_s):
                    return
            self.kill()
        finally:
            self._reap()
            self._lock.release()

    def kill(self) -> None:
        """SIGKILL the postmaster and every process of it, as a power cut would. For drills."""
        while processes := self._family():
            for process in processes:  # ascending ids: the postmaster before what it would restart
                with suppress(psutil.Error):
                    process.kill()
            wait_until_gone(processes, timeout_s=5)
        self._reap()

    def remove(self) -> None:
        """Stop the server and delete its directory, and data and socket that lie elsewhere."""
        if not self.directory.is_dir():
            return
        self.stop()
        socket = socket_directory(self.directory, ServerUser.current())
        for path in (socket, self._data.resolve(), self.directory):
            shutil.rmtree(path, ignore_errors=True)

    def base_backup_to(self, directory: Path, *, slot: str) -> "EmbeddedServer":
        """A streaming replica in `directory`, not yet started, with a new slot on this server.

        When it fails half-way, the slot may be left: it retains WAL until it is dropped.
        """
        replica = EmbeddedServer(directory, self.settings)
        user = replica._take_directory()
        try:
            if (replica._data / "PG_VERSION").exists():
                raise Refusal(f"{replica._data} holds a database already.")
            staging = replica._staging(user)
            user.run(
                [
                    *(programs(user) / "pg_basebackup", "-d", self.dsn(), "-D", staging),
                    *("-R", "-C", "-S", slot, "-X", "stream", "-c", "fast", "--no-sync"),
                ]
            )
            replica._install(staging)
        finally:
            replica._lock.release()
        return replica

    def _take_directory(self) -> ServerUser:
        """Lock the directory, then find or choose the place of its data."""
        user = ServerUser.current()
        with _permission_explained(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            if self._data.exists():  # before the lock: its file may be another user's, too
                user.check_owns(self._data.resolve(), of=self.directory)
            self._lock.acquire()
        self._data = place_data(self.directory, user)
        return user

    def _launch(self, deadline: float) -> None:
        user = ServerUser.current()
        self._clear_stale_pid_file(deadline)
        socket = user.private_directory(socket_directory(self.directory, user))
        # It names the killed postmaster too, which as a zombie of another parent still counts.
        (socket / f".s.PGSQL.{self.settings.port}.lock").unlink(missing_ok=True)
        if not (self._data / "PG_VERSION").exists():
            self._initialize(user)
        self._write_settings(user, self.settings.render(socket))
        with _open_log(self.log) as log:
            self._process = subprocess.Popen(  # noqa: S603 -- our own binary
                [programs(user) / "postgres", "-D", self._data],
                stdout=log,
                stderr=log,
                # Ctrl-C in the terminal is for the supervisor: a SIGINT is a fast shutdown here.
                start_new_session=True,
                **user.process_options(),
            )

    def _initialize(self, user: ServerUser) -> None:
        staging = self._staging(user)
        user.run([programs(user) / "initdb", "-D", staging, *_INITDB_OPTIONS])
        with (staging / "postgresql.conf").open("a") as configuration:
            configuration.write(f"\ninclude_if_exists = '{_SETTINGS_FILE}'\n")
        self._install(staging)

    def _staging(self, user: ServerUser) -> Path:
        """An empty directory beside the data's place; what a killed attempt left is removed."""
        staging = self._data.with_name(f"{self._data.name}.new")
        shutil.rmtree(staging, ignore_errors=True)
        return user.private_directory(staging)

    def _install(self, staging: Path) -> None:
        try:
            staging.rename(self._data)
        except OSError as error:
            shutil.rmtree(staging, ignore_errors=True)
            raise Refusal(f"{self._data} is in use for something else: {error.strerror}") from None

    def _write_settings(self, user: ServerUser, text: str) -> None:
        path = self._data / _SETTINGS_FILE
        staging = path.with_suffix(".new")
        staging.unlink(missing_ok=True)
        # O_EXCL: as root we write into another user's directory and must not follow a link there.
        descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        user.give(staging)
        staging.replace(path)

    def _clear_stale_pid_file(self, deadline: float) -> None:
        """Let the processes of a killed server end, then remove what names its postmaster.

        PostgreSQL would refuse to start beside them (shared memory in use), and would take an
        unrelated process that got the old number for a running server.
        """
        if not (self._data / "postmaster.pid").exists():
            return
        if alive := wait_until_gone(self._family(), timeout_s=deadline - time.monotonic()):
            pids = ", ".join(str(process.pid) for process in alive)
            raise StartFailed(
                f"Processes of a killed server still work in {self._data}: {pids}. They end with "
                f"their statement; to end them now: kill -9 {pids.replace(',', '')}"
            )
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _wait_for_shutdown_under_way(self, deadline: float) -> None:
        file = PidFile.read(self._data)
        process = self._postmaster()
        if file is not None and process is not None and file.status == "stopping":
            wait_until_gone([process], timeout_s=deadline - time.monotonic())

    def _wait_until_ready(self, deadline: float) -> None:
        while not self._is_ready():
            if not self.is_running() and self._process is None:
                raise StartFailed(f"PostgreSQL did not start in {self.directory}.{self._tail()}")
            if time.monotonic() > deadline:
                raise StartFailed(f"PostgreSQL was not ready in time.{self._tail()}")
            time.sleep(_POLL_S)

    def _abandon(self) -> None:
        """End what a failed start has launched (it may not have a pid file yet); let go."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.kill()
        self._lock.release()

    def _is_ready(self) -> bool:
        file = PidFile.read(self._data)
        return file is not None and file.status == "ready" and self.is_running()

    def _tail(self) -> str:
        with suppress(OSError):
            lines = self.log.read_text(errors="replace").splitlines()[-15:]
            return "\n".join([f" Last lines of {self.log}:", *lines])
        return ""

    def _postmaster(self) -> psutil.Process | None:
        self._reap()
        file = PidFile.read(self._data)
        if file is None:
            return None
        with suppress(psutil.Error):
            process = psutil.Process(file.pid)
            if self._works_here(process):
                return process
        return None

    def _family(self) -> list[psutil.Process]:
        """Every live PostgreSQL process of this data directory, the postmaster's orphans too."""
        self._reap()
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if self._works_here(process):
                    found.append(process)
        return found

    def _works_here(self, process: psutil.Process) -> bool:
        # Postmaster and children change into the data directory and stay there. A zombie has no
        # working directory any more and counts as dead.
        return bool(process.name() == "postgres" and process.cwd() == str(self._data.resolve()))

    def _end(self, order: signal.Signals, patience_s: float) -> bool:
        """Send the postmaster a signal; whether it is gone within `patience_s`."""
        process = self._postmaster()
        if process is None:
            return True
        with suppress(psutil.NoSuchProcess):
            process.send_signal(order)
        return not wait_until_gone([process], timeout_s=patience_s)

    def _reap(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            self._process = None
