"""Connections to the installation's two databases, as any of its roles."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import psycopg
import pytest

from polyclinic.databases import Database, Databases
from polyclinic.db.roles import APP
from polyclinic.settings import Settings

Connect = Callable[[Database], psycopg.Connection]
DATABASES: tuple[Database, Database] = ("control", "shard")


@pytest.fixture
def as_admin(settings: Settings) -> Iterator[Connect]:
    """Connects as the superuser, whom no policy binds; what is left open is rolled back."""
    with ExitStack() as stack:
        yield lambda database: stack.enter_context(
            closing(psycopg.connect(Databases(settings).admin(database)))
        )


@pytest.fixture
def as_app(settings: Settings) -> Iterator[Connect]:
    """Connects as the application; what is left open is rolled back."""
    with ExitStack() as stack:
        yield lambda database: stack.enter_context(
            closing(psycopg.connect(Databases(settings).as_role(database, APP)))
        )
