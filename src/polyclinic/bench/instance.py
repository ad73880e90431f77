"""An instance of the measurement's own: embedded server, migrated databases, one API worker.

Invariant: nothing that it starts outlives the `with` block, and no instance that anybody else made
is touched: a directory that this module has not marked is refused.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import msgspec

from polyclinic import installation
from polyclinic.bench.errors import BenchFailed, OtherData
from polyclinic.db.embedded import EmbeddedServer, ServerSettings
from polyclinic.settings import Settings

MARKER = "bench.json"
READY_S = 30.0
# The measured instance is its own: where a real server or sign-in is configured, it is not that.
_NOT_INHERITED = (
    "DATABASE_URL",
    "CONTROL_DATABASE_URL",
    "POLYCLINIC_DATABASE_URL",
    "POLYCLINIC_CONTROL_DATABASE_URL",
    "POLYCLINIC_DATA_KEYS",
    "POLYCLINIC_OIDC_ISSUER",
)


class Marker(msgspec.Struct, frozen=True):
    """What a directory was seeded with; `sets` names the organizations of each finished set."""

    parameters: str
    sets: dict[str, list[str]] = {}


@contextmanager
def workplace(given: Path | None, *, keep: bool) -> Iterator[Path]:
    """The directory to work in: the given one, kept; else a temporary one, removed unless `keep`."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given.absolute()
        return
    made = Path(tempfile.mkdtemp(prefix="polyclinic-bench-"))
    try:
        yield made
    finally:
        if not keep:
            EmbeddedServer(made / "postgres").remove()
            shutil.rmtree(made, ignore_errors=True)


class Instance:
    """The running parts; `parameters` must equal those that the directory was marked with."""

    def __init__(self, directory: Path, *, parameters: str, lifeline: str) -> None:
        self.settings = Settings(data_dir=directory).model_copy(
            update=dict.fromkeys(
                ("database_url", "control_database_url", "data_keys", "oidc_issuer")
            )
        )
        self.port = 0
        self.api: subprocess.Popen[bytes] | None = None
        self.server = EmbeddedServer(directory / "postgres", ServerSettings(max_connections=200))
        self._parameters = parameters
        self._lifeline = lifeline
        self._lifeline_end: int | None = None

    def __enter__(self) -> Self:
        """The server, migrated. Raises `OtherData` and what the server's start raises."""
        self._mark()
        self.server.start()
        try:
            installation.prepare(self.settings)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def marker(self) -> Marker:
        return msgspec.json.decode((self.settings.data_dir / MARKER).read_bytes(), type=Marker)

    def keep_set(self, name: str, organizations: list[str]) -> None:
        """Note that a set is complete."""
        found = self.marker()
        self._write(Marker(found.parameters, {**found.sets, name: organizations}))

    def start_api(self) -> None:
        """One worker on a free port. Raises `BenchFailed` when it is not ready in time."""
        self.port = _free_port()
        theirs, ours = os.pipe()
        environment = {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED}
        environment |= {
            "POLYCLINIC_DATA_DIR": str(self.settings.data_dir),
            self._lifeline: str(theirs),
        }
        with (self.settings.data_dir / "api.log").open("wb") as log:
            self.api = subprocess.Popen(  # noqa: S603 -- our own command line
                [sys.executable, "-m", "polyclinic", "api", "--port", str(self.port)],
                env=environment,
                pass_fds=[theirs],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        os.close(theirs)
        self._lifeline_end = ours
        self._wait_until_ready(self.api)

    def stop(self) -> None:
        """Repeating is harmless."""
        if self.api is not None and self.api.poll() is None:
            self.api.terminate()
            try:
                self.api.wait(15)
            except subprocess.TimeoutExpired:
                self.api.kill()
                self.api.wait()
        if self._lifeline_end is not None:
            os.close(self._lifeline_end)
            self._lifeline_end = None
        self.server.stop()

    def _mark(self) -> None:
        directory = self.settings.data_dir
        if not (directory / MARKER).exists():
            if any(directory.iterdir()):
                raise OtherData(f"{directory} is not empty, and no measurement made it.")
            self._write(Marker(self._parameters))
        elif (found := self.marker().parameters) != self._parameters:
            raise OtherData(
                f"{directory} holds the data of other parameters ({found}; now "
                f"{self._parameters}). Choose another directory, or remove it."
            )

    def _write(self, marker: Marker) -> None:
        path = self.settings.data_dir / MARKER
        staging = path.with_suffix(".new")
        staging.write_bytes(msgspec.json.format(msgspec.json.encode(marker)))
        staging.replace(path)

    def _wait_until_ready(self, api: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and api.poll() is None:
            try:
                answer = httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2)
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code == 200:
                return
            time.sleep(0.05)
        raise BenchFailed(f"the API did not become ready; see {self.settings.data_dir}/api.log")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
