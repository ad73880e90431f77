"""`polyclinic bench`: the speed of this machine's instance beside PostgreSQL's own."""

import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.progress import Progress

from polyclinic.bench.datasets import Size
from polyclinic.bench.figures import Figure, Spread
from polyclinic.bench.running import Options, Part, Report, Watcher, run
from polyclinic.cli.exit_codes import ExitCode
from polyclinic.cli.options import AsJson
from polyclinic.cli.output import err, out, print_json, print_table, progress_bar
from polyclinic.cli.serve import LIFELINE

COLUMNS = ("measured", "Polyclinic", "limit", "ratio", "target", "met")


def bench(
    patients: Annotated[
        int, typer.Option(min=200, help="In all clinics, and once more in one hospital.")
    ] = 270_000,
    organizations: Annotated[int, typer.Option(min=1, max=100, help="Clinics.")] = 10,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="For each turn.")] = 5,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Turns of each.")] = 3,
    only: Annotated[
        list[Part] | None, typer.Option(help="Measure this part; may be repeated.")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Keep the data here; a second run starts at once. Never an instance's."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the temporary directory.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 if a target is missed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure an instance of its own beside what PostgreSQL gives for the same statements.

    It is started with the number of patients asked for and stopped at the end.
    """
    options = Options(
        size=Size(patients, organizations),
        parts=list(dict.fromkeys(only or Part)),
        rounds=rounds,
        seconds=seconds,
        data_dir=data_dir,
        keep=keep,
        lifeline=LIFELINE,
    )
    signal.signal(signal.SIGTERM, _interrupt)
    with progress_bar() as bar:
        report = run(options, _watcher(bar))
    if as_json:
        print_json(report)
    else:
        _show(report, is_kept=keep or data_dir is not None)
    if strict and report.missed:
        raise typer.Exit(ExitCode.FAULT)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _watcher(bar: Progress) -> Watcher:
    """A line for each step, and a bar while there is something to count."""

    def progress(what: str, total: int) -> Callable[[int], None]:
        task = bar.add_task(what, total=total)
        return lambda count: bar.advance(task, count)

    return Watcher(say=lambda text: err.print(text, style="dim"), progress=progress)


def _show(report: Report, *, is_kept: bool) -> None:
    for line in _heading(report):
        out.print(line, highlight=False)
    print_table("", COLUMNS, map(_row, report.figures), numeric=COLUMNS[1:4])
    if is_kept:
        out.print(f"The data is kept in {report.data_dir}", highlight=False)


def _heading(report: Report) -> list[str]:
    here = report.surroundings
    machine = f"{here.processor}, {here.cores} cores, load average {here.load_before} at the start"
    shares = "API, PostgreSQL and load client share the cores; so do pgbench and PostgreSQL"
    data = f"{report.patients:,} patients in {report.organizations} clinics (reads), as many again"
    rounds = f"Medians of {report.rounds} rounds of {report.seconds:g} s each, interleaved"
    return [
        f"[bold]polyclinic {here.polyclinic}[/] ({here.commit or 'no commit'}), {here.python}, "
        f"PostgreSQL {here.postgresql}",
        f"{machine}. {shares}.",
        f"{data} in one hospital (pages, search). One API worker; answers not compressed.",
        f"{rounds}; least and greatest in brackets.",
    ]


def _row(figure: Figure) -> tuple[str, ...]:
    met = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[figure.is_met]
    limit = "" if figure.limit is None else f"{_shown(figure.limit, figure)} {figure.limit_of}"
    ratio = "" if figure.ratio is None else _spread(figure.ratio, ".2f")
    return (figure.name, _shown(figure.value, figure), limit, ratio, figure.target, met)


def _shown(spread: Spread, figure: Figure) -> str:
    digits = ",.2f" if figure.unit == "ms" else ",.0f"
    return f"{_spread(spread, digits)} {figure.unit}"


def _spread(spread: Spread, digits: str) -> str:
    if spread.low == spread.high:
        return format(spread.median, digits)
    return f"{spread.median:{digits}} ({spread.low:{digits}}-{spread.high:{digits}})"
