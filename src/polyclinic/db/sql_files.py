"""SQL is source: statements and migrations live in `.sql` files and are read from here."""

from functools import cache
from importlib.resources import files

from alembic import op


@cache
def statement(package: str, name: str) -> str:
    """The one statement in `queries/{name}.sql` of a package, read once."""
    return files(package).joinpath("queries", f"{name}.sql").read_text("utf-8").strip()


def run_sql(*paths: str) -> None:
    """Run migration files, named from `polyclinic/migrations`, in the open revision's transaction."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    for path in paths:
        connection.execute(files("polyclinic.migrations").joinpath(path).read_text("utf-8"))
