"""The embedded server as its supervisor, an operator and a crash see it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import psycopg
import pytest

from polyclinic.db.embedded import (
    AlreadyRunning,
    EmbeddedServer,
    NotRunning,
    ServerSettings,
    StartFailed,
)
from polyclinic.db.postgres_user import ForeignDirectory, ServerUser, socket_directory

SMALL = ServerSettings(shared_buffers_mib=16, max_connections=20, extra={"work_mem": "5MB"})
SUPERVISOR = """
import sys
from pathlib import Path
from polyclinic.db.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""
as_root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root switches the OS user")

MakeServer = Callable[..., EmbeddedServer]


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[MakeServer]:
    made: list[EmbeddedServer] = []

    def make(name: str = "clinic", settings: ServerSettings = SMALL) -> EmbeddedServer:
        made.append(EmbeddedServer(tmp_path / name, settings))
        return made[-1]

    yield make
    for server in reversed(made):
        server.kill()
        server.remove()


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path_factory.mktemp("shared") / "clinic", SMALL)
    yield server
    server.kill()
    server.remove()


@pytest.fixture
def server(clinic: EmbeddedServer) -> EmbeddedServer:
    """A running server that a test may stop and kill; its tables stay."""
    clinic.start()
    return clinic


@pytest.fixture
def stopped(clinic: EmbeddedServer) -> EmbeddedServer:
    clinic.start()
    clinic.stop()
    return clinic


@contextmanager
def supervisor(directory: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that has started the server, and the server's process id."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def run(server: EmbeddedServer, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_starts_from_nothing_and_a_second_start_keeps_the_data(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    run(server, "CREATE TABLE visit AS SELECT 7 AS id")
    first = server.pid
    server.start()
    assert server.pid == first
    server.stop()
    server.stop()
    assert not server.is_running()
    assert server.pid is None
    server.start()
    assert run(server, "SELECT id FROM visit") == [(7,)]


def test_context_manager_runs_the_server_for_its_block(stopped: EmbeddedServer) -> None:
    with stopped as server:
        assert server.is_running()
    assert not server.is_running()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("data_checksums", "on"),
        ("wal_level", "logical"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
        ("shared_preload_libraries", "pg_stat_statements"),
        ("max_connections", "20"),
        ("work_mem", "5MB"),
    ],
)
def test_settings_hold(server: EmbeddedServer, name: str, value: str) -> None:
    assert run(server, f"SELECT current_setting('{name}')") == [(value,)]


def test_trigrams_know_the_letters_of_every_script(server: EmbeddedServer) -> None:
    run(server, "CREATE EXTENSION pg_trgm")
    assert run(server, "SELECT cardinality(show_trgm('Иван')) > 0") == [(True,)]


def test_socket_is_closed_to_other_users(server: EmbeddedServer) -> None:
    directory = Path(str(psycopg.conninfo.conninfo_to_dict(server.dsn())["host"]))
    assert directory.stat().st_mode & 0o777 == 0o700
    assert directory.stat().st_uid == ServerUser.current().uid


def test_server_does_not_receive_the_terminals_interrupt(server: EmbeddedServer) -> None:
    assert server.pid is not None
    assert os.getsid(server.pid) != os.getsid(0)


def test_a_bad_setting_is_refused_with_the_servers_own_words(stopped: EmbeddedServer) -> None:
    bad = EmbeddedServer(stopped.directory, ServerSettings(extra={"work_mem": "much"}))
    with pytest.raises(StartFailed, match='invalid value for parameter "work_mem"'):
        bad.start()
    stopped.start()
    assert stopped.is_running()


def test_acknowledged_rows_survive_kill_9(server: EmbeddedServer) -> None:
    run(server, "CREATE TABLE survivor AS SELECT 7 AS id")
    server.kill()
    assert not server.is_running()
    server.start()
    assert run(server, "SELECT id FROM survivor") == [(7,)]


def test_pid_file_that_names_an_unrelated_process_is_recovered_from(
    server: EmbeddedServer,
) -> None:
    server.kill()
    pid_file = server.directory / "data" / "postmaster.pid"
    stranger = subprocess.Popen(["sleep", "60"], **ServerUser.current().process_options())
    try:
        _, *rest = pid_file.read_text().splitlines(keepends=True)
        pid_file.write_text(f"{stranger.pid}\n{''.join(rest)}")
        assert not server.is_running()
        server.start()
        assert server.pid != stranger.pid
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_orphans_of_a_killed_server_are_waited_for(server: EmbeddedServer) -> None:
    with psycopg.connect(server.dsn()) as connection, suppress(psycopg.OperationalError):
        orphan = connection.info.backend_pid
        postmaster = server.pid
        assert postmaster is not None
        os.kill(orphan, signal.SIGSTOP)
        os.kill(postmaster, signal.SIGKILL)
        os.waitid(os.P_PID, postmaster, os.WEXITED | os.WNOWAIT)
        try:
            with pytest.raises(StartFailed, match=rf"\b{orphan}\b"):
                server.start(timeout_s=0.3)
        finally:
            os.kill(orphan, signal.SIGCONT)
        server.start()
        assert run(server, "SELECT 1") == [(1,)]
        connection.execute("SELECT 'the old connection is gone'")


@pytest.mark.parametrize("name", ["x" * 120, "with space, comma 'quote' \"and\" ü"])
async def test_paths_that_no_socket_could_have_work(make_server: MakeServer, name: str) -> None:
    server = make_server(name)
    server.start()
    assert run(server, "SELECT 1") == [(1,)]
    connection = await asyncpg.connect(server.dsn())
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    assert run(EmbeddedServer.attach(server.directory), "SELECT 1") == [(1,)]


def test_socket_lies_beside_the_data_unless_its_path_is_unusable() -> None:
    user = ServerUser.current()
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o755)
        for name, is_near in (("clinic", True), ("x" * 120, False), ("a,b", False)):
            directory = Path(base).resolve() / name
            directory.mkdir()
            chosen = socket_directory(directory, user)
            assert (chosen == directory / "socket") is is_near
            assert len(bytes(chosen)) < 90


def test_socket_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    user = ServerUser.current()
    (tmp_path / "open").mkdir(mode=0o755)
    user.give(tmp_path / "open")
    (tmp_path / "link").symlink_to(user.private_directory(tmp_path / "own"))
    for name in ("open", "link"):
        with pytest.raises(ForeignDirectory, match="mode 0700"):
            user.private_directory(tmp_path / name)


def test_attach_needs_a_running_server(server: EmbeddedServer, tmp_path: Path) -> None:
    attached = EmbeddedServer.attach(server.directory)
    assert attached.pid == server.pid
    assert run(attached, "SELECT 1") == [(1,)]
    server.kill()
    for directory in (server.directory, tmp_path / "never-started"):
        with pytest.raises(NotRunning, match="polyclinic up"):
            EmbeddedServer.attach(directory)


def test_second_supervisor_is_refused_and_told_who_is_first(stopped: EmbeddedServer) -> None:
    with supervisor(stopped.directory) as (first, pid):
        for refused in (stopped.start, stopped.stop):
            with pytest.raises(AlreadyRunning, match=str(first.pid)) as caught:
                refused()
            assert caught.value.pid == first.pid
        assert EmbeddedServer.attach(stopped.directory).pid == pid


def test_server_outlives_its_supervisor_and_is_adopted(server: EmbeddedServer) -> None:
    server.stop()
    with supervisor(server.directory) as (first, pid):
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        written = (server.directory / "data" / "polyclinic.conf").stat().st_mtime_ns
        server.start()
        assert server.pid == pid
        assert (server.directory / "data" / "polyclinic.conf").stat().st_mtime_ns == written
        assert run(server, "SELECT 1") == [(1,)]
        server.stop()
        assert not server.is_running()


def test_half_made_data_directory_is_made_anew(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    server.stop()
    data = (server.directory / "data").resolve()
    data.rename(data.with_name(f"{data.name}.new"))
    server.start()
    assert run(server, "SELECT 1") == [(1,)]
    assert not data.with_name(f"{data.name}.new").exists()


def test_replica_streams_a_row(make_server: MakeServer) -> None:
    extra = {"synchronous_standby_names": "*"}
    primary = make_server(settings=ServerSettings(shared_buffers_mib=16, extra=extra))
    primary.start()
    make_server("replica")
    replica = primary.base_backup_to(primary.directory.with_name("replica"), slot="replica_1")
    with replica:
        run(primary, "SET synchronous_commit = local; CREATE TABLE visit (id int)")
        # remote_apply: the statement returns when the replica shows the row.
        run(primary, "SET synchronous_commit = remote_apply; INSERT INTO visit VALUES (7)")
        assert run(replica, "SELECT id, pg_is_in_recovery() FROM visit") == [(7, True)]
        slots = run(primary, "SELECT slot_name, active FROM pg_replication_slots")
        assert slots == [("replica_1", True)]


def test_log_holds_nothing_of_a_failing_statement(server: EmbeddedServer) -> None:
    run(server, "CREATE TABLE patient (name text PRIMARY KEY)")
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        for statement in (
            "SELECT 'Secret'::int",
            "SELECT Secret",
            "INSERT INTO patient VALUES ('Secret'), ('Secret')",
            "DO $$ BEGIN RAISE EXCEPTION 'Secret'; END $$",
        ):
            with pytest.raises(psycopg.Error, match=r"(?i)secret"):
                connection.execute(statement.encode())
        with pytest.raises(psycopg.Error, match="Secret"):
            connection.execute("SELECT %s::text::int", ["Secret"])
    server.stop()
    log = server.log.read_text()
    assert "database system is shut down" in log
    assert "secret" not in log.lower()


@as_root_only
def test_directory_closed_to_others_stays_closed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    modes = {path: path.stat().st_mode for path in (closed, *closed.parents)}
    server = EmbeddedServer(closed / "clinic", SMALL)
    try:
        server.start()
        assert run(server, "SELECT 1") == [(1,)]
        assert (server.directory / "data").is_symlink()
        assert (server.directory / "data").resolve().stat().st_uid == ServerUser.current().uid
        assert {path: path.stat().st_mode for path in modes} == modes
    finally:
        server.remove()


@as_root_only
def test_data_of_an_earlier_instance_is_not_reused_silently(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    server.stop()
    link = server.directory / "data"
    data = link.resolve()
    link.unlink()
    try:
        with pytest.raises(ForeignDirectory, match=f"ln -s {data}"):
            EmbeddedServer(server.directory, SMALL).start()
    finally:
        shutil.rmtree(data)


@as_root_only
def test_data_directory_of_another_user_is_refused_with_advice(make_server: MakeServer) -> None:
    server = make_server()
    (server.directory / "data").mkdir(parents=True)
    with pytest.raises(ForeignDirectory, match=r"belongs to user root.*chown -R polyclinic"):
        server.start()
