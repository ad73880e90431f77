"""API processes and their supervisor are killed or told to stop: nothing acknowledged is lost, and
nothing is left behind."""

import signal
from collections.abc import Callable, Iterator

import pytest

from polyclinic.core.ids import OrganizationId
from polyclinic.tenancy.context import Role
from tests.drill.instance import Instance, instance_in, is_alive, wait_until
from tests.drill.load import Load
from tests.drill.test_kill_postgres import kept

pytestmark = pytest.mark.drill


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with instance_in(tmp_path_factory.mktemp("api-drill") / "clinic") as instance:
        yield instance


@pytest.fixture(scope="module")
def organization(instance: Instance) -> OrganizationId:
    return instance.found_organization()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance whose API is two workers under a parent."""
    directory = tmp_path_factory.mktemp("workers-drill") / "clinic"
    with instance_in(directory, "--workers", "2") as instance:
        yield instance


async def test_a_killed_api_is_started_again_and_lost_nothing(
    instance: Instance, organization: OrganizationId
) -> None:
    headers = await instance.headers(organization, Role.RECEPTIONIST)
    load = Load(instance.url(""), headers, prefix="api")
    killed = instance.api
    async with load.running():
        await load.more(100)
        killed.kill()
        await load.told(0)
        await load.more(100)
    assert instance.api != killed
    assert set(load.statuses()) <= {200, 201}
    await load.retry_unacknowledged()
    assert kept(instance, organization, load) == {r.name: 1 for r in load.registrations}
    require_no_open_transaction(instance)


async def test_a_killed_worker_is_replaced_while_the_other_serves(pair: Instance) -> None:
    organization = pair.found_organization()
    headers = await pair.headers(organization, Role.RECEPTIONIST)
    load = Load(pair.url(""), headers, prefix="worker")
    parent, killed = pair.api, pair.workers()[0]
    async with load.running():
        await load.more(100)
        killed.kill()  # the other may hold all connections: perhaps nobody notices
        await load.more(100)
    wait_until(lambda: len(pair.workers()) == 2 and killed not in pair.workers(), "two workers")
    assert pair.api == parent
    await load.retry_unacknowledged()
    assert kept(pair, organization, load) == {r.name: 1 for r in load.registrations}
    require_no_open_transaction(pair)


def test_the_workers_of_a_killed_parent_go_and_others_serve(pair: Instance) -> None:
    orphans, parent = pair.workers(), pair.api
    parent.kill()
    wait_until(lambda: not any(map(is_alive, orphans)), "the orphans have gone")
    wait_until(lambda: pair.api != parent and len(pair.workers()) == 2, "new workers")
    wait_until(pair.is_ready, "ready")


def test_a_pair_of_workers_goes_with_its_supervisor(pair: Instance) -> None:
    api = [pair.api, *pair.workers()]
    pair.kill()
    wait_until(lambda: not any(map(is_alive, api)), "the API has gone")
    pair.start()
    assert pair.end() == 0
    assert pair.processes() == []


def test_a_killed_supervisor_takes_the_api_along_and_the_next_one_adopts_the_server(
    instance: Instance,
) -> None:
    organization = instance.found_organization("Adopted")
    api, postmaster = instance.api, instance.server.pid
    instance.kill()
    wait_until(lambda: not is_alive(api), "the API has gone")
    assert instance.server.pid == postmaster
    instance.start()
    assert instance.server.pid == postmaster
    assert instance.query(
        "control",
        "SELECT name FROM organization_summary WHERE organization_id = %s",
        organization,
    ) == [("Adopted",)]
    wait_until(instance.is_ready, "ready")


def test_killed_while_it_starts_it_starts_again(instance: Instance) -> None:
    assert instance.end() == 0
    states: list[Callable[[], object]] = [instance.server.is_running, instance.find_api]
    for state in states:
        instance.launch()
        wait_until(state, "half started")
        instance.kill()
    instance.server.kill()
    instance.start()
    wait_until(instance.is_ready, "ready")


@pytest.mark.parametrize("order", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_leaves_no_process(instance: Instance, order: signal.Signals) -> None:
    if not instance.is_ready():
        instance.start()
    assert len(instance.processes()) > 2
    assert instance.end(order, within_s=10) == 0
    assert instance.processes() == []


@pytest.mark.parametrize("state", ["server", "api"])
def test_told_to_stop_while_it_starts_it_leaves_no_process(instance: Instance, state: str) -> None:
    begun: dict[str, Callable[[], object]] = {
        "server": instance.server.is_running,
        "api": instance.find_api,
    }
    instance.launch()
    wait_until(begun[state], state)
    assert instance.end(within_s=10) == 0
    assert instance.processes() == []


def require_no_open_transaction(instance: Instance) -> None:
    """The killed process's sessions have ended, with what they had begun."""
    wait_until(
        lambda: (
            not instance.query(
                "shard",
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'polyclinic' "
                "AND xact_start < now() - interval '1 second' AND pid <> pg_backend_pid()",
            )
        ),
        "no transaction left open",
    )
