"""Names of invented people, in thirteen languages, as frequent as names are: a few very, most hardly.

`names.toml` holds them; what it lacks in number is joined from stems and endings.
"""

import tomllib
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import accumulate
from random import Random
from typing import Literal

import msgspec

Gender = Literal["female", "male"]

# Zipf's law, flattened at the head (Mandelbrot): the most common surname of a thousand is borne by
# some 4 %, the rarest by one in five thousand.
_FLATTENING = 4


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One language of `names.toml`, which explains its fields."""

    female: str
    male: str
    family: str
    family_stems: str = ""
    family_endings: str = ""
    given_stems: str = ""
    given_endings: str = ""
    feminine: list[tuple[str, str]] = []
    surnames: int = 1
    family_first: bool = False
    blank: str = " "


class Pool:
    """Names to draw from, most common first."""

    __slots__ = ("_bounds", "names")

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._bounds = list(accumulate(1 / (rank + _FLATTENING) for rank in range(len(names))))

    def draw(self, random: Random) -> str:
        return self.names[bisect(self._bounds, random.random() * self._bounds[-1])]


@dataclass(frozen=True, slots=True)
class Language:
    """Names of one language, and how they are put together."""

    given: dict[Gender, Pool]
    family: Pool
    entry: _Entry

    def family_name(self, random: Random) -> str:
        """What a household shares, in its masculine form where there are two."""
        return " ".join(self.family.draw(random) for _ in range(self.entry.surnames))

    def full_name(self, random: Random, gender: Gender, family: str) -> str:
        """A given name with the household's surname, written as this language does."""
        given = self.given[gender].draw(random)
        if gender == "female":
            family = self._feminine(family)
        first, second = (family, given) if self.entry.family_first else (given, family)
        return first + self.entry.blank + second

    def _feminine(self, family: str) -> str:
        for masculine, feminine in self.entry.feminine:
            if family.endswith(masculine):
                return family.removesuffix(masculine) + feminine
        return family


@cache
def languages() -> dict[str, Language]:
    """Every language by its ISO 639-1 code."""
    text = files("polyclinic.demo").joinpath("names.toml").read_text("utf-8")
    entries = msgspec.convert(tomllib.loads(text), dict[str, _Entry])
    return {code: _language(entry) for code, entry in entries.items()}


def _language(entry: _Entry) -> Language:
    rare_given = _joined(entry.given_stems, entry.given_endings)
    return Language(
        given={
            "female": Pool(_distinct(entry.female, rare_given)),
            "male": Pool(_distinct(entry.male, rare_given)),
        },
        family=Pool(_distinct(entry.family, _joined(entry.family_stems, entry.family_endings))),
        entry=entry,
    )


def _distinct(common: str, rare: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([name.replace("_", " ") for name in common.split()] + rare))


def _joined(stems: str, endings: str) -> list[str]:
    """Every stem with every ending, in an order in which neither comes in blocks."""
    heads, tails = stems.split(), endings.split()
    return [
        head + tails[(place + turn) % len(tails)]
        for turn in range(len(tails))
        for place, head in enumerate(heads)
    ]
