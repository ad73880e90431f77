"""`polyclinic up` as a process of its own, what it leaves behind, and tokens for it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil  # type: ignore[import-untyped]
import psycopg

from polyclinic.cli import token as tokens
from polyclinic.core.ids import OrganizationId
from polyclinic.databases import Database, Databases
from polyclinic.db.embedded import EmbeddedServer
from polyclinic.settings import Settings
from polyclinic.tenancy.context import Role
from polyclinic.tenancy.signin import DevIssuer

START_S = 60.0
STOP_S = 30.0
COMMAND = (sys.executable, "-m", "polyclinic")


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(true: Callable[[], Any], what: str, *, within_s: float = 20) -> Any:
    """The first truthy answer; fails with `what` when none comes in time."""
    deadline = time.monotonic() + within_s
    while not (answer := true()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)
    return answer


def polyclinic(
    *arguments: str,
    data_dir: Path,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 60,
) -> subprocess.CompletedProcess[str]:
    """One command of the command line, to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, "POLYCLINIC_DATA_DIR": str(data_dir), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


class Instance:
    """One data directory with `polyclinic up` over it; `start` again after it was killed."""

    def __init__(self, data_dir: Path, *options: str, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.settings = Settings(data_dir=data_dir)
        self.said: dict[str, Any] = {}
        self._options = options
        self._environment = {
            **os.environ,
            "POLYCLINIC_DATA_DIR": str(data_dir),
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run `up --no-demo --json` until it says that it is ready."""
        self.launch()
        wait_until(self._has_spoken, "up is ready", within_s=START_S)

    def launch(self, *more: str) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        arguments = ["up", "--no-demo", "--json", "--port", str(self.port), *self._options, *more]
        with self._file("out").open("wb") as out, self._file("err").open("wb") as err:
            self._process = subprocess.Popen(
                [*COMMAND, *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def up(self) -> psutil.Process:
        assert self._process is not None
        return psutil.Process(self._process.pid)

    @property
    def api(self) -> psutil.Process:
        """Waits for it: the server itself, or the parent of its workers."""
        return wait_until(self.find_api, "an API process")

    def find_api(self) -> psutil.Process | None:
        """The process that `up` started for the API, if it has."""
        for child in self.up.children():
            if f"api --port {self.port}" in _command_line(child):
                return child
        return None

    def workers(self) -> list[psutil.Process]:
        """The children of the API's parent that serve (`--workers` above one)."""
        return [child for child in self.api.children() if "spawn_main" in _command_line(child)]

    @property
    def server(self) -> EmbeddedServer:
        return EmbeddedServer(self.data_dir / "postgres")

    @property
    def messages(self) -> str:
        """What `up` has written on standard error."""
        return self._file("err").read_text()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def is_ready(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(self.url("/readyz"), timeout=2).status_code == 200
        return False

    def end(self, order: signal.Signals = signal.SIGTERM, *, within_s: float = STOP_S) -> int:
        """Send `up` a signal and wait for it; its exit status."""
        assert self._process is not None
        self._process.send_signal(order)
        return self._process.wait(within_s)

    def kill(self) -> None:
        """kill -9 of `up` alone."""
        self.end(signal.SIGKILL)

    def processes(self) -> list[psutil.Process]:
        """Everything of this instance that lives: `up`, the API, its workers, PostgreSQL."""
        mine = [p for p in psutil.process_iter() if _belongs_to(p, self.data_dir)]
        return mine + [p for p in self.server._family() if p not in mine]

    def query(self, database: Database, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Rows, as the superuser whom no policy binds."""
        dsn = Databases(self.settings).admin(database)
        with psycopg.connect(dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), arguments)
            return cursor.fetchall() if cursor.description else []

    def found_organization(self, name: str = "Clinic") -> OrganizationId:
        made = polyclinic(
            *("organization", "create", "--name", name),
            *("--country", "ES", "--timezone", "Europe/Madrid"),
            data_dir=self.data_dir,
        )
        assert made.returncode == 0, made.stderr
        return OrganizationId(UUID(made.stdout.strip()))

    async def headers(self, organization: OrganizationId, role: Role) -> dict[str, str]:
        """The Authorization header of a member of this role, made a member now."""
        subject = f"{role}-{organization}"
        await tokens.add_member(self.settings, subject, role, organization, [])
        issuer = DevIssuer.open(self.data_dir, None)
        text = issuer.token(subject=subject, organization=organization, lifetime_s=3600)
        return {"Authorization": f"Bearer {text}"}

    def remove(self) -> None:
        """End whatever is left of it and delete the server's data."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        for process in self.processes():
            if process.name() != "postgres":
                with suppress(psutil.Error):
                    process.kill()
        if self._process is not None:
            self._process.wait(STOP_S)
        self.server.remove()

    def _has_spoken(self) -> bool:
        assert self._process is not None
        ended = self._process.poll()
        assert ended is None, f"up ended with {ended}: {self.messages}"
        with suppress(json.JSONDecodeError):
            self.said = json.loads(self._file("out").read_text())
            return True
        return False

    def _file(self, name: str) -> Path:
        return self.data_dir.with_name(f"{self.data_dir.name}.up.{name}")


@contextmanager
def instance_in(data_dir: Path, *options: str, **environment: str) -> Iterator[Instance]:
    """A running instance, removed at the end with everything it started."""
    instance = Instance(data_dir, *options, **environment)
    try:
        instance.start()
        yield instance
    finally:
        instance.remove()


def is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _command_line(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _belongs_to(process: psutil.Process, data_dir: Path) -> bool:
    with suppress(psutil.Error, OSError):
        environment = process.environ()
        return environment.get("POLYCLINIC_DATA_DIR") == str(data_dir) and is_alive(process)
    return False
