"""Creating an organization is cut off at each of its steps."""

import asyncio
from uuid import UUID, uuid4

import httpx
import pytest

from polyclinic.app import Polyclinic
from polyclinic.core.ids import OrganizationId
from polyclinic.db.sql_files import statement
from polyclinic.organizations import organization as creating
from polyclinic.settings import Settings
from polyclinic.shards.directory import OrganizationUnknown
from polyclinic.tenancy.context import Role
from tests.conftest import Api
from tests.drill.instance import Instance

pytestmark = pytest.mark.drill
BEFORE_ANYTHING = ["insert_placement", "insert_summary"]
HALF_DONE = ["read_organization", "insert_home", "insert_fence", "activate"]
BODY = {"name": "Cut Off", "country": "ES", "timezone": "Europe/Madrid"}


class Crash(Exception):
    """Stands for the end of the process."""


@pytest.fixture
async def superadmin(api: Api) -> dict[str, str]:
    return await api.as_role(Role.SUPERADMIN)


@pytest.fixture
def database(settings: Settings) -> Instance:
    """For its queries alone: the server is the session's."""
    return Instance(settings.data_dir)


async def post(
    api: Api, headers: dict[str, str], key: str, body: dict[str, str] | None = None
) -> httpx.Response:
    more = {"Idempotency-Key": key}
    return await api.client.post("/v1/organizations", json=body or BODY, headers=headers | more)


async def cut_off_at(step: str, api: Api, headers: dict[str, str], key: str) -> None:
    """A POST that ends where this statement would come."""

    def crashing(package: str, name: str) -> str:
        if name == step:
            raise Crash
        return statement(package, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(creating, "statement", crashing)
        assert (await post(api, headers, key)).status_code == 500


@pytest.mark.parametrize("step", BEFORE_ANYTHING + HALF_DONE)
async def test_cut_off_at_any_step_the_same_request_finishes_it(
    step: str, api: Api, superadmin: dict[str, str], database: Instance
) -> None:
    key = f"create-{uuid4()}"
    await cut_off_at(step, api, superadmin, key)
    made = await post(api, superadmin, key)
    assert made.status_code == 201
    again = await post(api, superadmin, key)
    assert again.json() == made.json()
    require_whole(database, made.json()["id"])
    read = await api.client.get(made.headers["location"], headers=superadmin)
    assert read.json() == made.json()


@pytest.mark.parametrize("other", [{"name": "Another"}, {"country": "FR"}, {"timezone": "UTC"}])
async def test_the_key_of_one_cut_off_does_not_create_another(
    api: Api, superadmin: dict[str, str], other: dict[str, str]
) -> None:
    key = f"create-{uuid4()}"
    await cut_off_at("insert_home", api, superadmin, key)
    refused = await post(api, superadmin, key, BODY | other)
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency-key-reused")


@pytest.mark.parametrize("step", HALF_DONE)
async def test_a_half_created_organization_is_nobodys_until_it_is_finished(
    step: str, api: Api, superadmin: dict[str, str], parts: Polyclinic, database: Instance
) -> None:
    key = f"create-{uuid4()}"
    await cut_off_at(step, api, superadmin, key)
    organization = half_created(database)
    with pytest.raises(OrganizationUnknown):
        await parts.directory.route(organization)
    long_ago(database, organization)
    assert await creating.finish_creating(parts.door, parts.control) >= 1
    require_whole(database, str(organization))
    assert (await parts.directory.route(organization)).epoch == 1
    assert (await post(api, superadmin, key)).json()["id"] == str(organization)


async def test_an_api_process_finishes_what_a_crash_left(
    api: Api, superadmin: dict[str, str], settings: Settings, database: Instance
) -> None:
    await cut_off_at("insert_home", api, superadmin, f"create-{uuid4()}")
    organization = half_created(database)
    long_ago(database, organization)
    async with Polyclinic(settings).running(), asyncio.timeout(10):
        while state_of(database, organization) != "active":
            await asyncio.sleep(0.05)
    require_whole(database, str(organization))


def half_created(database: Instance) -> OrganizationId:
    """The one that this test has just cut off; the others are finished or made long ago."""
    rows = database.query(
        "control",
        "SELECT organization_id FROM tenant_shards "
        "WHERE state = 'creating' AND updated_at > now() - interval '1 minute' "
        "ORDER BY updated_at DESC LIMIT 1",
    )
    return OrganizationId(rows[0][0])


def long_ago(database: Instance, organization: UUID) -> None:
    database.query(
        "control",
        "UPDATE tenant_shards SET updated_at = now() - interval '2 minutes' "
        "WHERE organization_id = %s",
        organization,
    )


def state_of(database: Instance, organization: UUID) -> str:
    rows = database.query(
        "control", "SELECT state FROM tenant_shards WHERE organization_id = %s", organization
    )
    return str(rows[0][0])


def require_whole(database: Instance, organization: str) -> None:
    """In both databases once, active, writable, and its creation recorded once."""
    own = "WHERE organization_id = %s"
    assert state_of(database, UUID(organization)) == "active"
    for kind, query, expected in (
        ("control", "SELECT name FROM organization_summary", "Cut Off"),
        ("shard", "SELECT name FROM organizations", "Cut Off"),
        ("shard", "SELECT epoch FROM tenant_fence", 1),
        ("control", "SELECT action FROM audit_log", "organization.create"),
    ):
        assert database.query(kind, f"{query} {own}", organization) == [(expected,)]  # type: ignore[arg-type]
