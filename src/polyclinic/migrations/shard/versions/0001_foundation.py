"""Organizations, patients, search, audit, import."""

from polyclinic.db.sql_files import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql(
        "common/context.sql",
        "common/audit.sql",
        "shard/organizations.sql",
        "shard/patients.sql",
        "shard/search.sql",
        "shard/patient_reads.sql",
        "shard/imports.sql",
    )
