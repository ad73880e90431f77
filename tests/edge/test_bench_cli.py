"""`polyclinic bench` as somebody runs it, with as little load as gives figures.

Nothing here looks at how fast anything is.
"""

import json
import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from polyclinic.bench.datasets import Size
from polyclinic.db.embedded import EmbeddedServer

SMALL = ("--patients", "300", "--organizations", "2", "--seconds", "1", "--rounds", "1")


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "polyclinic", "bench", *SMALL, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench") / "data"


@pytest.fixture(scope="module")
def report(directory: Path) -> dict[str, object]:
    done = bench("--json", "--data-dir", directory)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def figures(report: dict[str, object]) -> dict[tuple[str, str], dict[str, object]]:
    found = report["figures"]
    assert isinstance(found, list)
    return {(figure["group"], figure["name"]): figure for figure in found}


def test_every_target_has_a_figure(report: dict[str, object]) -> None:
    with_target = {key for key, figure in figures(report).items() if figure["target"]}
    assert with_target == {
        ("read a patient", "rate"),
        ("read a patient", "p99"),
        ("first page of 50", "rate"),
        ("page 150 rows down", "rate"),
        ("page 150 rows down", "to the first"),
        ("search by a beginning", "p99"),
        ("a word and a beginning", "p99"),
        ("search with a slip", "p99"),
        ("memory of the API", "RSS"),
    }


def test_what_the_figures_depend_on_is_told(report: dict[str, object]) -> None:
    surroundings = report["surroundings"]
    assert isinstance(surroundings, dict)
    assert surroundings["postgresql"].startswith("18.")
    assert surroundings["cores"] >= 1


def test_misspelt_names_are_found(report: dict[str, object]) -> None:
    found = figures(report)["search with a slip", "found on page 1"]["value"]
    assert isinstance(found, dict)
    assert found["median"] > 80


def test_a_second_run_uses_the_data_and_prints_a_table(
    report: dict[str, object], directory: Path
) -> None:
    before = (directory / "bench.json").read_text()
    done = bench("--only", "read", "--data-dir", directory)
    assert done.returncode == 0, done.stderr
    assert "read a patient" in done.stdout
    assert "seeding" not in done.stderr
    assert (directory / "bench.json").read_text() == before
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_nothing_is_left_running(report: dict[str, object], directory: Path) -> None:
    assert not EmbeddedServer(directory / "postgres").is_running()
    for process in psutil.process_iter(["cmdline", "environ"]):
        environment = process.info["environ"] or {}
        assert environment.get("POLYCLINIC_DATA_DIR") != str(directory)


def test_other_parameters_are_refused(report: dict[str, object], directory: Path) -> None:
    done = bench("--patients", "301", "--data-dir", directory)
    assert done.returncode == 3
    assert "data of other parameters" in " ".join(done.stderr.split())


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "data-keys"
    kept.write_text("precious")
    done = bench("--data-dir", tmp_path)
    assert done.returncode == 3
    assert list(tmp_path.iterdir()) == [kept]


def test_parameters_name_the_schema() -> None:
    assert "schema" in Size(300, 2).parameters()
