"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from polyclinic.settings import Settings

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="The instance's directory [env: POLYCLINIC_DATA_DIR; default: .polyclinic].",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def settings_for(data_dir: Path | None) -> Settings:
    """The environment's settings, with the command line's directory."""
    given: dict[str, Any] = {} if data_dir is None else {"data_dir": data_dir}
    return Settings(**given)
