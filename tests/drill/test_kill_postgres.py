"""PostgreSQL is killed under load: nothing acknowledged is lost, nobody hangs, nothing is restarted
by hand."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from polyclinic.core.ids import OrganizationId
from polyclinic.tenancy.context import Role
from tests.drill.instance import Instance, instance_in, wait_until
from tests.drill.load import Load

pytestmark = pytest.mark.drill
ANSWERED_WITHIN_S = 8.0
"""Statement timeout and wait for a connection, with room for a busy machine."""


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with instance_in(tmp_path_factory.mktemp("postgres-drill") / "clinic") as instance:
        yield instance


@pytest.fixture(scope="module")
def organization(instance: Instance) -> OrganizationId:
    return instance.found_organization()


def kill_postmaster(instance: Instance) -> None:
    """Its children notice by themselves, as they do when the out-of-memory killer takes it."""
    pid = instance.server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def kill_everything(instance: Instance) -> None:
    instance.server.kill()


def kill_one_backend(instance: Instance) -> None:
    """The postmaster then ends every session and recovers."""
    rows = instance.query(
        "shard",
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'polyclinic' LIMIT 1",
    )
    os.kill(rows[0][0], signal.SIGKILL)


@pytest.mark.parametrize("kill", [kill_postmaster, kill_everything, kill_one_backend])
async def test_killed_under_load_it_loses_nothing_and_serves_again(
    instance: Instance, organization: OrganizationId, kill: Callable[[Instance], None]
) -> None:
    headers = await instance.headers(organization, Role.RECEPTIONIST)
    api = instance.api
    load = Load(instance.url(""), headers, prefix=kill.__name__)
    async with load.running():
        await load.more(100)
        kill(instance)
        await load.told(503)
        await load.more(100)
    assert set(load.statuses()) == {200, 201, 503}, faults(instance)
    refused = [told for told in load.answers() if told.status == 503]
    assert all(told.retry_after for told in refused)
    assert {told.code for told in refused} <= {"database-unavailable", "busy", "statement-timeout"}
    assert max(told.seconds for told in load.answers()) < ANSWERED_WITHIN_S
    assert instance.api == api, "the API was restarted"
    wait_until(instance.is_ready, "ready")
    assert kept(instance, organization, load) == {r.name: 1 for r in load.acknowledged()}


async def test_what_was_not_acknowledged_is_sent_again_and_is_there_once(
    instance: Instance, organization: OrganizationId
) -> None:
    headers = await instance.headers(organization, Role.RECEPTIONIST)
    load = Load(instance.url(""), headers, prefix="again")
    async with load.running():
        await load.more(50)
        kill_everything(instance)
        await load.told(503)
    wait_until(instance.is_ready, "ready")
    assert len(load.acknowledged()) < len(load.registrations)
    await load.retry_unacknowledged()
    assert kept(instance, organization, load) == {r.name: 1 for r in load.registrations}


def kept(instance: Instance, organization: OrganizationId, load: Load) -> dict[str, int]:
    """How often each name of the load that must be there is there."""
    names = [registration.name for registration in load.acknowledged()]
    rows = instance.query(
        "shard",
        "SELECT name, count(*) FROM patients WHERE organization_id = %s AND name = ANY (%s) "
        "GROUP BY name",
        organization,
        names,
    )
    return dict(rows)


def faults(instance: Instance) -> list[str]:
    """What the API logged of answers that are nobody's fault but its own."""
    lines = (instance.data_dir / "api.log").read_text().splitlines()
    return [line for line in lines if "fault" in line and "database-unavailable" not in line][:5]
