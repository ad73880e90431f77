"""`polyclinic up`: everything on this machine, until it is told to stop.

Order of the start: server, schemas, API process, demo. Order of the stop: API, server. The API
holds the end of a pipe, so that it goes too when this process is killed; the embedded server is
adopted by the next start.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from types import FrameType
from typing import Annotated
from uuid import UUID

import httpx
import typer
from rich.status import Status

from polyclinic import installation
from polyclinic.app import Polyclinic
from polyclinic.cli import token as tokens
from polyclinic.cli.options import AsJson, DataDir, settings_for
from polyclinic.cli.output import err, out, print_json, print_table
from polyclinic.cli.serve import LIFELINE
from polyclinic.core.errors import Conflict, Fault
from polyclinic.core.ids import OrganizationId
from polyclinic.db.embedded import EmbeddedServer, ServerSettings
from polyclinic.demo.clinics import DemoSummary, load_demo
from polyclinic.settings import Settings
from polyclinic.tenancy.context import Role
from polyclinic.tenancy.signin import DevIssuer

READY_S = 30.0
WATCH_S = 0.5


class PortTaken(Conflict):
    code = "port-taken"


class ApiFailed(Fault):
    code = "api-failed"


class _Stop(Exception):
    """SIGTERM or Ctrl-C was seen."""


class _Signals:
    """Remembers that SIGTERM or Ctrl-C came, and lets each step end before it is acted on.

    A handler that raises would raise anywhere: between a process's start and our note of it, or in
    a destructor, which swallows it.
    """

    def __init__(self) -> None:
        self._came = False

    def __enter__(self) -> "_Signals":
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

    def check(self) -> None:
        """Raises `_Stop` where a signal came."""
        if self._came:
            raise _Stop

    def _note(self, _: int, __: FrameType | None) -> None:
        self._came = True


@dataclass
class Running:
    """What was started, in order."""

    server: EmbeddedServer | None = None
    api: subprocess.Popen[bytes] | None = None
    lifeline: list[int] = field(default_factory=list)

    def stop(self) -> None:
        """Stop in reverse order; repeating is harmless."""
        if self.api is not None and self.api.poll() is None:
            self.api.terminate()
            try:
                self.api.wait(15)
            except subprocess.TimeoutExpired:
                self.api.kill()
                self.api.wait()
        for descriptor in self.lifeline:
            os.close(descriptor)
        self.lifeline.clear()
        if self.server is not None:
            self.server.stop()


def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the API listens.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="API processes.")] = 1,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Two clinics to try.")] = True,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Start everything on this machine and print where it is and a token for each role.

    DATABASE_URL (and CONTROL_DATABASE_URL) use a real PostgreSQL 18 instead of the embedded one.
    """
    settings = settings_for(data_dir)
    started = time.monotonic()
    running = Running()
    try:
        with _Signals() as signals:
            summary = _start(settings, running, signals, port=port, workers=workers, demo=demo)
            _report(settings, summary, port, time.monotonic() - started, as_json)
            _watch(running, settings, signals, port=port, workers=workers)
    except _Stop:
        err.print("stopping")
    finally:
        running.stop()


def _start(
    settings: Settings,
    running: Running,
    signals: _Signals,
    *,
    port: int,
    workers: int,
    demo: bool,
) -> DemoSummary | None:
    _require_free(port)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with err.status("starting PostgreSQL") as status:
        if settings.external is None:
            running.server = EmbeddedServer(
                settings.data_dir / "postgres", ServerSettings(max_connections=200)
            )
            running.server.start()
        signals.check()
        status.update("migrating")
        installation.prepare(settings)
        signals.check()
        status.update("starting the API")
        _start_api(running, settings, port=port, workers=workers)
        summary = None
        signals.check()
        if demo:
            status.update("filling two clinics")
            summary = asyncio.run(_load_demo(settings))
        _wait_until_ready(running, signals, port, status)
    return summary


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortTaken(f"port {port} is in use; choose another with --port") from error


def _start_api(running: Running, settings: Settings, *, port: int, workers: int) -> None:
    ours, theirs = os.pipe()
    log = (settings.data_dir / "api.log").open("ab")
    running.api = subprocess.Popen(  # noqa: S603 - our own command line
        [
            sys.executable, "-m", "polyclinic", "api",
            "--port", str(port), "--workers", str(workers),
        ],
        env={**os.environ, "POLYCLINIC_DATA_DIR": str(settings.data_dir), LIFELINE: str(ours)},
        pass_fds=[ours],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,  # Ctrl-C reaches us alone; we stop the API first
    )  # fmt: skip
    os.close(ours)
    log.close()
    for descriptor in running.lifeline:
        os.close(descriptor)
    running.lifeline = [theirs]


async def _load_demo(settings: Settings) -> DemoSummary:
    async with Polyclinic(settings).open() as parts:
        return await load_demo(parts)


def _wait_until_ready(running: Running, signals: _Signals, port: int, status: Status) -> None:
    status.update("waiting for the API")
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        signals.check()
        assert running.api is not None
        if running.api.poll() is not None:
            break
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise ApiFailed("the API did not become ready; its log is api.log in the data directory")


def _watch(
    running: Running, settings: Settings, signals: _Signals, *, port: int, workers: int
) -> None:
    """Until a signal comes: the server or the API, if it dies, is started again."""
    assert running.api is not None
    while True:
        signals.check()
        try:
            status = running.api.wait(timeout=WATCH_S)
        except subprocess.TimeoutExpired:
            _revive_server(running)
            continue
        err.print(f"the API ended with status {status}; starting it again")
        time.sleep(WATCH_S)
        _start_api(running, settings, port=port, workers=workers)


def _revive_server(running: Running) -> None:
    """PostgreSQL recovers what was committed; the API reconnects by itself."""
    if running.server is None or running.server.is_running():
        return
    err.print("PostgreSQL ended; starting it again")
    try:
        running.server.start()
    except Fault as fault:
        err.print(f"not yet: {fault}", style="red", markup=False)


def _report(
    settings: Settings, demo: DemoSummary | None, port: int, seconds: float, as_json: bool
) -> None:
    base = f"http://127.0.0.1:{port}"
    addresses = {"api": base + "/v1", "docs": base + "/docs", "health": base + "/readyz"}
    roles = _role_tokens(settings, demo.organizations[0].id if demo else None)
    if as_json:
        organizations = [] if demo is None else [vars_of(o.id, o.name) for o in demo.organizations]
        print_json({"addresses": addresses, "organizations": organizations, "tokens": roles})
        sys.stdout.flush()
        return
    out.print(f"[bold green]Polyclinic is ready[/] after {seconds:.1f} s; Ctrl-C stops it.\n")
    print_table("Addresses", ("what", "where"), addresses.items())
    if demo is not None:
        rows = [(o.name, o.id, o.patients) for o in demo.organizations]
        print_table("Organizations", ("name", "id", "patients"), rows)
    if roles:
        out.print("\n[bold]Tokens[/] (12 h; for the first organization)")
        for role, text in roles.items():
            # Never wrapped: people copy them.
            print(f"{role}\n  {text}")
    sys.stdout.flush()


def vars_of(organization_id: UUID, name: str) -> dict[str, str]:
    return {"id": str(organization_id), "name": name}


def _role_tokens(settings: Settings, organization: UUID | None) -> dict[str, str]:
    """A development token for each role; none where a real issuer signs people in."""
    if settings.oidc_issuer is not None:
        return {}
    issuer = DevIssuer.open(settings.data_dir, None)
    found = {}
    for role in Role:
        if organization is None and role is not Role.SUPERADMIN:
            continue
        named = None if organization is None else OrganizationId(organization)
        tokens.grant(settings, f"dev-{role}", role, named, [])
        text = issuer.token(subject=f"dev-{role}", organization=named, lifetime_s=12 * 3600)
        found[str(role)] = text
    return found
