"""Directory, members, audit."""

from polyclinic.db.sql_files import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql(
        "common/context.sql", "common/audit.sql", "control/directory.sql", "control/members.sql"
    )
