"""`polyclinic import fhir`: records from elsewhere."""

import asyncio
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from polyclinic.app import Polyclinic
from polyclinic.cli.exit_codes import ExitCode
from polyclinic.cli.options import AsJson, DataDir, settings_for
from polyclinic.cli.output import err, out, print_json, print_table
from polyclinic.core.ids import OrganizationId
from polyclinic.integration import fhir
from polyclinic.integration.fhir import ImportOptions, ImportReport
from polyclinic.settings import Settings
from polyclinic.tenancy.context import NO_ONE, OrganizationContext, Role

app = typer.Typer(no_args_is_help=True)
SHOWN_PROBLEMS = 20
COUNTS = ("imported", "already_there", "kept", "skipped", "rejected", "flagged")


@app.callback()
def group() -> None:
    """Bring in records from elsewhere."""


@app.command("fhir")
def import_fhir(
    paths: Annotated[
        list[Path], typer.Argument(help="Bundles (.json), NDJSON (.ndjson) or folders of them.")
    ],
    organization: Annotated[UUID, typer.Option(help="The organization that takes them.")],
    consented: Annotated[
        bool, typer.Option("--consented", help="Record these patients' consent as given.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Bring in FHIR R4 patients, practitioners and places; keep the rest aside.

    Repeating it adds nothing; cut off, run it again. Exit code 4: something was rejected.
    """
    settings = settings_for(data_dir)
    report = asyncio.run(_import(settings, paths, organization, consented=consented))
    if as_json:
        print_json(report)
    else:
        _show(report)
    raise typer.Exit(ExitCode.DONE if report.is_complete else ExitCode.PARTIAL)


async def _import(
    settings: Settings, paths: list[Path], organization: UUID, *, consented: bool
) -> ImportReport:
    context = OrganizationContext(OrganizationId(organization), NO_ONE, Role.ADMIN, "import-fhir")
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    )
    async with Polyclinic(settings).open() as parts:
        await parts.directory.route(context.organization_id)
        with bar:
            task = bar.add_task("reading", total=None)

            def show(progress: fhir.Progress) -> None:
                what = (
                    f"{progress.resources} resources, {progress.files_done}/{progress.files} files"
                )
                bar.update(
                    task,
                    description=what,
                    completed=progress.bytes_done,
                    total=progress.bytes_total,
                )

            return await fhir.import_fhir(
                parts.door,
                parts.keys,
                context,
                paths,
                options=ImportOptions(is_consented=consented),
                on_progress=show,
            )


def _show(report: ImportReport) -> None:
    rows = [
        [row.resource_type, *(getattr(row, count) for count in COUNTS)]
        for row in [*report.rows, report.total]
    ]
    columns = ("resource", *(count.replace("_", " ") for count in COUNTS))
    print_table(f"FHIR import: {report.files} files", columns, rows, numeric=set(columns[1:]))
    if report.reasons:
        reasons = [(r.outcome, r.resource_type, r.count, r.reason) for r in report.reasons]
        print_table("Why", ("outcome", "resource", "count", "reason"), reasons, numeric={"count"})
    rejected = [p for p in report.problems if p.outcome == "rejected"]
    for problem in rejected[:SHOWN_PROBLEMS]:
        place = ":".join(str(part) for part in (problem.file, problem.line, problem.column) if part)
        out.print(
            f"{place}: {problem.reference or problem.resource_type}: {problem.reason}", markup=False
        )
    if len(rejected) > SHOWN_PROBLEMS:
        out.print(f"and {len(rejected) - SHOWN_PROBLEMS} more; --json lists them")
