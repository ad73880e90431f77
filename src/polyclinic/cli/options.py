"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from polyclinic.core.errors import Refusal
from polyclinic.settings import Settings


class WrongSetting(Refusal):
    """An environment variable holds what its setting cannot take; the value is not repeated."""

    code = "wrong-setting"


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
    try:
        return Settings(**given)
    except ValidationError as error:
        wrong = "; ".join(f"{_variable(e['loc'])}: {e['msg']}" for e in error.errors())
        raise WrongSetting(wrong) from None


def _variable(place: tuple[int | str, ...]) -> str:
    name = str(place[0]).upper()
    return name if name.endswith("DATABASE_URL") else f"POLYCLINIC_{name}"
