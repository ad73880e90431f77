"""What became of every resource. Holds ids, field names and codes; never a person's data."""

from collections import Counter, defaultdict
from enum import StrEnum

from msgspec import Struct

PLACES_PER_REASON = 100
UNREADABLE = "(unreadable)"


class Outcome(StrEnum):
    """One of these for each resource; FLAGGED comes on top of the first two."""

    IMPORTED = "imported"
    ALREADY_THERE = "already_there"
    KEPT = "kept"
    SKIPPED = "skipped"
    REJECTED = "rejected"
    FLAGGED = "flagged"


class Place(Struct, frozen=True):
    """Lines and columns count from 1; None where the whole file is meant."""

    file: str
    line: int | None = None
    column: int | None = None


class Row(Struct, frozen=True, kw_only=True):
    """Resources of one type, by what became of them.

    `already_there`: this record was brought in before, or what it describes is here already.
    `kept`: put aside whole for a part that can hold it. `skipped`: brings nothing in, by its kind.
    `rejected`: should have come in and could not. `flagged`: came in, and a human should look.
    """

    resource_type: str
    imported: int = 0
    already_there: int = 0
    kept: int = 0
    skipped: int = 0
    rejected: int = 0
    flagged: int = 0


class Problem(Struct, frozen=True, kw_only=True):
    """Something to look at, and where: the reference is the resource's own, like 'Patient/12'."""

    outcome: Outcome
    file: str
    line: int | None
    column: int | None
    resource_type: str
    reference: str | None
    reason: str


class Reason(Struct, frozen=True, kw_only=True):
    """How often something was said of resources of a type."""

    outcome: Outcome
    resource_type: str
    reason: str
    count: int


class ImportReport(Struct, frozen=True, kw_only=True):
    """`problems` lists the first hundred places of each reason; `reasons` counts them all."""

    files: int
    rows: list[Row]
    total: Row
    reasons: list[Reason]
    problems: list[Problem]

    @property
    def is_complete(self) -> bool:
        """Whether nothing was rejected."""
        return self.total.rejected == 0


class Tally:
    """Counts while an import runs."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[Outcome]] = defaultdict(Counter)
        self._reasons: Counter[tuple[Outcome, str, str]] = Counter()
        self._problems: list[Problem] = []

    @property
    def resources(self) -> int:
        """How many resources have their outcome."""
        return sum(
            sum(counts.values()) - counts[Outcome.FLAGGED] for counts in self._counts.values()
        )

    def count(self, resource_type: str, outcome: Outcome) -> None:
        self._counts[resource_type][outcome] += 1

    def explain(self, outcome: Outcome, resource_type: str, reason: str) -> int:
        """Count a reason; how often it was given so far."""
        self._reasons[outcome, resource_type, reason] += 1
        return self._reasons[outcome, resource_type, reason]

    def note(
        self,
        outcome: Outcome,
        place: Place,
        reason: str,
        *,
        resource_type: str,
        reference: str | None,
    ) -> None:
        """Add a problem to the list without counting the resource."""
        if self.explain(outcome, resource_type, reason) > PLACES_PER_REASON:
            return
        self._problems.append(
            Problem(
                outcome=outcome,
                file=place.file,
                line=place.line,
                column=place.column,
                resource_type=resource_type,
                reference=reference,
                reason=reason,
            )
        )

    def report(self, *, files: int) -> ImportReport:
        total: Counter[Outcome] = Counter()
        for counts in self._counts.values():
            total.update(counts)
        return ImportReport(
            files=files,
            rows=[_row(kind, self._counts[kind]) for kind in sorted(self._counts)],
            total=_row("total", total),
            reasons=[
                Reason(outcome=outcome, resource_type=kind, reason=reason, count=count)
                for (outcome, kind, reason), count in sorted(self._reasons.items())
            ],
            problems=list(self._problems),
        )


def _row(resource_type: str, counts: Counter[Outcome]) -> Row:
    return Row(
        resource_type=resource_type,
        imported=counts[Outcome.IMPORTED],
        already_there=counts[Outcome.ALREADY_THERE],
        kept=counts[Outcome.KEPT],
        skipped=counts[Outcome.SKIPPED],
        rejected=counts[Outcome.REJECTED],
        flagged=counts[Outcome.FLAGGED],
    )
