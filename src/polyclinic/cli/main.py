"""The `polyclinic` command."""

import os
import sys

import psycopg
import sqlalchemy.exc
import typer

from polyclinic.cli import bench, imports, keys, migrate, organizations, seed, serve, token, up
from polyclinic.cli.exit_codes import ExitCode, exit_code_of
from polyclinic.cli.output import err
from polyclinic.core.errors import PolyclinicError

app = typer.Typer(
    name="polyclinic",
    help="One clinic on a laptop, thousands in several regions.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)
app.command("up")(up.up)
app.command("api")(serve.api)
app.command("token")(token.token)
app.command("seed")(seed.seed)
app.command("migrate")(migrate.migrate)
app.command("bench")(bench.bench)
app.add_typer(organizations.app, name="organization", help="Create and list organizations.")
app.add_typer(token.superadmins, name="superadmin", help="Who may create organizations.")
app.add_typer(imports.app, name="import", help="Bring in records from elsewhere.")
app.add_typer(keys.app, name="keys", help="The keys that seal contacts.")


def run() -> None:
    """The entry point: an error is one line on standard error and an exit code that tells."""
    try:
        app()
    except PolyclinicError as error:
        _say(str(error))
        sys.exit(exit_code_of(error))
    except (psycopg.OperationalError, sqlalchemy.exc.OperationalError) as error:
        cause = str(getattr(error, "orig", error)).partition("\n")[0]  # names no password
        _say(f"the database cannot be reached: {cause}")
        sys.exit(ExitCode.FAULT)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone; nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.FAULT)


def _say(message: str) -> None:
    """One line, however narrow the terminal or long the message: people search and copy it."""
    err.print(f"polyclinic: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
