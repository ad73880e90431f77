"""Is this the same person? Pure rules over what a clinic was told and what is known.

Families share phones, so a phone alone is no identity. Who holds the same phone or e-mail is
  the same     with the same date of birth and a like name,
  unclear      where only one of the two agrees and the other may be a slip (twins, a father and
               son of one name, a mistyped day), or a date of birth is missing,
  another      otherwise: a mother and her child.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from uuid import UUID

from polyclinic.core.names import is_like, likeness

SAME_NAME = 0.97


class Verdict(StrEnum):
    SAME = "same"
    UNCLEAR = "unclear"
    ANOTHER = "another"


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """Somebody who holds the phone or e-mail that was given."""

    id: UUID
    name: str
    date_of_birth: date | None
    by_phone: bool
    by_email: bool


def judge(known: KnownPerson, *, name: str, date_of_birth: date | None) -> Verdict:
    """Whether `known`, who shares a phone or e-mail, is the person described."""
    if known.date_of_birth is None or date_of_birth is None:
        return Verdict.UNCLEAR if is_like(known.name, name) else Verdict.ANOTHER
    if known.date_of_birth == date_of_birth:
        return Verdict.SAME if is_like(known.name, name) else Verdict.UNCLEAR
    if likeness(known.name, name) >= SAME_NAME:
        return Verdict.UNCLEAR
    if is_slip(known.date_of_birth, date_of_birth) and is_like(known.name, name):
        return Verdict.UNCLEAR
    return Verdict.ANOTHER


def is_slip(a: date, b: date) -> bool:
    """Whether one date may be the other mistyped: one part differs, or day and month are swapped."""
    differing = (a.year != b.year) + (a.month != b.month) + (a.day != b.day)
    return differing == 1 or (a.year == b.year and (a.month, a.day) == (b.day, b.month))
