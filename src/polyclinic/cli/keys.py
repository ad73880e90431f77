"""`polyclinic keys rotate`: a new data key, and every sealed value moved to it, online."""

import psycopg
import typer

from polyclinic.cli.options import AsJson, DataDir, settings_for
from polyclinic.cli.output import print_json, print_table, progress_bar
from polyclinic.core.keys import KeyRing
from polyclinic.databases import Databases
from polyclinic.db.secret_files import KeyFile
from polyclinic.identity import rotation
from polyclinic.settings import Settings

app = typer.Typer(no_args_is_help=True)


@app.command("rotate")
def rotate(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Seal every phone, e-mail and number with a new key while the API serves.

    The keys are in the file `data-keys`; with POLYCLINIC_DATA_KEYS put the new key first there and
    restart the API before. Cut off, run it again.
    """
    settings = settings_for(data_dir)
    databases = Databases(settings)
    with psycopg.connect(databases.admin("shard"), autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtext('polyclinic keys rotate'))")
        active = connection.execute("SELECT key_id FROM data_keys WHERE is_active").fetchone()
        active_id = None if active is None else str(active[0])
        is_cut_off = active_id is not None and any(rotation.remaining(connection, active_id))
        ring = _next_ring(settings, active_id, is_cut_off=is_cut_off)
        rotation.activate(connection, ring.active_id)
        _announce(databases, ring.active_id)
        left = rotation.remaining(connection, ring.active_id)
        with progress_bar() as bar:
            task = bar.add_task("sealing anew", total=sum(left))
            rotation.reseal(connection, ring, lambda rows: bar.advance(task, rows))
        after = rotation.remaining(connection, ring.active_id)
    figures = {
        "active_key": ring.active_id,
        "people": left.people,
        "identifiers": left.identifiers,
        "left": sum(after),
    }
    if as_json:
        print_json(figures)
    else:
        print_table("Data keys rotated", list(figures), [list(figures.values())])


def _next_ring(settings: Settings, active_id: str | None, *, is_cut_off: bool) -> KeyRing:
    """The ring whose first key is to be active: an unfinished rotation's, or a new key's."""
    if settings.data_keys is not None:
        return KeyRing.parse(settings.data_keys.get_secret_value())
    file = KeyFile(settings.data_dir / "data-keys")
    ring = file.load()
    if ring.active_id == active_id and not is_cut_off:
        ring = ring.with_new_active()
        file.save(ring)
    return ring


def _announce(databases: Databases, key_id: str) -> None:
    with psycopg.connect(databases.admin("control"), autocommit=True) as connection:
        connection.execute("SELECT pg_notify('data_keys_changed', %s)", [key_id])
