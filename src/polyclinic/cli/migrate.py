"""`polyclinic migrate`: bring both databases to this code's schema, or say whether they are."""

from typing import Annotated

import typer

from polyclinic import installation
from polyclinic.cli.exit_codes import ExitCode
from polyclinic.cli.options import AsJson, DataDir, settings_for
from polyclinic.cli.output import print_json, print_table
from polyclinic.db.migrations import SchemaState

Check = Annotated[bool, typer.Option("--check", help="Change nothing; exit 5 if outdated.")]


def migrate(check: Check = False, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Bring the databases to this version's schema."""
    settings = settings_for(data_dir)
    if check:
        found = installation.states(settings)
        _show([(state, state) for state in found], as_json)
        raise typer.Exit(
            ExitCode.DONE if all(state.is_current for state in found) else ExitCode.OUTDATED
        )
    done = installation.prepare(settings)
    _show([(step.before, step.after) for step in done], as_json)


def _show(steps: list[tuple[SchemaState, SchemaState]], as_json: bool) -> None:
    rows = [(after.kind, before.current, after.current, after.wanted) for before, after in steps]
    columns = ("database", "before", "now", "wanted")
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table("Schema versions", columns, [[cell or "-" for cell in row] for row in rows])
