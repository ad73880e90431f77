"""Every connection is taken, statements take too long, callers go away: the rest is served."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import httpx
import pytest
import uvicorn

from polyclinic.api.application import create_http
from polyclinic.app import Polyclinic
from polyclinic.core.ids import new_id
from polyclinic.databases import Databases
from polyclinic.db.errors import PoolFull
from polyclinic.db.node import Node, NodeRole, PoolLimits
from polyclinic.db.roles import APP
from polyclinic.organizations.organization import Organization
from polyclinic.settings import Settings
from polyclinic.tenancy.context import Role
from tests.conftest import Api
from tests.drill.instance import free_port

pytestmark = pytest.mark.drill
PATH = "/v1/patients"


@dataclass(frozen=True, slots=True)
class Small:
    """The API over a pool of two, and a hold on what its statements need."""

    client: httpx.AsyncClient
    headers: dict[str, str]
    watching: asyncpg.Connection
    port: int

    async def register(self) -> httpx.Response:
        body = {"name": f"Pool {new_id().hex}", "date_of_birth": "1990-01-02"}
        return await self.client.post(PATH, json=body, headers=self.headers)

    @asynccontextmanager
    async def registrations_wait(self) -> AsyncIterator[None]:
        """Whoever registers waits in the database, inside a transaction."""
        async with self.watching.transaction():
            await self.watching.execute("LOCK TABLE patients IN SHARE MODE")
            yield

    async def blocked(self, count: int) -> None:
        """Wait until as many sessions wait for the hold."""
        async with asyncio.timeout(5):
            while count != await self.watching.fetchval(
                # Not pg_stat_activity: a transaction sees one state of that.
                "SELECT count(*) FROM pg_locks "
                "WHERE relation = 'patients'::regclass AND NOT granted"
            ):
                await asyncio.sleep(0.01)


@asynccontextmanager
async def served(settings: Settings, organization: Organization) -> AsyncIterator[Small]:
    """A real HTTP server on a port of its own, in this process."""
    port = free_port()
    app = create_http(Polyclinic(settings))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, ws="none"))
    serving = asyncio.create_task(server.serve())
    watching = await asyncpg.connect(Databases(settings).admin("shard"))
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=15) as client:
            async with asyncio.timeout(15):
                while not server.started:
                    await asyncio.sleep(0.01)
            headers = await Api(client, settings).as_role(Role.RECEPTIONIST, organization)
            small = Small(client, headers, watching, port)
            assert (await small.register()).status_code == 201
            yield small
    finally:
        await watching.close()
        server.should_exit = True
        await serving


def small_settings(settings: Settings, *, statement_timeout_s: float) -> Settings:
    return Settings(
        data_dir=settings.data_dir,
        pool_size=2,
        pool_max_wait_s=0.3,
        pool_max_waiting=10,
        statement_timeout_s=statement_timeout_s,
    )


async def test_a_full_pool_answers_503_in_bounded_time_and_serves_on(
    settings: Settings, organization: Organization
) -> None:
    async with served(small_settings(settings, statement_timeout_s=10), organization) as small:
        async with small.registrations_wait():
            holding = [asyncio.create_task(small.register()) for _ in range(2)]
            await small.blocked(2)
            async with asyncio.timeout(5):
                refused = await asyncio.gather(*(small.register() for _ in range(30)))
            assert {r.status_code for r in refused} == {503}
            assert {r.json()["code"] for r in refused} == {"busy"}
            assert all(r.headers["retry-after"] for r in refused)
            health = await small.client.get("/healthz")
            assert health.status_code == 200
        assert [(await task).status_code for task in holding] == [201, 201]
        served_again = await asyncio.gather(*(small.register() for _ in range(5)))
        assert {r.status_code for r in served_again} == {201}


async def test_a_statement_that_takes_too_long_is_undone_and_the_pool_serves_on(
    settings: Settings, organization: Organization
) -> None:
    async with served(small_settings(settings, statement_timeout_s=0.5), organization) as small:
        async with small.registrations_wait():
            async with asyncio.timeout(5):
                late = await asyncio.gather(*(small.register() for _ in range(2)))
            assert [(r.status_code, r.json()["code"]) for r in late] == [
                (503, "statement-timeout")
            ] * 2
            assert all(r.headers["retry-after"] for r in late)
        again = await asyncio.gather(*(small.register() for _ in range(5)))
        assert {r.status_code for r in again} == {201}
        await no_transaction_is_left(small)


async def test_callers_who_go_away_leak_no_connection(
    settings: Settings, organization: Organization
) -> None:
    async with served(small_settings(settings, statement_timeout_s=10), organization) as small:
        async with small.registrations_wait():
            senders = [send_and_go(small) for _ in range(2)]
            await small.blocked(2)
            for sender in senders:
                sender.close()
        again = await asyncio.gather(*(small.register() for _ in range(5)))
        assert {r.status_code for r in again} == {201}
        await no_transaction_is_left(small)


async def test_a_request_out_of_time_gives_its_connection_back(
    settings: Settings, organization: Organization
) -> None:
    hurried = small_settings(settings, statement_timeout_s=10)
    hurried.request_timeout_s = 0.5
    async with served(hurried, organization) as small:
        async with small.registrations_wait():
            late = await asyncio.gather(*(small.register() for _ in range(2)))
            assert [(r.status_code, r.json()["code"]) for r in late] == [
                (503, "request-timeout")
            ] * 2
        again = await asyncio.gather(*(small.register() for _ in range(2)))
        assert {r.status_code for r in again} == {201}
        await no_transaction_is_left(small)


@asynccontextmanager
async def node_of_one(settings: Settings, limits: PoolLimits) -> AsyncIterator[Node]:
    dsn = Databases(settings).as_role("shard", APP)
    node = Node("pool-of-one", dsn, NodeRole.PRIMARY, limits)
    await node.open()
    yield node
    await node.close()


async def test_who_came_first_is_served_first(settings: Settings) -> None:
    order: list[int] = []

    async def take(number: int) -> None:
        async with node.connection():
            order.append(number)
            await asyncio.sleep(0)

    async with node_of_one(settings, PoolLimits(size=1, max_wait_s=10)) as node:
        async with node.connection():
            waiting = [asyncio.create_task(take(number)) for number in range(50)]
            await asyncio.sleep(0)
            for gone in waiting[10:20]:
                gone.cancel()
        latecomer = asyncio.create_task(take(50))
        await asyncio.gather(*waiting, latecomer, return_exceptions=True)
    assert order == [*range(10), *range(20, 51)]


async def test_the_line_is_bounded_and_cancelled_waiters_leave_it(settings: Settings) -> None:
    limits = PoolLimits(size=1, max_waiting=3, max_wait_s=10)
    async with node_of_one(settings, limits) as node:
        async with node.connection():
            waiting = [asyncio.create_task(node.acquire()) for _ in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(PoolFull):
                await node.acquire()
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            waiting = [asyncio.create_task(node.acquire())]
            await asyncio.sleep(0)
        node.release(await waiting[0], clean=True)


async def test_a_cut_off_statement_costs_its_connection_alone(settings: Settings) -> None:
    async with node_of_one(settings, PoolLimits(size=1, max_wait_s=5)) as node:
        async with node.connection() as connection:
            first = connection.get_server_pid()
        sleeping = asyncio.create_task(node.fetchrow("SELECT pg_sleep(20)"))
        await asyncio.sleep(0.05)
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
        row = await node.fetchrow("SELECT pg_backend_pid() AS pid, 'own' AS answer")
        assert row is not None
        assert row["answer"] == "own"
        assert row["pid"] != first


def send_and_go(small: Small) -> socket.socket:
    """A registration whose sender does not wait for the answer."""
    body = b'{"name": "Gone Away", "date_of_birth": "1990-01-02"}'
    head = [f"POST {PATH} HTTP/1.1", "Host: test", "Content-Type: application/json"]
    head += [f"{name}: {value}" for name, value in small.headers.items()]
    head += [f"Content-Length: {len(body)}", "", ""]
    sender = socket.create_connection(("127.0.0.1", small.port))
    sender.sendall("\r\n".join(head).encode() + body)
    return sender


async def no_transaction_is_left(small: Small) -> None:
    async with asyncio.timeout(5):
        while await small.watching.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'polyclinic' "
            "AND state LIKE '%in transaction%' AND state_change < now() - interval '0.3 s')"
        ):
            await asyncio.sleep(0.02)
