"""Search by one client: beginnings of names, and names with slips or in other letters.

The limit is the use case itself, called in this process on one connection: what HTTP adds.
"""

import asyncio
from random import Random
from time import perf_counter
from typing import NamedTuple

from polyclinic.app import Polyclinic
from polyclinic.bench.contests import Tools
from polyclinic.bench.datasets import Clinic, Shard
from polyclinic.bench.figures import Figure, Spread
from polyclinic.bench.load import LoadRun
from polyclinic.bench.requests import search_shot
from polyclinic.bench.typing_errors import beginning, misspelt, word_and_beginning
from polyclinic.core.ids import OrganizationId, UserId, new_id
from polyclinic.core.pages import DEFAULT_LIMIT
from polyclinic.patients import reading
from polyclinic.settings import Settings
from polyclinic.tenancy.context import OrganizationContext, Role

SEARCHES = 1000
WARMUP = 50  # plans are made per connection, in its first calls
PREFIX_P99_MS = 5
FUZZY_P99_MS = 50


class Query(NamedTuple):
    """What is typed, and the name that is meant."""

    text: str
    name: str


class Percentiles(NamedTuple):
    p50_ms: float
    p99_ms: float


class _Kind(NamedTuple):
    name: str
    queries: list[Query]
    below_ms: float
    loads: list[LoadRun]
    limits: list[Percentiles]


def measure_searches(
    tools: Tools, settings: Settings, shard: Shard, hospital: Clinic
) -> list[Figure]:
    """Both kinds of search in the organization that holds everybody."""
    kinds = [
        _Kind(name, queries, below_ms, [], [])
        for name, queries, below_ms in _queries(shard, hospital)
    ]
    at_most_s = 2 * tools.seconds
    for place in range(tools.rounds):
        for kind in kinds:
            tools.say(f"{kind.name}: round {place + 1} of {tools.rounds}")
            shots = [search_shot(hospital, text, name=name) for text, name in kind.queries]
            kind.loads.append(tools.load.each_once(shots, unseen=WARMUP, at_most_s=at_most_s))
            kind.limits.append(asyncio.run(_called(settings, hospital, kind.queries, at_most_s)))
    return [figure for kind in kinds for figure in _figures(kind)]


def _queries(shard: Shard, hospital: Clinic) -> list[tuple[str, list[Query], float]]:
    random = Random(1)  # noqa: S311
    names = shard.names_of(hospital.id, SEARCHES + WARMUP)
    random.shuffle(names)
    return [
        (
            "search by a beginning",
            [Query(beginning(name, random), name) for name in names],
            PREFIX_P99_MS,
        ),
        (
            "a word and a beginning",
            [Query(word_and_beginning(name, random), name) for name in names],
            PREFIX_P99_MS,
        ),
        (
            "search with a slip",
            [Query(misspelt(name, random), name) for name in names],
            FUZZY_P99_MS,
        ),
    ]


async def _called(
    settings: Settings, hospital: Clinic, queries: list[Query], at_most_s: float
) -> Percentiles:
    """The use case without HTTP and sign-in."""
    context = OrganizationContext(
        OrganizationId(hospital.id), UserId(new_id()), Role.DOCTOR, "bench"
    )
    taken = []
    async with Polyclinic(settings).open() as parts:
        country = await parts.country(context)
        until = perf_counter() + at_most_s
        for text, _ in queries:
            started = perf_counter()
            if started > until:
                break
            await reading.search(
                parts.door,
                parts.keys.ring,
                context,
                text,
                country=country,
                limit=DEFAULT_LIMIT,
                cursor=None,
            )
            taken.append((perf_counter() - started) * 1000)
    found = sorted(taken[WARMUP:] or taken)
    return Percentiles(found[len(found) // 2], found[len(found) * 99 // 100])


def _figures(kind: _Kind) -> list[Figure]:
    p99 = Spread.of(run.tally.p99_ms for run in kind.loads)
    found = [100 - 100 * run.tally.unexpected / run.tally.answered for run in kind.loads]
    return [
        Figure(
            group=kind.name,
            name="p50",
            unit="ms",
            value=Spread.of(run.tally.p50_ms for run in kind.loads),
            limit=Spread.of(limit.p50_ms for limit in kind.limits),
            limit_of="without HTTP",
        ),
        Figure(
            group=kind.name,
            name="p99",
            unit="ms",
            value=p99,
            limit=Spread.of(limit.p99_ms for limit in kind.limits),
            limit_of="without HTTP",
            target=f"< {kind.below_ms} ms",
            is_met=p99.median < kind.below_ms,
        ),
        Figure(group=kind.name, name="found on page 1", unit="%", value=Spread.of(found)),
    ]
