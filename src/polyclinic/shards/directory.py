"""The directory: organization -> shard, epoch and node, cached in this process.

A cached route may be stale; that is safe, because a write checks the epoch again inside the shard.
With the control database down, known routes go on serving and unknown ones are a fault: nothing is
guessed.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from polyclinic.core.errors import Fault, NotFound
from polyclinic.core.ids import OrganizationId
from polyclinic.db.node import Node, NodeRole, PoolLimits
from polyclinic.db.sql_files import statement

ROUTE_LIFETIME_S = 300


class OrganizationUnknown(NotFound):
    """No active organization has this id."""

    code = "organization-not-found"


@dataclass(frozen=True, slots=True)
class Route:
    """Where to send an organization's statements, as of the directory's last answer."""

    shard_id: str
    region_id: str
    epoch: int
    primary: Node
    replicas: tuple[Node, ...] = ()


class Directory:
    """Looks routes up in the control database and owns the shards' pools."""

    def __init__(
        self,
        control: Node,
        *,
        resolve_dsn: Callable[[str], str],
        limits: PoolLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control = control
        self._resolve_dsn = resolve_dsn
        self._limits = limits
        self._clock = clock
        self._routes: dict[UUID, tuple[float, Route]] = {}
        self._nodes: dict[tuple[str, str], Node] = {}
        self._lookups: dict[UUID, asyncio.Task[Route]] = {}

    async def route(self, organization_id: OrganizationId) -> Route:
        """The organization's route. Raises `OrganizationUnknown`, `DatabaseUnavailable`."""
        known = self._routes.get(organization_id)
        if known is not None and known[0] > self._clock():
            return known[1]
        try:
            return await self._shared_lookup(organization_id)
        except Fault:
            if known is None:
                raise
            return known[1]

    async def route_while_creating(self, organization_id: OrganizationId) -> Route:
        """The way to an organization that may still be in creation; not kept."""
        return await self._find(organization_id, is_creating_allowed=True)

    def forget(self, organization_id: UUID | None = None) -> None:
        """Drop one route, or all: the next use asks the control database again."""
        if organization_id is None:
            self._routes.clear()
        else:
            self._routes.pop(organization_id, None)

    async def close(self) -> None:
        """Close the shards' pools."""
        nodes, self._nodes = self._nodes, {}
        for node in nodes.values():
            await node.close()

    async def _shared_lookup(self, organization_id: OrganizationId) -> Route:
        """One query for however many ask at once; a caller who gives up does not end it."""
        task = self._lookups.get(organization_id)
        if task is None:
            task = asyncio.create_task(self._look_up(organization_id))
            self._lookups[organization_id] = task
            task.add_done_callback(lambda done: self._looked_up(organization_id, done))
        return await asyncio.shield(task)

    def _looked_up(self, organization_id: OrganizationId, task: asyncio.Task[Route]) -> None:
        self._lookups.pop(organization_id, None)
        if not task.cancelled():
            task.exception()  # seen, even where every caller has given up

    async def _look_up(self, organization_id: OrganizationId) -> Route:
        route = await self._find(organization_id, is_creating_allowed=False)
        self._routes[organization_id] = (self._clock() + ROUTE_LIFETIME_S, route)
        return route

    async def _find(self, organization_id: OrganizationId, *, is_creating_allowed: bool) -> Route:
        async with self._control.connection() as connection:
            rows = await connection.fetch(
                statement("polyclinic.shards", "find_route"), organization_id, is_creating_allowed
            )
        if not rows:
            raise OrganizationUnknown(f"no organization {organization_id}")
        primary, *replicas = [await self._node(row) for row in rows]
        first = rows[0]
        return Route(
            first["shard_id"], first["region_id"], first["epoch"], primary, tuple(replicas)
        )

    async def _node(self, row: asyncpg.Record) -> Node:
        key = (row["shard_id"], row["node_id"])
        if key not in self._nodes:
            dsn = self._resolve_dsn(row["dsn_reference"])
            self._nodes[key] = Node("/".join(key), dsn, NodeRole(row["role"]), self._limits)
        await self._nodes[key].open()
        return self._nodes[key]
