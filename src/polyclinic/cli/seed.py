"""`polyclinic seed`: invented patients, for trials of size."""

import asyncio
import time
from typing import Annotated

import typer

from polyclinic.app import Polyclinic
from polyclinic.cli.options import AsJson, DataDir, settings_for
from polyclinic.cli.output import print_json, print_table, progress_bar
from polyclinic.demo import seeding
from polyclinic.demo.seeding import SeedSummary
from polyclinic.settings import Settings


def seed(
    patients: Annotated[int, typer.Option(min=1, max=10_000_000, help="In all.")] = 10_000,
    organizations: Annotated[int, typer.Option(min=1, max=10_000, help="Shared by these.")] = 2,
    random_seed: Annotated[
        int, typer.Option("--seed", min=0, help="The same seed gives the same people.")
    ] = 1,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Fill new organizations with invented patients. Repeating it goes on where it was cut off."""
    settings = settings_for(data_dir)
    started = time.monotonic()
    summary = asyncio.run(_seed(settings, patients, organizations, random_seed))
    seconds = time.monotonic() - started
    if as_json:
        print_json({"summary": summary, "seconds": round(seconds, 1)})
        return
    rows = [
        ("organizations", len(summary.organizations)),
        ("patients in them", summary.patients),
        ("added now", summary.added),
        ("seconds", f"{seconds:.1f}"),
        ("first organization", summary.organizations[0]),
    ]
    print_table("Seeded", ("what", "how many"), rows)


async def _seed(
    settings: Settings, patients: int, organizations: int, random_seed: int
) -> SeedSummary:
    async with Polyclinic(settings).open() as parts:
        with progress_bar() as bar:
            task = bar.add_task("patients", total=patients)
            return await seeding.seed(
                parts,
                patients=patients,
                organizations=organizations,
                seed=random_seed,
                on_progress=lambda count: bar.advance(task, count),
            )
