"""Long commands are killed in the middle and run again: the end is that of an undisturbed one."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from polyclinic import installation
from polyclinic.app import Polyclinic
from polyclinic.core.ids import OrganizationId
from polyclinic.core.keys import KeyRing
from polyclinic.databases import Databases
from polyclinic.db.secret_files import KeyFile
from polyclinic.demo.seeding import seed
from polyclinic.identity.contacts import EMAIL, IDENTIFIER, PHONE, binding
from tests.drill.instance import COMMAND, Instance, polyclinic, wait_until

pytestmark = pytest.mark.drill
SEEDED = 3000
IMPORTED = 1200


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A server with migrated databases; nothing serves."""
    instance = Instance(tmp_path_factory.mktemp("cut-off") / "clinic")
    server = instance.server
    try:
        server.start()
        installation.prepare(instance.settings)
        yield instance
    finally:
        server.remove()


@pytest.fixture
async def seeded(instance: Instance) -> OrganizationId:
    async with Polyclinic(instance.settings).open() as parts:
        summary = await seed(
            parts, patients=SEEDED, organizations=1, seed=1, on_progress=lambda _: None
        )
    return summary.organizations[0]


def launched(instance: Instance, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *arguments, "--data-dir", str(instance.data_dir)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def contacts(instance: Instance) -> dict[tuple[UUID, str], str]:
    """Every sealed value, opened with the ring on disk."""
    ring = key_ring(instance)
    rows = instance.query(
        "shard",
        "SELECT id, 'phone', phone_sealed FROM patient_persons WHERE phone_sealed IS NOT NULL "
        "UNION ALL "
        "SELECT id, 'email', email_sealed FROM patient_persons WHERE email_sealed IS NOT NULL "
        "UNION ALL "
        "SELECT patient_id, 'identifier', value_sealed FROM patient_identifiers",
    )
    fields = {"phone": PHONE, "email": EMAIL, "identifier": IDENTIFIER}
    return {
        (row_id, name): ring.open(bytes(sealed), bound_to=binding(row_id, fields[name]))
        for row_id, name, sealed in rows
    }


def key_ring(instance: Instance) -> KeyRing:
    return KeyFile(instance.data_dir / "data-keys").load()


def sealed_with(instance: Instance) -> set[str]:
    rows = instance.query(
        "shard", "SELECT key_id FROM patient_persons UNION SELECT key_id FROM patient_identifiers"
    )
    return {row[0] for row in rows}


@contextmanager
def last_person_held(instance: Instance) -> Iterator[None]:
    """The rotation's last batch of people waits for a lock."""
    with psycopg.connect(Databases(instance.settings).admin("shard")) as connection:
        connection.execute(
            "SELECT FROM patient_persons "
            "WHERE id = (SELECT id FROM patient_persons ORDER BY id DESC LIMIT 1) FOR UPDATE"
        )
        yield


async def test_a_rotation_killed_in_the_middle_is_finished_by_the_next_one(
    instance: Instance, seeded: OrganizationId
) -> None:
    before, first_key = contacts(instance), key_ring(instance).active_id
    with last_person_held(instance):
        rotating = launched(instance, "keys", "rotate")
        wait_until(lambda: len(sealed_with(instance) - {first_key}) > 0, "a batch is moved")
        rotating.kill()
        rotating.wait()
    half_way = key_ring(instance)
    assert sealed_with(instance) == {first_key, half_way.active_id}
    assert contacts(instance) == before
    again = polyclinic("keys", "rotate", "--json", data_dir=instance.data_dir)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["left"] == 0
    assert sealed_with(instance) == {key_ring(instance).active_id}
    assert contacts(instance) == before
    assert len(before) > SEEDED
    assert key_ring(instance).key_ids == half_way.key_ids, "it took up the rotation, not a new one"


async def test_two_rotations_at_once_are_one_after_the_other(
    instance: Instance, seeded: OrganizationId
) -> None:
    before = contacts(instance)
    rotating = [launched(instance, "keys", "rotate") for _ in range(2)]
    assert [process.wait(60) for process in rotating] == [0, 0]
    assert contacts(instance) == before
    assert sealed_with(instance) == {key_ring(instance).active_id}


def test_an_import_killed_in_the_middle_ends_like_an_undisturbed_one(
    instance: Instance, tmp_path: Path
) -> None:
    file = tmp_path / "patients.ndjson"
    file.write_text("\n".join(map(json.dumps, resources())))
    cut_off, undisturbed = instance.found_organization(), instance.found_organization()
    arguments = ("import", "fhir", str(file), "--organization", str(cut_off))
    importing = launched(instance, *arguments)
    wait_until(lambda: brought_in(instance, cut_off)["patients"], "the first batch")
    importing.send_signal(signal.SIGKILL)
    importing.wait()
    half_way = brought_in(instance, cut_off)
    assert 0 < half_way["patients"] < IMPORTED
    again = report(polyclinic(*arguments, "--json", data_dir=instance.data_dir))
    assert again["total"]["already_there"] >= half_way["patients"]
    whole = report(
        polyclinic(*arguments[:-1], str(undisturbed), "--json", data_dir=instance.data_dir)
    )
    assert brought_in(instance, cut_off) == brought_in(instance, undisturbed)
    assert accepted(again["total"]) == accepted(whole["total"]) == len(resources())
    assert again["total"]["rejected"] == whole["total"]["rejected"] == 0


def resources() -> list[dict[str, Any]]:
    """Patients, and between them what is kept aside."""
    patients = [
        {
            "resourceType": "Patient",
            "id": f"p{number}",
            "name": [{"text": f"Persona {number}"}],
            "birthDate": "1980-02-03",
            "telecom": [{"system": "phone", "value": f"+34611{number:06d}"}],
        }
        for number in range(IMPORTED)
    ]
    aside = [{"resourceType": "Goal", "id": f"g{number}"} for number in range(100)]
    return patients[:700] + aside + patients[700:]


def brought_in(instance: Instance, organization: OrganizationId) -> dict[str, int]:
    tables = ("patients", "imported_records", "kept_resources")
    statement = " UNION ALL ".join(
        f"SELECT '{table}', count(*) FROM {table} WHERE organization_id = %s" for table in tables
    )
    return dict(instance.query("shard", statement, *[organization] * len(tables)))


def report(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def accepted(total: dict[str, int]) -> int:
    return total["imported"] + total["already_there"] + total["kept"]
