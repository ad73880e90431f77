"""`polyclinic up` as a user starts and stops it."""

import os
import pty
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psycopg
import pytest

from polyclinic.cli.exit_codes import ExitCode
from polyclinic.db.embedded import EmbeddedServer, ServerSettings
from tests.drill.instance import COMMAND, Instance, instance_in, polyclinic, wait_until

READY_WITHIN_S = 15
PASSWORD = "p@ss/w:rd"


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with instance_in(tmp_path_factory.mktemp("up") / "clinic") as instance:
        yield instance


@pytest.fixture
def running(instance: Instance) -> Instance:
    if not instance.is_ready():
        instance.start()
    return instance


def test_it_says_where_it_is_and_its_token_opens_the_api(running: Instance) -> None:
    assert set(running.said) == {"addresses", "organizations", "tokens"}
    assert httpx.get(running.said["addresses"]["health"]).status_code == 200
    assert httpx.get(running.said["addresses"]["docs"]).status_code == 200
    headers = {"Authorization": f"Bearer {running.said['tokens']['superadmin']}"}
    listed = httpx.get(running.said["addresses"]["api"] + "/organizations", headers=headers)
    assert listed.status_code == 200


def test_a_port_in_use_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        instance = Instance(tmp_path / "clinic")
        done = polyclinic("up", "--no-demo", "--port", str(port), data_dir=instance.data_dir)
    assert done.returncode == ExitCode.REFUSED
    assert f"port {port}" in done.stderr
    assert "--port" in done.stderr
    assert instance.processes() == []


def test_a_second_one_on_the_same_directory_is_refused(running: Instance) -> None:
    second = Instance(running.data_dir)
    done = polyclinic("up", "--no-demo", "--port", str(second.port), data_dir=second.data_dir)
    assert done.returncode == ExitCode.REFUSED
    assert str(running.up.pid) in done.stderr
    assert "Traceback" not in done.stderr
    assert running.is_ready()


def test_a_second_start_keeps_the_data_and_is_ready_soon(running: Instance) -> None:
    organization = running.found_organization("Kept")
    assert running.end() == ExitCode.DONE
    running.launch()
    wait_until(running.is_ready, "ready", within_s=READY_WITHIN_S)
    listed = polyclinic("organization", "list", "--json", data_dir=running.data_dir)
    assert str(organization) in listed.stdout


def test_ctrl_c_in_a_terminal_stops_everything(running: Instance) -> None:
    assert running.end() == ExitCode.DONE
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["POLYCLINIC_DATA_DIR"] = str(running.data_dir)
        os.execv(COMMAND[0], [*COMMAND, "up", "--no-demo", "--port", str(running.port)])
    shown = bytearray()
    try:
        read_until(terminal, b"superadmin", shown)
        os.write(terminal, b"\x03")
        status = wait_until(lambda: ended(pid, terminal, shown), "stopped", within_s=10)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.close(terminal)
    assert status == (ExitCode.DONE,)
    assert b"Traceback" not in shown
    assert running.processes() == []


def read_until(terminal: int, words: bytes, shown: bytearray) -> None:
    deadline = time.monotonic() + 60
    while words not in shown:
        assert time.monotonic() < deadline, shown
        shown += os.read(terminal, 4096)


def ended(pid: int, terminal: int, shown: bytearray) -> tuple[int] | None:
    os.set_blocking(terminal, False)
    with suppress(OSError):  # nothing to read, or its end
        shown += os.read(terminal, 4096)
    done, status = os.waitpid(pid, os.WNOHANG)
    return (os.waitstatus_to_exitcode(status),) if done else None


@pytest.fixture
def real_server(tmp_path: Path) -> Iterator[str]:
    """The URL of a database on a server that asks for a password."""
    server = EmbeddedServer(tmp_path / "real", ServerSettings(shared_buffers_mib=32))
    server.start()
    try:
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute(
                f"CREATE ROLE clinic LOGIN CREATEROLE CREATEDB PASSWORD '{PASSWORD}'".encode()
            )
            admin.execute("CREATE DATABASE clinic OWNER clinic")
            admin.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        rules = "local all postgres trust\nlocal all all scram-sha-256\n"
        (server._data.resolve() / "pg_hba.conf").write_text(rules)
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute("SELECT pg_reload_conf()")
        host = str(psycopg.conninfo.conninfo_to_dict(server.dsn())["host"])
        quoted = PASSWORD.replace("@", "%40").replace("/", "%2F").replace(":", "%3A")
        url = f"postgresql://clinic:{quoted}@/clinic?host={host}&port=5432"
        wait_until(lambda: is_locked(server), "a password is asked for")
        yield url
    finally:
        server.remove()


def is_locked(server: EmbeddedServer) -> bool:
    try:
        psycopg.connect(server.dsn("clinic", user="clinic")).close()
    except psycopg.OperationalError:
        return True
    return False


def test_on_a_real_server_it_migrates_and_serves(real_server: str, tmp_path: Path) -> None:
    data_dir = tmp_path / "clinic"
    migrated = polyclinic(
        "migrate", "--json", data_dir=data_dir, environment={"DATABASE_URL": real_server}
    )
    assert migrated.returncode == ExitCode.DONE, migrated.stderr
    with instance_in(data_dir, DATABASE_URL=real_server) as instance:
        assert not (data_dir / "postgres").exists()
        require_serving(instance)
        assert instance.end() == ExitCode.DONE
        assert instance.processes() == []


def require_serving(instance: Instance) -> None:
    api = instance.said["addresses"]["api"]
    headers = {"Authorization": f"Bearer {instance.said['tokens']['superadmin']}"}
    body = {"name": "Real", "country": "ES", "timezone": "Europe/Madrid"}
    made = httpx.post(f"{api}/organizations", json=body, headers=headers)
    assert made.status_code == 201
    headers |= {"X-Organization-Id": made.json()["id"]}
    assert httpx.get(f"{api}/audit", headers=headers).status_code == 200


def test_migrate_check_of_an_empty_server_says_outdated(real_server: str, tmp_path: Path) -> None:
    """Also where the control database is not there yet: the command makes it."""
    done = polyclinic(
        "migrate", "--check", data_dir=tmp_path / "x", environment={"DATABASE_URL": real_server}
    )
    assert done.returncode == ExitCode.OUTDATED
    assert "Traceback" not in done.stderr
