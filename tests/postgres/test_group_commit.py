"""Audit records by group commit: durable before anybody goes on, whoever else fails or leaves."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import asyncpg
import psycopg
import pytest

from polyclinic.audit.group_commit import GroupCommit, NotRecorded
from polyclinic.core.ids import OrganizationId, new_id
from polyclinic.databases import Databases
from polyclinic.db.node import Node, NodeRole, PoolLimits
from polyclinic.db.roles import AUDIT_WRITER
from polyclinic.settings import Settings
from polyclinic.tenancy.access import Access
from polyclinic.tenancy.context import OrganizationContext
from tests.postgres.conftest import Connect


@pytest.fixture
def writer(settings: Settings) -> Node:
    return Node(
        "audit",
        Databases(settings).as_role("shard", AUDIT_WRITER),
        NodeRole.PRIMARY,
        PoolLimits(size=2, statement_timeout_s=1),
    )


@pytest.fixture
async def group(writer: Node) -> AsyncIterator[GroupCommit]:
    group = GroupCommit(writer)
    await group.open()
    yield group
    await group.close()


@pytest.fixture
async def watching(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Sees what has committed, and nothing else."""
    connection = await asyncpg.connect(Databases(settings).admin("shard"))
    yield connection
    await connection.close()


def reading(patient: UUID) -> Access:
    return Access("patient.read", "patient", patient)


async def recorded(watching: asyncpg.Connection, patients: list[UUID]) -> dict[UUID, str]:
    """The transaction that recorded each of them."""
    rows = await watching.fetch(
        "SELECT entity_id, xmin::text FROM audit_log WHERE entity_id = ANY ($1)", patients
    )
    return dict(rows)


async def test_callers_at_the_same_time_share_few_transactions(
    group: GroupCommit, context: OrganizationContext, watching: asyncpg.Connection
) -> None:
    patients = [new_id() for _ in range(300)]
    await asyncio.gather(*(group.record(context, reading(patient)) for patient in patients))
    found = await recorded(watching, patients)
    assert set(found) == set(patients)
    assert len(set(found.values())) <= 3


async def test_a_batch_mixes_organizations_and_keeps_each_records_own(
    group: GroupCommit, context: OrganizationContext, watching: asyncpg.Connection
) -> None:
    contexts = [
        replace(context, organization_id=OrganizationId(new_id()), request_id=f"r{number}")
        for number in range(20)
    ]
    patients = [new_id() for _ in contexts]
    await asyncio.gather(
        *(group.record(c, reading(p)) for c, p in zip(contexts, patients, strict=True))
    )
    rows = await watching.fetch(
        "SELECT entity_id, organization_id, user_id, role, request_id, action, outcome "
        "FROM audit_log WHERE entity_id = ANY ($1)",
        patients,
    )
    assert {tuple(row) for row in rows} == {
        (p, c.organization_id, c.user_id, str(c.role), c.request_id, "patient.read", "done")
        for c, p in zip(contexts, patients, strict=True)
    }


async def test_nobody_goes_on_before_the_record_has_committed(
    group: GroupCommit, context: OrganizationContext, watching: asyncpg.Connection
) -> None:
    async def record_and_look() -> None:
        patient = new_id()
        await group.record(context, reading(patient))
        async with looking:
            assert await recorded(watching, [patient])

    looking = asyncio.Lock()
    await asyncio.gather(*(record_and_look() for _ in range(100)))


async def test_while_the_writer_waits_so_do_its_callers(
    group: GroupCommit, context: OrganizationContext, watching: asyncpg.Connection
) -> None:
    patient = new_id()
    async with watching.transaction():
        await watching.execute("LOCK TABLE audit_log IN SHARE MODE")
        recording = asyncio.create_task(group.record(context, reading(patient)))
        await until_blocked(watching)
        assert not recording.done()
    await recording
    assert await recorded(watching, [patient])


async def test_a_cancelled_caller_harms_nobody(
    group: GroupCommit, context: OrganizationContext, watching: asyncpg.Connection
) -> None:
    patients = [new_id() for _ in range(10)]
    async with watching.transaction():
        await watching.execute("LOCK TABLE audit_log IN SHARE MODE")
        recording = [asyncio.create_task(group.record(context, reading(p))) for p in patients]
        await until_blocked(watching)
        for task in recording[::2]:
            task.cancel()
    outcomes = await asyncio.gather(*recording, return_exceptions=True)
    assert outcomes[1::2] == [None] * 5
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::2])
    assert set(await recorded(watching, patients)) == set(patients)
    await group.record(context, reading(new_id()))


async def test_a_failing_writer_fails_each_of_its_callers_and_recovers(
    group: GroupCommit, context: OrganizationContext, watching: asyncpg.Connection
) -> None:
    patients = [new_id() for _ in range(10)]
    async with watching.transaction():
        await watching.execute("LOCK TABLE audit_log IN SHARE MODE")
        async with asyncio.timeout(10):  # the writer's statement timeout is 1 s
            outcomes = await asyncio.gather(
                *(group.record(context, reading(p)) for p in patients), return_exceptions=True
            )
    assert [type(outcome) for outcome in outcomes] == [NotRecorded] * 10
    assert await recorded(watching, patients) == {}
    await group.record(context, reading(patients[0]))
    assert set(await recorded(watching, patients)) == {patients[0]}


async def test_without_a_server_every_caller_fails_at_once(context: OrganizationContext) -> None:
    nowhere = Node(
        "audit", "postgresql://x@/x?host=/nonexistent", NodeRole.PRIMARY, PoolLimits(size=2)
    )
    group = GroupCommit(nowhere)
    await group.open()
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(
            *(group.record(context, reading(new_id())) for _ in range(50)), return_exceptions=True
        )
    assert [type(outcome) for outcome in outcomes] == [NotRecorded] * 50
    await group.close()


async def test_closing_writes_what_waits(
    writer: Node, context: OrganizationContext, watching: asyncpg.Connection
) -> None:
    group = GroupCommit(writer)
    await group.open()
    patient = new_id()
    recording = asyncio.create_task(group.record(context, reading(patient)))
    await asyncio.sleep(0)
    await group.close()
    await recording
    assert await recorded(watching, [patient])


def test_the_writers_role_can_add_records_and_do_nothing_else(
    settings: Settings, as_admin: Connect
) -> None:
    rights = as_admin("shard").execute(
        "SELECT c.relname, p.privilege_type "
        "FROM pg_class c, aclexplode(c.relacl) p "
        "WHERE p.grantee IN (0, 'polyclinic_audit_writer'::regrole) "
        "AND c.relnamespace = 'public'::regnamespace"
    )
    assert rights.fetchall() == [("audit_log", "INSERT")]
    dsn = Databases(settings).as_role("shard", AUDIT_WRITER)
    for statement in (
        b"SELECT FROM audit_log",
        b"UPDATE audit_log SET role = 'x'",
        b"DELETE FROM audit_log",
        b"TRUNCATE audit_log",
        b"SELECT FROM patients",
        b"SELECT FROM patient_persons",
        b"CREATE TABLE public.x ()",
        b"CREATE TEMPORARY TABLE x ()",
        b"SET ROLE polyclinic_app",
        b"SET ROLE polyclinic_keeper",
    ):
        with psycopg.connect(dsn) as connection, pytest.raises(psycopg.Error, match="permission"):
            connection.execute(statement)


def test_the_writers_role_may_call_no_function_that_sees_past_an_organization(
    as_admin: Connect,
) -> None:
    callable_ones = as_admin("shard").execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef "
        "AND has_function_privilege('polyclinic_audit_writer', oid, 'EXECUTE')"
    )
    assert [name for (name,) in callable_ones if not re.match("gtrgm", name)] == []


async def until_blocked(watching: asyncpg.Connection) -> None:
    """A session waits for the lock that `watching` holds."""
    async with asyncio.timeout(10):
        while not await watching.fetchval(
            # Not pg_stat_activity: a transaction sees one state of that.
            "SELECT EXISTS (SELECT FROM pg_locks "
            "WHERE relation = 'audit_log'::regclass AND NOT granted)"
        ):
            await asyncio.sleep(0.01)
