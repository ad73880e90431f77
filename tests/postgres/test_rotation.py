"""Rotating the data keys: nobody is lost, nobody is registered twice, whenever it is cut off."""

from collections.abc import AsyncIterator, Iterator
from datetime import date

import psycopg
import pytest

from polyclinic import installation
from polyclinic.app import Polyclinic
from polyclinic.core.ids import OrganizationId, new_id
from polyclinic.core.keys import KeyRing
from polyclinic.databases import Databases
from polyclinic.db.embedded import EmbeddedServer
from polyclinic.db.secret_files import KeyFile
from polyclinic.identity import rotation
from polyclinic.identity.discovery import KeyRingStale
from polyclinic.organizations import organization as organizations
from polyclinic.organizations.organization import CreateOrganization
from polyclinic.patients.consent import GiveConsent
from polyclinic.patients.profile import Identifier, encoded_view
from polyclinic.patients.reading import read, search
from polyclinic.patients.registration import Outcome, Registered, RegisterPatient, register
from polyclinic.settings import Settings
from polyclinic.tenancy.context import NO_ONE, OrganizationContext
from polyclinic.tenancy.door import Intent
from tests.conftest import acting


@pytest.fixture(scope="module")
def own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """An installation of its own: a rotation touches every organization."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("rotated"))
    server = EmbeddedServer(settings.data_dir / "postgres")
    server.start()
    try:
        installation.prepare(settings)
        yield settings
    finally:
        server.remove()


@pytest.fixture
async def own(own_settings: Settings) -> AsyncIterator[Polyclinic]:
    async with Polyclinic(own_settings).open() as parts:
        await follow(parts)
        yield parts


async def follow(parts: Polyclinic) -> None:
    async with parts.shard.connection() as connection:
        parts.keys.follow(await connection.fetchval("SELECT key_id FROM data_keys WHERE is_active"))


@pytest.fixture
async def here(own: Polyclinic) -> OrganizationContext:
    command = CreateOrganization("Clinic", "ES", "Europe/Madrid")
    made = await organizations.create(
        own.door, command, OrganizationId(new_id()), user_id=NO_ONE, request_id="test"
    )
    return acting(made)


ANA = RegisterPatient(
    name="Ana Sanz",
    date_of_birth=date(1990, 1, 2),
    phone="612345678",
    email="Ana@example.org",
    identifiers=[Identifier("urn:mrn", "A-1")],
    consent=GiveConsent(),
)


async def registered(
    parts: Polyclinic, context: OrganizationContext, command: RegisterPatient = ANA
) -> Registered:
    async with parts.door.transaction(context, Intent.WRITE) as transaction:
        return await register(transaction, parts.keys.ring, command)


def new_ring(settings: Settings) -> KeyRing:
    file = KeyFile(settings.data_dir / "data-keys")
    ring = file.load().with_new_active()
    file.save(ring)
    return ring


def shard(settings: Settings) -> psycopg.Connection:
    return psycopg.connect(Databases(settings).admin("shard"), autocommit=True)


async def test_everything_is_readable_and_found_after_a_rotation(
    own: Polyclinic, own_settings: Settings, here: OrganizationContext
) -> None:
    first = await registered(own, here)
    ring = new_ring(own_settings)
    moved: list[int] = []
    with shard(own_settings) as connection:
        rotation.activate(connection, ring.active_id)
        rotation.reseal(connection, ring, moved.append)
        assert rotation.remaining(connection, ring.active_id) == (0, 0)
    assert sum(moved) >= 2
    body = encoded_view(await read(own.door, here, first.patient_id), own.keys)
    assert b'"phone":"+34612345678"' in body
    assert b'"email":"Ana@example.org"' in body
    assert b'"value":"A-1"' in body
    await follow(own)
    for text in ("612345678", "ana@example.org", "a1"):
        page = await search(own.door, own.keys.ring, here, text, country="ES", limit=5, cursor=None)
        assert str(first.patient_id) in page.items, text


async def test_a_process_that_missed_the_rotation_is_told_and_finds_the_person(
    own: Polyclinic, own_settings: Settings, here: OrganizationContext
) -> None:
    first = await registered(own, here)
    ring = new_ring(own_settings)
    with shard(own_settings) as connection:
        rotation.activate(connection, ring.active_id)  # and cut off here: nothing is sealed anew
        with pytest.raises(KeyRingStale) as stale:
            await registered(own, here)
        own.keys.follow(stale.value.active_id)
        again = await registered(own, here)
        assert again.outcome is Outcome.EXISTING
        assert again.patient_id == first.patient_id
        rotation.reseal(connection, ring, lambda _: None)
    assert (await registered(own, here)).outcome is Outcome.EXISTING


async def test_a_key_that_is_new_in_the_file_alone_changes_nothing(
    own: Polyclinic, own_settings: Settings, here: OrganizationContext
) -> None:
    first = await registered(own, here)
    new_ring(own_settings)  # and cut off before the database names it
    async with Polyclinic(own_settings).open() as later:
        with pytest.raises(KeyRingStale) as stale:
            await registered(later, here)
        later.keys.follow(stale.value.active_id)
        assert (await registered(later, here)).patient_id == first.patient_id
