"""`polyclinic bench`: the speed of this machine's instance beside PostgreSQL's own."""

import signal
from collections.abc import Callable
from functools import partial
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich import box
from rich.progress import Progress
from rich.table import Table

from polyclinic.bench.contests import CONNECTIONS
from polyclinic.bench.datasets import Size
from polyclinic.bench.figures import Figure, Unit
from polyclinic.bench.running import Options, Part, Report, Watcher, run
from polyclinic.cli.exit_codes import ExitCode
from polyclinic.cli.options import AsJson
from polyclinic.cli.output import err, out, print_json, progress_bar
from polyclinic.cli.serve import LIFELINE

NUMERIC = ("median", "range", "limit", "ratio")


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
    out.print(_heading(report), highlight=False)
    out.print(_table(report.figures))
    if is_kept:
        out.print(f"The data is kept in {report.data_dir}", highlight=False)


def _heading(report: Report) -> Table:
    """What the figures depend on."""
    here = report.surroundings
    size = f"{report.patients:,} patients"
    grid = Table.grid(padding=(0, 2))
    for what, text in {
        "version": f"polyclinic {here.polyclinic}, commit {here.commit or 'unknown'}",
        "machine": f"{here.processor}, {here.cores} cores, {here.busy_before:.0f} % busy before",
        "runtime": f"{here.python}, PostgreSQL {here.postgresql}",
        "reads": f"of {size} in {report.organizations} clinics",
        "pages, search": f"of {size} in one hospital",
        "load": f"one API worker, {CONNECTIONS} connections unless said, not compressed",
        "limit": "pgbench, same calls and clients; its mean latency beside our p50",
        "": "search, one client: the use case in process, without HTTP",
        "cores": "shared by API, PostgreSQL, client; by pgbench, PostgreSQL",
        "figures": f"medians of {report.rounds} rounds of {report.seconds:g} s each, interleaved",
    }.items():
        grid.add_row(f"[bold]{what}[/]", text)
    return grid


def _table(figures: list[Figure]) -> Table:
    """A section for each group of figures; at most 80 columns wide."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1))
    for column in ("", *NUMERIC, "target"):
        table.add_column(
            column, justify="right" if column in NUMERIC else "left", no_wrap=column != "target"
        )
    for group, members in groupby(figures, key=lambda figure: figure.group):
        table.add_section()
        table.add_row(f"[bold]{group}[/]")
        for figure in members:
            table.add_row(*_row(figure))
    return table


def _row(figure: Figure) -> tuple[str, ...]:
    shown = partial(_number, unit=figure.unit)
    value, limit = figure.value, figure.limit
    met = {True: " [green]met[/]", False: " [red]missed[/]", None: ""}[figure.is_met]
    return (
        f"  {figure.name}, {figure.unit}",
        shown(value.median),
        "" if value.low == value.high else f"{shown(value.low)}-{shown(value.high)}",
        "" if limit is None else shown(limit.median),
        "" if figure.ratio is None else f"{figure.ratio.median:.2f}",
        figure.target + met,
    )


def _number(value: float, *, unit: Unit) -> str:
    return f"{value:,.2f}" if unit == "ms" else f"{value:,.0f}"
