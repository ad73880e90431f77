"""The `polyclinic` command: what it prints where, and what its exit status says."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from polyclinic.cli import main
from polyclinic.cli.exit_codes import ExitCode
from polyclinic.settings import Settings
from tests.drill.instance import COMMAND

PLACE = ("--country", "ES", "--timezone", "Europe/Madrid")


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process, on the session's instance; a traceback fails the test."""

    def run(*arguments: str, data_dir: Path = settings.data_dir, **environment: str) -> Done:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["polyclinic", *arguments])
            for name, value in {**environment, "POLYCLINIC_DATA_DIR": str(data_dir)}.items():
                patch.setenv(name, value)
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main.run()
        said = capsys.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def organization_id(run: Run) -> str:
    return run("organization", "create", "--name", "Clinic", *PLACE).stdout.strip()


def require_refusal(done: Done, code: ExitCode, *words: str) -> None:
    """The status, one line on standard error with these words, nothing on standard output."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    line = done.stderr.strip()
    assert line.startswith("polyclinic: ")
    assert "\n" not in line, "a message is one line, for those who search logs"
    for word in words:
        assert word in line


def test_create_prints_the_new_id_alone(run: Run) -> None:
    done = run("organization", "create", "--name", "Clínica Ñandú", *PLACE)
    assert done.returncode == ExitCode.DONE
    assert done.stdout == f"{UUID(done.stdout.strip())}\n"
    assert done.stderr == ""


def test_create_and_list_speak_json(run: Run) -> None:
    made = json.loads(run("organization", "create", "--name", "Clínica", *PLACE, "--json").stdout)
    assert (made["name"], made["country"], made["timezone"]) == ("Clínica", "ES", "Europe/Madrid")
    listed = json.loads(run("organization", "list", "--json").stdout)
    assert made in listed
    assert made["id"] in run("organization", "list").stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--name", "X", "--country", "Spain", "--timezone", "UTC"), ("--country", "ES")),
        (("--name", "X", "--country", "ES", "--timezone", "Mars/Base"), ("Mars/Base",)),
        (("--name", "X", "--country", "ES", "--timezone", "../etc/passwd"), ("time",)),
        (("--name", " ", "--country", "ES", "--timezone", "UTC"), ("--name",)),
        (("--name", "x" * 201, "--country", "ES", "--timezone", "UTC"), ("--name", "200")),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(
    run: Run, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    require_refusal(run("organization", "create", *options), ExitCode.REFUSED, *words)


@pytest.mark.parametrize("role", ["superadmin", "admin", "doctor", "receptionist", "patient"])
def test_token_prints_the_token_alone(run: Run, organization_id: str, role: str) -> None:
    done = run("token", "--organization", organization_id, "--role", role)
    assert done.returncode == ExitCode.DONE
    assert done.stderr == ""
    assert len(done.stdout.split()) == 1
    assert done.stdout.count(".") == 2
    assert done.stdout.endswith("\n")


def test_token_speaks_json(run: Run, organization_id: str) -> None:
    done = run("token", "--organization", organization_id, "--role", "doctor", "--json")
    said = json.loads(done.stdout)
    assert (said["role"], said["organization"]) == ("doctor", organization_id)


def test_token_is_refused_beside_a_real_issuer(run: Run, organization_id: str) -> None:
    done = run(
        *("token", "--organization", organization_id, "--role", "doctor"),
        POLYCLINIC_OIDC_ISSUER="https://issuer.example",
        POLYCLINIC_OIDC_AUDIENCE="polyclinic",
    )
    require_refusal(done, ExitCode.REFUSED, "issuer.example")


@pytest.mark.parametrize(
    "arguments",
    [
        ("token", "--role", "doctor", "--organization"),
        ("import", "fhir", ".", "--organization"),
    ],
)
def test_an_unknown_organization_is_refused(run: Run, arguments: tuple[str, ...]) -> None:
    unknown = str(uuid4())
    require_refusal(run(*arguments, unknown), ExitCode.REFUSED, unknown)


def test_a_branch_of_nobody_is_refused(run: Run, organization_id: str) -> None:
    unknown = str(uuid4())
    done = run("token", "--role", "doctor", "--organization", organization_id, "--branch", unknown)
    require_refusal(done, ExitCode.REFUSED)


def test_a_token_for_a_doctor_needs_an_organization(run: Run) -> None:
    require_refusal(run("token", "--role", "doctor"), ExitCode.REFUSED, "--organization")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("token",),
        ("token", "--role", "king"),
        ("organization", "create", "--name", "X"),
        ("organization", "list", "--nonsense"),
        ("import", "fhir", "--organization", "no-uuid", "x"),
        ("seed", "--patients", "0"),
        ("up", "--port", "70000"),
        ("up", "--workers", "0"),
        ("migrate", "--check=maybe"),
    ],
)
def test_a_wrong_command_line_is_2_and_says_what_is_wrong(
    run: Run, arguments: tuple[str, ...]
) -> None:
    done = run(*arguments)
    assert done.returncode == ExitCode.USAGE
    assert done.stdout == ""
    assert done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("token", "--role", "superadmin"),
        ("organization", "list"),
        ("organization", "create", "--name", "X", *PLACE),
        ("seed", "--patients", "5"),
        ("migrate",),
        ("migrate", "--check"),
        ("keys", "rotate"),
        ("superadmin", "add", "somebody"),
        ("import", "fhir", ".", "--organization", str(uuid4())),
    ],
)
def test_without_an_instance_it_is_a_fault_that_says_how_to_start_one(
    run: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = run(*arguments, data_dir=tmp_path / "nothing")
    require_refusal(done, ExitCode.FAULT, "polyclinic up", str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    "command", [("organization", "list"), ("migrate", "--check"), ("migrate",), ("keys", "rotate")]
)
def test_a_server_that_cannot_be_reached_is_a_fault_and_no_traceback(
    run: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    url = "postgresql://me:secret@127.0.0.1:1/clinic"
    done = run(*command, data_dir=tmp_path, DATABASE_URL=url)
    require_refusal(done, ExitCode.FAULT)
    assert "secret" not in done.stderr


def test_a_setting_that_cannot_be_is_a_message_and_no_traceback(run: Run) -> None:
    done = run("organization", "list", POLYCLINIC_POOL_SIZE="many")
    assert done.returncode != ExitCode.DONE
    assert "pool_size" in done.stderr.lower()


def test_migrate_check_of_what_is_current_is_0(run: Run) -> None:
    done = run("migrate", "--check", "--json")
    assert done.returncode == ExitCode.DONE
    assert {row["database"] for row in json.loads(done.stdout)} == {"control", "shard"}
    assert all(row["now"] == row["wanted"] for row in json.loads(done.stdout))


def test_migrate_again_changes_nothing(run: Run) -> None:
    steps = json.loads(run("migrate", "--json").stdout)
    assert all(step["before"] == step["now"] == step["wanted"] for step in steps)


def test_an_import_with_a_rejected_line_is_done_in_part(
    run: Run, organization_id: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.ndjson"
    ana = '{"resourceType": "Patient", "id": "1", "name": [{"text": "Ana Gil"}]}'
    file.write_text(f"{ana}\nnot json\n")
    arguments = ("import", "fhir", str(file), "--organization", organization_id)
    done = run(*arguments, "--json")
    assert done.returncode == ExitCode.PARTIAL
    said = json.loads(done.stdout)
    assert (said["total"]["imported"], said["total"]["rejected"]) == (1, 1)
    assert said["problems"][0]["line"] == 2
    shown = run(*arguments)
    assert shown.returncode == ExitCode.PARTIAL
    assert f"{file}:2" in shown.stdout.replace("\n", "")
    file.write_text(ana)
    assert run(*arguments).returncode == ExitCode.DONE


def test_an_import_of_nothing_there_is_refused(run: Run, organization_id: str) -> None:
    done = run("import", "fhir", "/nowhere.json", "--organization", organization_id)
    require_refusal(done, ExitCode.REFUSED, "/nowhere.json")


def test_seed_speaks_json_and_repeating_it_adds_nothing(run: Run) -> None:
    arguments = ("seed", "--patients", "20", "--organizations", "2", "--seed", "77", "--json")
    first, second = (json.loads(run(*arguments).stdout)["summary"] for _ in range(2))
    assert (first["patients"], first["added"], second["added"]) == (20, 20, 0)
    assert first["organizations"] == second["organizations"]


@pytest.mark.parametrize(
    "arguments", [("organization", "list"), ("organization", "list", "--json")]
)
def test_a_reader_that_leaves_gets_no_traceback(
    settings: Settings, organization_id: str, arguments: tuple[str, ...]
) -> None:
    with subprocess.Popen(
        [*COMMAND, *arguments, "--data-dir", str(settings.data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        status = process.wait(30)
    assert said == ""
    assert status in (ExitCode.DONE, ExitCode.FAULT)


@pytest.mark.parametrize(
    "command",
    ["up", "api", "token", "seed", "migrate", "bench", "keys rotate", "import fhir"],
)
def test_every_command_has_help(run: Run, command: str) -> None:
    done = run(*command.split(), "--help")
    assert done.returncode == ExitCode.DONE
    assert f"Usage: polyclinic {command}" in done.stdout
