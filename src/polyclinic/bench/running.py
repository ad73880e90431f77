"""A whole measurement: instance, data, rounds, report."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from polyclinic.bench.contests import Tools
from polyclinic.bench.datasets import Clinic, SetName, Shard, Size, prepare_set
from polyclinic.bench.figures import Figure, Spread
from polyclinic.bench.instance import Instance, workplace
from polyclinic.bench.load import LoadGenerator
from polyclinic.bench.pages import measure_pages
from polyclinic.bench.pgbench import Pgbench
from polyclinic.bench.reads import measure_reads
from polyclinic.bench.searches import measure_searches
from polyclinic.bench.surroundings import Surroundings
from polyclinic.databases import Databases
from polyclinic.db.roles import APP

MEMORY_MB = 150
WARMUP_S = 1.0


class Part(StrEnum):
    READ = "read"
    PAGE = "page"
    SEARCH = "search"


_SET_OF: dict[Part, SetName] = {
    Part.READ: "clinics",
    Part.PAGE: "hospital",
    Part.SEARCH: "hospital",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure and for how long; `data_dir` None: an instance that is thrown away."""

    size: Size
    parts: list[Part]
    rounds: int
    seconds: float
    data_dir: Path | None
    keep: bool
    lifeline: str
    """Name of the environment variable by which the API learns that this process is gone."""


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told how it goes: `say` what is being done, `progress` of how many in all."""

    say: Callable[[str], None]
    progress: Callable[[str, int], Callable[[int], None]]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The figures and what they depend on."""

    surroundings: Surroundings
    patients: int
    organizations: int
    rounds: int
    seconds: float
    data_dir: str
    figures: list[Figure]

    @property
    def missed(self) -> list[Figure]:
        return [figure for figure in self.figures if figure.is_met is False]


def run(options: Options, watcher: Watcher) -> Report:
    """Measure the parts asked for. Raises `BenchFailed`, `OtherData`, and what a start raises."""
    with ExitStack() as stack:
        directory = stack.enter_context(workplace(options.data_dir, keep=options.keep))
        watcher.say("starting PostgreSQL")
        instance = stack.enter_context(
            Instance(directory, parameters=options.size.parameters(), lifeline=options.lifeline)
        )
        sets = _sets(instance, options, watcher)
        watcher.say("vacuum, analyze, checkpoint")
        shard = Shard(instance)
        shard.tidy()
        surroundings = Surroundings.found(Databases(instance.settings).admin("shard"))
        instance.start_api()
        tools = _tools(instance, options, watcher)
        figures = [
            figure
            for part in options.parts
            for figure in _measure(part, tools, instance, shard, sets[_SET_OF[part]], options)
        ]
        return Report(
            surroundings=surroundings,
            patients=options.size.patients,
            organizations=options.size.organizations,
            rounds=options.rounds,
            seconds=options.seconds,
            data_dir=str(directory),
            figures=[*figures, *_memory(tools.load)],
        )


def _sets(instance: Instance, options: Options, watcher: Watcher) -> dict[SetName, list[Clinic]]:
    sets: dict[SetName, list[Clinic]] = {}
    for name in dict.fromkeys(_SET_OF[part] for part in options.parts):
        advance = watcher.progress(f"seeding the {name}", options.size.patients)
        sets[name] = prepare_set(instance, name, options.size, advance)
    return sets


def _tools(instance: Instance, options: Options, watcher: Watcher) -> Tools:
    dsn = Databases(instance.settings).as_role("shard", APP)
    return Tools(
        load=LoadGenerator(instance, warmup_s=WARMUP_S),
        pgbench=Pgbench(dsn, threads=min(2, os.cpu_count() or 1)),
        rounds=options.rounds,
        seconds=options.seconds,
        say=watcher.say,
    )


def _measure(
    part: Part,
    tools: Tools,
    instance: Instance,
    shard: Shard,
    clinics: list[Clinic],
    options: Options,
) -> list[Figure]:
    match part:
        case Part.READ:
            return measure_reads(tools, shard, clinics)
        case Part.PAGE:
            return measure_pages(tools, shard, clinics[0], patients=options.size.patients)
        case Part.SEARCH:
            return measure_searches(tools, instance.settings, shard, clinics[0])


def _memory(load: LoadGenerator) -> list[Figure]:
    """Of the API process after all of its load: resident, and without what others share."""
    found = load.memory()
    rss, pss, uss = (Spread.of([value]) for value in found)
    return [
        Figure(
            group="memory of the API",
            name="RSS",
            unit="MB",
            value=rss,
            target=f"< {MEMORY_MB} MB",
            is_met=found.rss < MEMORY_MB,
        ),
        Figure(group="memory of the API", name="PSS", unit="MB", value=pss),
        Figure(group="memory of the API", name="USS", unit="MB", value=uss),
    ]
