"""How often names are found and matched on real names, as floors a little below what was measured.

Found means: each word typed is the start of a stored token or sounds like one (`heard`), or else
is one slip (4 to 6 letters) or two (7 and more) away from one (`found`). The rules were made with
these names in view, so the figures for the smaller scripts say "still works" more than "generally".
"""

import csv
import itertools
import random
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from polyclinic.core import names

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
CHINESE_CHARACTERS = {"CN": "Han", "TW": "Han", "JP": "Kanji", "KR": "Hanja", "VN": "Hán tự"}


def rows(path: str) -> Iterator[dict[str, str]]:
    source = DATA / path
    if not source.exists():
        pytest.skip(f"needs ../shared/data/{path}")
    with source.open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines, skipinitialspace=True)


@dataclass(frozen=True, slots=True)
class Pair:
    script: str
    local: str
    romanised: str


@cache
def pairs() -> tuple[Pair, ...]:
    found = []
    for kind in ("forenames", "surnames"):
        for row in rows(f"names-by-country/common-{kind}-by-country.csv"):
            local = row["Localized Name"].strip()
            spellings = [s.strip() for s in row["Romanized Name"].split("/")]
            script = script_of(local, row["Country"])
            found += [Pair(script, local, s) for s in spellings if local and s]
    return tuple(found)


def script_of(name: str, country: str) -> str:
    letter = next((c for c in name if c.isalpha() and not c.isascii()), "a")
    script = unicodedata.name(letter).split()[0].title()
    if script == "Cjk":
        return CHINESE_CHARACTERS.get(country, "Han")
    return "ASCII" if letter == "a" else script


def is_heard(typed: str, stored: tuple[str, ...]) -> bool:
    key = names.sound_key(typed)
    return any(t.startswith(typed) or names.sound_key(t) == key for t in stored)


def is_near(typed: str, stored: tuple[str, ...]) -> bool:
    allowed = 0 if len(typed) < 4 else 1 if len(typed) < 7 else 2
    return any(names._slips(typed, t) <= allowed for t in stored)


@pytest.mark.parametrize(
    ("script", "heard_floor", "found_floor"),
    [
        ("ASCII", 0.99, 0.99),
        ("Latin", 0.95, 0.95),
        ("Cyrillic", 0.95, 0.96),
        ("Greek", 1.0, 1.0),
        ("Armenian", 1.0, 1.0),
        ("Arabic", 0.95, 0.95),
        ("Devanagari", 0.90, 0.96),
        ("Bengali", 0.83, 0.83),
        ("Khmer", 0.83, 0.83),
        ("Hangul", 0.97, 0.97),
        ("Hiragana", 1.0, 1.0),
        ("Han", 0.97, 0.97),
        ("Hanja", 0.83, 0.83),
        ("Hán tự", 0.86, 0.86),
        ("Kanji", 0.68, 0.70),
    ],
)
def test_a_romanised_name_finds_the_local_one(
    script: str, heard_floor: float, found_floor: float
) -> None:
    heard = found = total = 0
    for pair in (p for p in pairs() if p.script == script):
        stored = names.search_tokens(pair.local)
        words = names.query_tokens(pair.romanised)
        heard += all(is_heard(word, stored) for word in words)
        found += all(is_heard(word, stored) or is_near(word, stored) for word in words)
        total += 1
    print(f"{script}: {total} pairs, heard {heard / total:.3f}, found {found / total:.3f}")
    assert heard / total >= heard_floor
    assert found / total >= found_floor


def test_every_script_of_the_data_has_a_floor() -> None:
    marks = test_a_romanised_name_finds_the_local_one.pytestmark  # type: ignore[attr-defined]
    assert {p.script for p in pairs()} == {case[0] for case in marks[0].args[1]}


def test_few_different_names_share_a_sound() -> None:
    words = {w for p in pairs() for n in (p.local, p.romanised) for w in names.query_tokens(n)}
    by_key: dict[str, set[str]] = defaultdict(set)
    for word in words:
        by_key[names.sound_key(word)].add(word)
    shared = sum(len(same) ** 2 for same in by_key.values()) / len(words)
    print(f"{len(words)} names, {len(by_key)} keys, {shared:.2f} names for a typed one")
    assert shared < 4.5
    assert max(map(len, by_key.values())) <= 30


@cache
def people(file: str) -> dict[str, list[tuple[str, str]]]:
    """Given name and surname of each FEBRL record that has both, by person."""
    found = defaultdict(list)
    for row in rows(f"febrl/{file}"):
        if row["given_name"] and row["surname"]:
            found[row["rec_id"].split("-")[1]].append((row["given_name"], row["surname"]))
    return dict(found)


def rate(chosen: list[tuple[tuple[str, str], tuple[str, str]]]) -> float:
    return sum(names.is_like(" ".join(a), " ".join(b)) for a, b in chosen) / len(chosen)


# A fifth of the pairs of dataset3 have a likeness under 0.45: another given name or surname.
@pytest.mark.parametrize(("file", "floor"), [("dataset1.csv", 0.82), ("dataset3.csv", 0.74)])
def test_two_records_of_one_person_have_like_names(file: str, floor: float) -> None:
    same = [p for records in people(file).values() for p in itertools.combinations(records, 2)]
    assert rate(same) >= floor


@pytest.mark.parametrize("file", ["dataset1.csv", "dataset3.csv"])
def test_two_people_drawn_at_random_have_no_like_names(file: str) -> None:
    draw = random.Random(1)
    everyone = list(people(file).values())
    drawn = (draw.sample(everyone, 2) for _ in range(10_000))
    assert rate([(draw.choice(a), draw.choice(b)) for a, b in drawn]) <= 0.0005


@pytest.mark.parametrize(("file", "ceiling"), [("dataset1.csv", 0.006), ("dataset3.csv", 0.005)])
def test_two_people_of_one_surname_seldom_have_like_names(file: str, ceiling: float) -> None:
    by_surname: dict[str, list[tuple[str, tuple[str, str]]]] = defaultdict(list)
    for person, records in people(file).items():
        for record in records:
            by_surname[record[1]].append((person, record))
    families = [
        (a, b)
        for members in by_surname.values()
        for (person, a), (other, b) in itertools.combinations(members, 2)
        if person != other and a != b
    ]
    assert rate(families) <= ceiling
