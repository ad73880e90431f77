"""The API and pgbench at the same work, turn by turn."""

from collections.abc import Callable
from dataclasses import dataclass, field

from polyclinic.bench.client import SLOW_MS, Shot
from polyclinic.bench.errors import BenchFailed
from polyclinic.bench.figures import Figure, Spread, Unit, ratios
from polyclinic.bench.load import LoadGenerator, LoadRun
from polyclinic.bench.pgbench import Pgbench, PgbenchRun

CONNECTIONS = 64
PGBENCH = "pgbench"


@dataclass(frozen=True, slots=True)
class Tools:
    """What every measurement uses. `say` tells somebody who waits what is being done."""

    load: LoadGenerator
    pgbench: Pgbench
    rounds: int
    seconds: float
    say: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Contest:
    """The requests, and the pgbench script of the same statement with the same arguments."""

    name: str
    shots: list[Shot]
    script: str
    connections: int = CONNECTIONS


@dataclass(slots=True)
class Outcome:
    """A contest's rounds."""

    contest: Contest
    loads: list[LoadRun] = field(default_factory=list)
    limits: list[PgbenchRun] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        return [run.rate for run in self.loads]

    def ratio(self) -> Spread:
        return ratios(self.rates, [run.tps for run in self.limits])

    def rate(self, *, target: str = "", is_met: bool | None = None) -> Figure:
        """Requests a second beside pgbench's transactions."""
        return Figure(
            group=self.contest.name,
            name="rate",
            unit="requests/s",
            value=Spread.of(self.rates),
            limit=Spread.of(run.tps for run in self.limits),
            limit_of=PGBENCH,
            ratio=self.ratio(),
            target=target,
            is_met=is_met,
        )

    def typical(self) -> Figure:
        """The median latency beside pgbench's mean, which is all that pgbench tells."""
        return Figure(
            group=self.contest.name,
            name="p50",
            unit="ms",
            value=Spread.of(run.tally.p50_ms for run in self.loads),
            limit=Spread.of(run.mean_ms for run in self.limits),
            limit_of=f"{PGBENCH}, mean",
        )

    def slowest(self, *, below_ms: float | None = None) -> Figure:
        """The latency that one request in a hundred exceeds."""
        value = Spread.of(run.tally.p99_ms for run in self.loads)
        return Figure(
            group=self.contest.name,
            name="p99",
            unit="ms",
            value=value,
            target="" if below_ms is None else f"< {below_ms:g} ms",
            is_met=None if below_ms is None else value.median < below_ms,
        )

    def slow(self) -> Figure:
        """The part of the answers that took longer than 20 ms, beside pgbench's: what of a missed
        p99 is the machine's."""
        return Figure(
            group=self.contest.name,
            name=f"over {SLOW_MS} ms",
            unit="%",
            value=Spread.of(run.tally.slow_share * 100 for run in self.loads),
            limit=Spread.of(run.slow_share * 100 for run in self.limits),
            limit_of=PGBENCH,
        )

    def costs(self) -> list[Figure]:
        """Processor time for each request by process, and how busy the load client was."""
        parts: list[tuple[str, Unit, list[float]]] = [
            ("CPU, API", "us", [run.cost.api for run in self.loads]),
            ("CPU, server", "us", [run.cost.postgres for run in self.loads]),
            ("CPU, client", "us", [run.cost.client for run in self.loads]),
            ("client's core", "%", [run.client_share * 100 for run in self.loads]),
        ]
        return [
            Figure(group=self.contest.name, name=name, unit=unit, value=Spread.of(values))
            for name, unit, values in parts
        ]


def compete(tools: Tools, contests: list[Contest]) -> list[Outcome]:
    """Every contest in every round; who begins changes from round to round.

    Raises `BenchFailed` when an answer was not the one asked for.
    """
    outcomes = [Outcome(contest) for contest in contests]
    for place in range(tools.rounds):
        for outcome in outcomes:
            tools.say(f"{outcome.contest.name}: round {place + 1} of {tools.rounds}")
            turns = (_load, _limit) if place % 2 else (_limit, _load)
            for turn in turns:
                turn(tools, outcome)
    return outcomes


def _load(tools: Tools, outcome: Outcome) -> None:
    contest = outcome.contest
    run = tools.load.sustain(contest.shots, connections=contest.connections, seconds=tools.seconds)
    if run.tally.unexpected:
        raise BenchFailed(f"{contest.name}: {run.tally.unexpected} answers were not as asked")
    outcome.loads.append(run)


def _limit(tools: Tools, outcome: Outcome) -> None:
    contest = outcome.contest
    outcome.limits.append(
        tools.pgbench.run(contest.script, clients=contest.connections, seconds=tools.seconds)
    )
