"""The context and the one door: who acts is set once, for one transaction, and leaks nowhere."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from time import monotonic

import asyncpg
import psycopg
import pytest

from polyclinic.app import Polyclinic
from polyclinic.core.errors import PolyclinicError
from polyclinic.core.ids import OrganizationId, PatientId, new_id
from polyclinic.db.errors import PoolFull, StatementTimedOut
from polyclinic.db.node import Node, NodeRole, PoolLimits
from polyclinic.db.roles import APP
from polyclinic.organizations.organization import Organization
from polyclinic.patients import reading
from polyclinic.patients.errors import PatientNotFound
from polyclinic.patients.registration import RegisterPatient, register
from polyclinic.shards.directory import Directory
from polyclinic.tenancy.context import OrganizationContext
from polyclinic.tenancy.door import Door, HeldOver, HomeMoved, Intent, outside_call
from tests.conftest import FoundOrganization, acting
from tests.postgres.conftest import Connect

CURRENT = "SELECT NULLIF(current_setting('app.current_org_id', true), '')"
BRANCH = (
    "INSERT INTO branches (organization_id, id, name, timezone) VALUES ($1, $2, 'x', 'Europe/Rome')"
)

OpenNode = Callable[..., Node]


@pytest.fixture
async def open_node(parts: Polyclinic) -> AsyncIterator[OpenNode]:
    """Makes a node of the shard with limits of the test's own."""
    async with AsyncExitStack() as stack:

        def opened(**limits: float) -> Node:
            dsn = parts.databases.as_role("shard", APP)
            node = Node("test", dsn, NodeRole.PRIMARY, PoolLimits(**limits))  # type: ignore[arg-type]
            stack.push_async_callback(node.close)
            return node

        yield opened


@pytest.fixture
async def narrow(parts: Polyclinic) -> AsyncIterator[Door]:
    """A door of four connections."""
    limits = PoolLimits(size=4, max_wait_s=30)
    directory = Directory(parts.control, resolve_dsn=parts.databases.resolve, limits=limits)
    yield Door(directory, parts.control)
    await directory.close()


async def registered(
    parts: Polyclinic, context: OrganizationContext, name: str = "A Patient"
) -> PatientId:
    async with parts.door.transaction(context, Intent.WRITE) as transaction:
        made = await register(transaction, parts.keys.ring, RegisterPatient(name=name))
    return made.patient_id


# -- In the database ------------------------------------------------------------------------


def enter(app: psycopg.Connection, organization: Organization) -> None:
    app.execute(
        "SELECT enter_organization(%s, %s, 'admin', '', 'test')", [organization.id, new_id()]
    )


async def test_a_context_is_set_once(organization: Organization, as_app: Connect) -> None:
    app = as_app("shard")
    enter(app, organization)
    with pytest.raises(psycopg.Error) as refused:
        enter(app, organization)
    assert refused.value.sqlstate == "PC001"


@pytest.mark.parametrize(
    "call",
    [
        "patient_read('{0}', '{0}', 'admin', '', 'test', '{0}')",
        "patient_page('{0}', '{0}', 'admin', '', 'test', 10, NULL)",
        (
            "patient_search('{0}', '{0}', 'admin', '', 't', '{{}}', '{{}}', '', '{{}}', "
            "9, 0, '', '', '{0}')"
        ),
    ],
)
async def test_a_hot_function_is_refused_where_a_context_is_set(
    call: str, organization: Organization, as_app: Connect
) -> None:
    app = as_app("shard")
    query = f"SELECT * FROM {call.format(organization.id)}"
    app.execute(query.encode())
    app.commit()
    enter(app, organization)
    with pytest.raises(psycopg.Error) as refused:
        app.execute(query.encode())
    assert refused.value.sqlstate == "PC001"
    app.rollback()
    with pytest.raises(psycopg.Error) as refused:  # two in one message are one transaction
        app.execute(f"{query}; {query}".encode())
    assert refused.value.sqlstate == "PC001"


@pytest.mark.parametrize("ending", ["COMMIT", "ROLLBACK"])
async def test_the_context_ends_with_the_transaction(
    ending: str, organization: Organization, as_app: Connect
) -> None:
    app = as_app("shard")
    enter(app, organization)
    assert app.execute(CURRENT.encode()).fetchone() == (str(organization.id),)
    app.execute(ending.encode())
    for name in ("org_id", "user_id", "role", "branch_ids", "request_id"):
        row = app.execute("SELECT current_setting(%s, true)", [f"app.current_{name}"]).fetchone()
        assert row in ((None,), ("",))


# -- At the door ----------------------------------------------------------------------------


async def test_a_transaction_commits_its_work_and_an_error_undoes_it(
    parts: Polyclinic, context: OrganizationContext
) -> None:
    async def add(fails: bool) -> None:
        async with parts.door.transaction(context, Intent.WRITE) as transaction:
            await transaction.execute(BRANCH, context.organization_id, new_id())
            if fails:
                raise KeyError

    await add(fails=False)
    with pytest.raises(KeyError):
        await add(fails=True)
    async with parts.door.transaction(context, Intent.READ) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM branches") == 1


async def test_work_after_a_swallowed_error_is_never_said_to_be_committed(
    parts: Polyclinic, context: OrganizationContext
) -> None:
    async def swallow() -> None:
        async with parts.door.transaction(context, Intent.WRITE) as transaction:
            await transaction.execute(BRANCH, context.organization_id, new_id())
            with suppress(asyncpg.PostgresError):
                await transaction.execute("SELECT 1 / 0")

    with pytest.raises(PolyclinicError):  # PostgreSQL answers this COMMIT with ROLLBACK
        await swallow()


async def test_two_first_statements_at_once_lose_no_connection(
    parts: Polyclinic, context: OrganizationContext
) -> None:
    limits = PoolLimits(size=2, max_wait_s=0.5)
    directory = Directory(parts.control, resolve_dsn=parts.databases.resolve, limits=limits)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(directory.close)
        node = (await directory.route(context.organization_id)).primary
        door = Door(directory, parts.control)
        with suppress(PolyclinicError, asyncpg.InterfaceError):
            async with door.transaction(context, Intent.READ) as transaction:
                both = transaction.fetchval(CURRENT), transaction.fetchval(CURRENT)
                await asyncio.gather(*both, return_exceptions=True)
        async with node.connection(), node.connection():
            pass


async def test_a_transaction_in_a_transaction_is_refused(
    parts: Polyclinic, context: OrganizationContext
) -> None:
    async with parts.door.transaction(context, Intent.READ) as outer:
        for opened in (
            parts.door.transaction(context, Intent.READ),
            parts.door.control_transaction(context, Intent.READ),
        ):
            with pytest.raises(HeldOver):
                async with opened:
                    pass
        with pytest.raises(HeldOver):
            await reading.read(parts.door, context, new_id())
        assert await outer.fetchval(CURRENT) == str(context.organization_id)


async def test_an_outside_call_is_refused_while_a_connection_is_held(
    parts: Polyclinic, context: OrganizationContext
) -> None:
    async with parts.door.transaction(context, Intent.READ) as transaction:
        with outside_call():
            pass
        await transaction.fetchval(CURRENT)
        with pytest.raises(HeldOver), outside_call():
            pass
    with outside_call():
        pass


async def test_a_transaction_without_a_statement_takes_no_connection(
    parts: Polyclinic, context: OrganizationContext
) -> None:
    limits = PoolLimits(size=1, max_wait_s=0.05)
    directory = Directory(parts.control, resolve_dsn=parts.databases.resolve, limits=limits)
    node = (await directory.route(context.organization_id)).primary
    async with node.connection():  # the only one
        async with Door(directory, parts.control).transaction(context, Intent.WRITE):
            pass
        with pytest.raises(PoolFull):
            async with Door(directory, parts.control).transaction(context, Intent.READ) as late:
                await late.fetchval(CURRENT)
    await directory.close()


# -- The pool -------------------------------------------------------------------------------


async def test_a_cut_off_statements_answer_reaches_nobody_else(
    open_node: OpenNode,
) -> None:
    node = open_node(size=4, max_wait_s=30)
    await node.open()
    dice = random.Random(270_000)

    async def asked(number: int) -> None:
        row = await node.fetchrow("SELECT $1::int, pg_sleep($2)", number, dice.random() / 500)
        assert row is not None
        assert row[0] == number

    async def asked_and_cut_off(number: int) -> None:
        task = asyncio.create_task(asked(number))
        await asyncio.sleep(dice.random() / 400)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    for start in range(0, 200, 20):
        both = [asked_and_cut_off(start + i) for i in range(20)] + [asked(-i) for i in range(10)]
        await asyncio.gather(*both)
    await asyncio.gather(*(asked(number) for number in range(200)))


async def test_a_cancelled_statements_connection_is_discarded(
    open_node: OpenNode, as_admin: Connect
) -> None:
    node, admin = open_node(size=1, statement_timeout_s=60), as_admin("shard")
    admin.autocommit = True
    await node.open()
    before = await node.fetchrow("SELECT pg_backend_pid()")
    assert before is not None
    task = asyncio.create_task(node.fetchrow("SELECT pg_sleep(60)"))
    running = "SELECT FROM pg_stat_activity WHERE pid = %s AND query = 'SELECT pg_sleep(60)'"
    while not admin.execute(running, [before[0]]).rowcount:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await node.fetchrow("SELECT pg_backend_pid()") != before


async def test_a_cut_off_transaction_leaves_no_context_and_no_lock(
    narrow: Door, context: OrganizationContext
) -> None:
    dice = random.Random(270_001)

    async def locked() -> None:
        async with narrow.transaction(context, Intent.WRITE) as transaction:
            await transaction.execute("SELECT pg_advisory_xact_lock(4711)")
            await transaction.execute("SELECT pg_sleep($1)", dice.random() / 300)

    for _ in range(10):
        tasks = [asyncio.create_task(locked()) for _ in range(8)]
        await asyncio.sleep(dice.random() / 100)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    node = (await narrow._directory.route(context.organization_id)).primary
    await locked()
    async with AsyncExitStack() as stack:  # all four at once
        for _ in range(4):
            connection = await stack.enter_async_context(node.connection())
            assert await connection.fetchval(CURRENT) is None


async def test_a_statement_past_its_time_is_cancelled_and_the_connection_serves_on(
    open_node: OpenNode,
) -> None:
    node = open_node(size=1, statement_timeout_s=0.05)
    await node.open()
    with pytest.raises(StatementTimedOut):
        await node.fetchrow("SELECT pg_sleep(5)")
    assert await node.fetchrow("SELECT 7") == (7,)


async def test_waiters_are_served_first_come_first_served(open_node: OpenNode) -> None:
    node = open_node(size=2, max_wait_s=30)
    await node.open()
    served: list[int] = []

    async def take(number: int) -> None:
        connection = await node.acquire()
        served.append(number)
        node.release(connection, clean=True)

    held = [await node.acquire(), await node.acquire()]
    waiting = []
    for number in range(30):
        waiting.append(asyncio.create_task(take(number)))
        await asyncio.sleep(0)  # it joins the queue
    for connection in held:
        node.release(connection, clean=True)
    late = asyncio.create_task(take(30))
    await asyncio.gather(*waiting, late)
    assert served == list(range(31))


async def test_a_full_pool_says_so_in_bounded_time(open_node: OpenNode) -> None:
    node = open_node(size=1, max_waiting=3, max_wait_s=0.1)
    await node.open()
    connection = await node.acquire()
    started = monotonic()
    answers = await asyncio.gather(*(node.acquire() for _ in range(20)), return_exceptions=True)
    assert all(isinstance(answer, PoolFull) for answer in answers)
    assert monotonic() - started < 1
    node.release(connection, clean=True)
    assert await node.fetchrow("SELECT 7") == (7,)


async def test_a_waiter_that_gives_up_leaves_no_hole_in_the_queue(
    open_node: OpenNode,
) -> None:
    node = open_node(size=1, max_wait_s=30)
    await node.open()
    held = await node.acquire()
    waiting = [asyncio.create_task(node.fetchrow("SELECT $1::int", n)) for n in range(40)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()
    node.release(held, clean=True)
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [answer[0] for answer in answers[1::2] if isinstance(answer, asyncpg.Record)] == list(
        range(1, 40, 2)
    )


# -- One writable home ------------------------------------------------------------------------


@pytest.mark.parametrize("fence", ["epoch = 2", "writable = false"])
async def test_a_write_over_a_stale_route_is_refused_and_the_route_looked_up_anew(
    parts: Polyclinic, context: OrganizationContext, as_admin: Connect, fence: str
) -> None:
    async def write() -> None:
        async with parts.door.transaction(context, Intent.WRITE) as transaction:
            await transaction.execute(BRANCH, context.organization_id, new_id())

    await write()
    shard, control = as_admin("shard"), as_admin("control")
    here = [context.organization_id]
    shard.execute(f"UPDATE tenant_fence SET {fence} WHERE organization_id = %s".encode(), here)
    shard.commit()
    with pytest.raises(HomeMoved):
        await write()
    async with parts.door.transaction(context, Intent.READ) as transaction:  # reads go on
        assert await transaction.fetchval("SELECT count(*) FROM branches") == 1
    shard.execute(
        "UPDATE tenant_fence SET epoch = 2, writable = true WHERE organization_id = %s", here
    )
    shard.commit()
    control.execute("UPDATE tenant_shards SET epoch = 2 WHERE organization_id = %s", here)
    control.commit()
    with suppress(HomeMoved):  # the read above has looked the old route up again
        await write()
    await write()


# -- Under fire -------------------------------------------------------------------------------


async def test_two_thousand_hot_calls_of_two_organizations_leak_nothing(
    parts: Polyclinic, narrow: Door, found_organization: FoundOrganization
) -> None:
    dice = random.Random(270_002)
    contexts = [acting(await found_organization()) for _ in range(2)]
    patients = {
        context.organization_id: [await registered(parts, context) for _ in range(5)]
        for context in contexts
    }
    everybody = [patient for known in patients.values() for patient in known]
    outcomes: Counter[tuple[OrganizationId, bool]] = Counter()

    async def one(context: OrganizationContext, patient: PatientId) -> None:
        is_own = patient in patients[context.organization_id]
        try:
            row = await reading.read(narrow, context, patient)
            assert is_own
            assert row["id"] == patient
        except PatientNotFound:
            assert not is_own
        outcomes[context.organization_id, is_own] += 1

    async def counted(context: OrganizationContext) -> None:
        async with narrow.transaction(context, Intent.READ) as transaction:
            seen = await transaction.fetch("SELECT organization_id FROM patients")
        assert {row[0] for row in seen} == {context.organization_id}

    async def impatient(context: OrganizationContext, patient: PatientId) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(dice.random() / 100):
                await one(context, patient)

    for _ in range(10):
        calls = [one(dice.choice(contexts), dice.choice(everybody)) for _ in range(200)]
        calls += [counted(dice.choice(contexts)) for _ in range(10)]
        calls += [impatient(dice.choice(contexts), dice.choice(everybody)) for _ in range(10)]
        dice.shuffle(calls)
        await asyncio.gather(*calls)
    assert len(outcomes) == 4
    assert outcomes.total() >= 2000
