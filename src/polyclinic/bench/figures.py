"""Figures of several rounds, and the lines of the report that they make."""

from collections.abc import Iterable
from statistics import median
from typing import Literal, Self

import msgspec

Unit = Literal["requests/s", "ms", "MB", "us", "%"]


class Spread(msgspec.Struct, frozen=True):
    """The median of the rounds, and the least and greatest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        found = list(values)
        return cls(median(found), min(found), max(found))


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line: what was measured, beside its limit; `group` names the work that was done.

    `limit` is what `limit_of` reached with the same work in the same rounds, `ratio` the median of
    the rounds' ratios; `target` in words, `is_met` None where there is none.
    """

    group: str
    name: str
    unit: Unit
    value: Spread
    limit: Spread | None = None
    limit_of: str = ""
    ratio: Spread | None = None
    target: str = ""
    is_met: bool | None = None


def ratios(values: list[float], limits: list[float]) -> Spread:
    """Round by round, so that what slows a whole round down cancels out."""
    return Spread.of(value / limit for value, limit in zip(values, limits, strict=True))
