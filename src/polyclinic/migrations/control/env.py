"""Alembic's entry: runs the revisions of this database on the connection that db/migrations.py gives."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table="schema_version")
with context.begin_transaction():
    context.run_migrations()
