"""Reads from a streaming replica: gated there, recorded on the primary before they are answered."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import httpx
import psycopg
import pytest

from polyclinic import installation
from polyclinic.api.application import create_http
from polyclinic.app import Polyclinic
from polyclinic.core.ids import OrganizationId, new_id
from polyclinic.databases import EMBEDDED_NAMES
from polyclinic.db.embedded import EmbeddedServer, ServerSettings
from polyclinic.db.errors import DatabaseUnavailable
from polyclinic.db.node import Node, NodeRole, PoolLimits
from polyclinic.db.roles import APP
from polyclinic.organizations import organization as organizations
from polyclinic.organizations.organization import CreateOrganization, Organization
from polyclinic.patients.consent import GiveConsent
from polyclinic.patients.registration import RegisterPatient, register
from polyclinic.settings import Settings
from polyclinic.tenancy.context import NO_ONE, Role
from polyclinic.tenancy.door import Intent
from tests.conftest import Api, acting

REFERENCE = "REPLICA_DSN"
SMALL = ServerSettings(
    shared_buffers_mib=32,
    max_connections=60,
    extra={"wal_retrieve_retry_interval": "100ms"},  # tests stop the primary and start it again
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A primary with both databases, and the shard's replica."""

    settings: Settings
    primary: EmbeddedServer
    replica: EmbeddedServer

    def rows(
        self, server: EmbeddedServer, statement: str, *arguments: object
    ) -> list[tuple[object, ...]]:
        with psycopg.connect(server.dsn(EMBEDDED_NAMES["shard"]), autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), arguments)
            return cursor.fetchall() if cursor.description else []

    def caught_up(self) -> None:
        """The replica has replayed what the primary has committed so far."""
        (position,) = self.rows(self.primary, "SELECT pg_current_wal_insert_lsn()::text")[0]
        with psycopg.connect(self.replica.dsn(), autocommit=True) as connection:
            for _ in range(2000):
                row = connection.execute(
                    "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn, pg_sleep(0.005)", [position]
                ).fetchone()
                if row is not None and row[0]:
                    return
        pytest.fail("the replica does not follow")

    @contextmanager
    def replay_paused(self) -> Iterator[None]:
        """The replica stays as it is now."""
        self.caught_up()
        self.rows(self.replica, "SELECT pg_wal_replay_pause()")
        while self.rows(self.replica, "SELECT pg_get_wal_replay_pause_state()") != [("paused",)]:
            self.rows(self.replica, "SELECT pg_sleep(0.005)")
        try:
            yield
        finally:
            self.rows(self.replica, "SELECT pg_wal_replay_resume()")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("pair")
    settings = Settings(data_dir=directory, reads_from="replica")
    primary = EmbeddedServer(directory / "postgres", SMALL)
    primary.start()
    try:
        installation.prepare(settings)
        replica = primary.base_backup_to(directory / "replica", slot="reads")
        try:
            replica.start()
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(REFERENCE, replica.dsn(EMBEDDED_NAMES["shard"], user=APP))
                enter_replica(primary)
                yield Pair(settings, primary, replica)
        finally:
            replica.remove()
    finally:
        primary.remove()


def enter_replica(primary: EmbeddedServer) -> None:
    with psycopg.connect(primary.dsn(EMBEDDED_NAMES["control"])) as connection:
        connection.execute(
            "INSERT INTO nodes (shard_id, id, role, dsn_reference) "
            "VALUES (%s, 'replica-1', 'replica', %s)",
            [installation.SHARD, f"env:{REFERENCE}"],
        )


@dataclass(frozen=True, slots=True)
class Clinic:
    """An organization with Ana, who shares her profile, and Zoe, who does not."""

    organization: Organization
    ana: UUID
    zoe: UUID


@pytest.fixture
async def parts(pair: Pair) -> AsyncIterator[Polyclinic]:
    pair.primary.start()
    async with Polyclinic(pair.settings).open() as parts:
        yield parts


@pytest.fixture
async def clinic(parts: Polyclinic, pair: Pair) -> Clinic:
    organization = await organizations.create(
        parts.door,
        CreateOrganization("Clinic", "ES", "Europe/Madrid"),
        OrganizationId(new_id()),
        user_id=NO_ONE,
        request_id="test",
    )
    born = date(1980, 2, 3)
    ana = RegisterPatient(name="Ana Ruiz", date_of_birth=born, sex="female", consent=GiveConsent())
    zoe = RegisterPatient(name="Zoe Ruiz", date_of_birth=born, sex="female")
    made = Clinic(
        organization, await put(parts, organization, ana), await put(parts, organization, zoe)
    )
    pair.caught_up()
    return made


async def put(parts: Polyclinic, organization: Organization, command: RegisterPatient) -> UUID:
    async with parts.door.transaction(acting(organization), Intent.WRITE) as transaction:
        return (await register(transaction, parts.keys.ring, command)).patient_id


@pytest.fixture
async def api(pair: Pair) -> AsyncIterator[Api]:
    pair.primary.start()
    parts = Polyclinic(pair.settings)
    async with parts.running():
        transport = httpx.ASGITransport(app=create_http(parts), raise_app_exceptions=False)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield Api(client, pair.settings)


@pytest.fixture
async def doctor(api: Api, clinic: Clinic) -> dict[str, str]:
    return await api.as_role(Role.DOCTOR, clinic.organization)


ROUTES = ["/v1/patients/{ana}", "/v1/patients", "/v1/patients?query=Ruiz"]
ACTIONS = {"/v1/patients/{ana}": "patient.read", "/v1/patients": "patient.list"}


@pytest.mark.parametrize("route", ROUTES)
async def test_a_read_sees_what_the_replica_has_replayed_and_no_more(
    route: str, pair: Pair, parts: Polyclinic, api: Api, clinic: Clinic, doctor: dict[str, str]
) -> None:
    with pair.replay_paused():
        later = await put(parts, clinic.organization, RegisterPatient(name="Eva Ruiz"))
        seen = await api.client.get(route.format(ana=clinic.ana), headers=doctor)
        assert seen.status_code == 200
        assert str(clinic.ana) in seen.text
        assert str(later) not in seen.text
        unseen = await api.client.get(f"/v1/patients/{later}", headers=doctor)
        assert unseen.status_code == 404


@pytest.mark.parametrize("route", ROUTES)
async def test_a_reads_record_is_on_the_primary_before_the_answer(
    route: str, pair: Pair, api: Api, clinic: Clinic, doctor: dict[str, str]
) -> None:
    request_id = new_id().hex
    headers = doctor | {"X-Request-Id": request_id}
    with pair.replay_paused():
        answer = await api.client.get(route.format(ana=clinic.ana), headers=headers)
        assert answer.status_code == 200
        records = pair.rows(
            pair.primary,
            "SELECT action, outcome, coalesce(entity_ids, ARRAY[entity_id]) FROM audit_log "
            "WHERE organization_id = %s AND request_id = %s",
            clinic.organization.id,
            request_id,
        )
        both = [clinic.zoe, clinic.ana]
        ((action, outcome, patients),) = records
        assert (action, outcome) == (ACTIONS.get(route, "patient.search"), "done")
        assert sorted(patients) == sorted([clinic.ana] if "{ana}" in route else both)  # type: ignore[call-overload]


async def test_a_read_of_nothing_is_recorded_as_such(
    pair: Pair, api: Api, clinic: Clinic, doctor: dict[str, str]
) -> None:
    nobody = new_id()
    assert (await api.client.get(f"/v1/patients/{nobody}", headers=doctor)).status_code == 404
    assert pair.rows(
        pair.primary,
        "SELECT action, outcome FROM audit_log WHERE entity_id = %s",
        nobody,
    ) == [("patient.read", "not-found")]


async def test_the_consent_gate_stands_on_the_replica_too(
    pair: Pair, api: Api, clinic: Clinic, doctor: dict[str, str]
) -> None:
    gated = {"id", "person_id", "name", "profile_shared"}
    with pair.replay_paused():
        ana = await api.client.get(f"/v1/patients/{clinic.ana}", headers=doctor)
        zoe = await api.client.get(f"/v1/patients/{clinic.zoe}", headers=doctor)
        assert ana.json()["date_of_birth"] == "1980-02-03"
        assert set(zoe.json()) == gated
        for route in ROUTES[1:]:
            listed = await api.client.get(route, headers=doctor)
            by_id = {item["id"]: item for item in listed.json()["items"]}
            assert by_id[str(clinic.ana)]["date_of_birth"] == "1980-02-03"
            assert set(by_id[str(clinic.zoe)]) == gated


async def test_another_organizations_patient_is_not_found_on_the_replica(
    api: Api, clinic: Clinic, parts: Polyclinic, pair: Pair
) -> None:
    other = await organizations.create(
        parts.door,
        CreateOrganization("Other", "ES", "Europe/Madrid"),
        OrganizationId(new_id()),
        user_id=NO_ONE,
        request_id="test",
    )
    pair.caught_up()
    stranger = await api.as_role(Role.DOCTOR, other)
    for patient in (clinic.ana, clinic.zoe):
        answer = await api.client.get(f"/v1/patients/{patient}", headers=stranger)
        assert answer.status_code == 404
    assert (await api.client.get("/v1/patients", headers=stranger)).json()["items"] == []


async def test_concurrent_reads_share_the_records_transactions(
    pair: Pair, api: Api, clinic: Clinic, doctor: dict[str, str]
) -> None:
    requests = [new_id().hex for _ in range(60)]
    answers = await asyncio.gather(
        *(
            api.client.get(f"/v1/patients/{clinic.ana}", headers=doctor | {"X-Request-Id": request})
            for request in requests
        )
    )
    assert {answer.status_code for answer in answers} == {200}
    ((records, transactions),) = pair.rows(
        pair.primary,
        "SELECT count(*), count(DISTINCT xmin::text) FROM audit_log WHERE request_id = ANY (%s)",
        requests,
    )
    assert records == 60
    assert isinstance(transactions, int)
    assert transactions < 40


@pytest.mark.parametrize("route", ROUTES)
async def test_without_the_primary_nothing_is_shown(
    route: str, pair: Pair, api: Api, clinic: Clinic, doctor: dict[str, str]
) -> None:
    path = route.format(ana=clinic.ana)
    assert (await api.client.get(path, headers=doctor)).status_code == 200
    pair.primary.stop()
    assert pair.rows(pair.replica, "SELECT pg_is_in_recovery()") == [(True,)]
    async with asyncio.timeout(10):
        withheld = await api.client.get(path, headers=doctor)
    assert (withheld.status_code, withheld.json()["code"]) == (503, "not-recorded")
    assert str(clinic.ana) not in withheld.text
    assert withheld.headers.get("retry-after"), "the same request may succeed later"


async def test_a_replica_that_is_down_is_a_503_in_bounded_time(
    pair: Pair, api: Api, clinic: Clinic, doctor: dict[str, str]
) -> None:
    path = f"/v1/patients/{clinic.ana}"
    assert (await api.client.get(path, headers=doctor)).status_code == 200
    pair.replica.stop()
    try:
        async with asyncio.timeout(10):
            answer = await api.client.get(path, headers=doctor)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
    finally:
        pair.replica.start()
    assert (await api.client.get(path, headers=doctor)).status_code == 200


async def test_a_standby_under_a_primarys_name_is_refused(pair: Pair) -> None:
    """It would answer reads, and neither it nor the door would record them."""
    dsn = pair.replica.dsn(EMBEDDED_NAMES["shard"], user=APP)
    node = Node("shard/primary", dsn, NodeRole.PRIMARY, PoolLimits(size=1))
    await node.open()
    try:
        with pytest.raises(DatabaseUnavailable):
            await node.fetchrow("SELECT 1")
    finally:
        await node.close()
