"""Rounds made into figures, and what is typed in a search."""

from random import Random

import pytest

from polyclinic.bench.datasets import Size
from polyclinic.bench.errors import BenchFailed
from polyclinic.bench.figures import Spread, ratios
from polyclinic.bench.pgbench import _parsed, one_of
from polyclinic.bench.typing_errors import beginning, misspelt
from polyclinic.core.ids import new_id
from polyclinic.core.names import normal_form

NAMES = ["María López García", "O'Brien", "Анна Иванова", "محمد حسن", "李伟", "Li", "🙂", "-"]


def test_a_spread_is_the_median_and_the_ends() -> None:
    assert Spread.of([3, 1, 2, 10]) == Spread(median=2.5, low=1, high=10)


def test_a_ratio_is_taken_round_by_round() -> None:
    """A round in which the machine is half as fast halves both, and the ratio stays."""
    assert ratios([50, 25, 55], [100, 50, 100]) == Spread(median=0.5, low=0.5, high=0.55)


@pytest.mark.parametrize("name", NAMES)
def test_a_beginning_begins_a_word_of_the_name(name: str) -> None:
    for seed in range(50):
        typed = beginning(name, Random(seed))
        words = normal_form(name).split() or [name]
        assert typed
        assert all(any(word.startswith(part) for word in words) for part in typed.split())


@pytest.mark.parametrize("name", NAMES)
def test_a_misspelt_name_is_typed_and_the_same_for_the_same_seed(name: str) -> None:
    for seed in range(50):
        typed = misspelt(name, Random(seed))
        assert typed == misspelt(name, Random(seed))
        assert typed.strip()


def test_a_misspelt_name_keeps_its_other_words() -> None:
    typed = misspelt("María López García", Random(3)).split()
    assert {"maria", "lopez"} < set(typed)
    assert "garcia" not in typed


def test_what_pgbench_says_is_read() -> None:
    said = "latency average = 5.812 ms\ntps = 11012.345678 (without initial connection time)\n"
    run = _parsed(said)
    assert (run.tps, run.mean_ms) == (11012.345678, 5.812)


def test_a_pgbench_that_did_nothing_is_a_failure() -> None:
    with pytest.raises(BenchFailed):
        _parsed("number of transactions actually processed: 0\n")


def test_an_id_is_chosen_in_the_statement_itself() -> None:
    first, second = new_id(), new_id()
    assert one_of([first, second]) == f"('{{{first},{second}}}'::uuid[])[:n]"


def test_parameters_tell_directories_apart() -> None:
    assert Size(400, 2).parameters() == Size(400, 2).parameters()
    assert Size(400, 2).parameters() != Size(400, 3).parameters()
