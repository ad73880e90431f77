"""The one place where the parts are built and joined."""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from polyclinic.audit.group_commit import GroupCommit
from polyclinic.audit.partitions import make_partitions
from polyclinic.core.keys import KeyRing
from polyclinic.databases import Databases
from polyclinic.db.listener import Listener
from polyclinic.db.migrations import wanted_version
from polyclinic.db.node import Node, NodeRole, PoolLimits
from polyclinic.db.periodic import Periodic
from polyclinic.db.roles import APP, AUDIT_WRITER
from polyclinic.db.secret_files import KeyFile
from polyclinic.identity.key_store import KeyStore
from polyclinic.organizations.organization import finish_creating
from polyclinic.organizations.organization import read as read_organization
from polyclinic.settings import Settings
from polyclinic.shards.directory import Directory
from polyclinic.tenancy.caller import Callers
from polyclinic.tenancy.context import OrganizationContext
from polyclinic.tenancy.door import Door
from polyclinic.tenancy.idempotency import forget_old_keys
from polyclinic.tenancy.signin import DevIssuer, IssuerSettings, RemoteKeys, TokenVerifier

UPKEEP_S = 6 * 3600


class Polyclinic:
    """An installation as one process sees it: settings, databases, keys, and what uses them.

    `async with polyclinic.open():` for a command; the HTTP application uses `running`, which also
    starts the background work.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.databases = Databases(settings)
        self._http = httpx.AsyncClient(timeout=5)
        limits = PoolLimits(
            size=settings.pool_size,
            max_waiting=settings.pool_max_waiting,
            max_wait_s=settings.pool_max_wait_s,
            statement_timeout_s=settings.statement_timeout_s,
        )
        control_dsn = self.databases.as_role("control", APP)
        self.control = Node("control/primary", control_dsn, NodeRole.PRIMARY, limits)
        self.shard = Node(
            "shard/upkeep",
            self.databases.as_role("shard", APP),
            NodeRole.PRIMARY,
            PoolLimits(size=2),
        )
        self.directory = Directory(self.control, resolve_dsn=self.databases.resolve, limits=limits)
        self.keys = KeyStore(self._load_ring)
        self.accesses = GroupCommit(
            Node(
                "shard/audit",
                self.databases.as_role("shard", AUDIT_WRITER),
                NodeRole.PRIMARY,
                PoolLimits(size=2),
            )
        )
        reads_replicas = settings.reads_from == "replica"
        self.door = Door(self.directory, self.control, self.accesses if reads_replicas else None)
        self.issuer, verifier = self._sign_in()
        self.callers = Callers(verifier, self.control, self.directory)
        self.upkeep = Periodic("upkeep", self._keep_up, every_s=UPKEEP_S, retry_s=60)
        self.listener = Listener(
            control_dsn,
            {
                "membership_changed": self.callers.forget,
                "data_keys_changed": self.keys.follow,
            },
            self.callers.forget,
        )
        self._countries: dict[Any, str] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Polyclinic"]:
        """The pools, for as long as the block runs."""
        await self.control.open()
        await self.shard.open()
        await self.accesses.open()
        try:
            yield self
        finally:
            await self.accesses.close()
            await self.directory.close()
            await self.shard.close()
            await self.control.close()
            await self._http.aclose()

    @asynccontextmanager
    async def running(self, _: object = None) -> AsyncIterator[None]:
        """The pools and the background work of an API process."""
        async with self.open():
            self.listener.start()
            self.upkeep.start()
            # What lives now lives long: keep the collector away from it.
            gc.collect()
            gc.freeze()
            try:
                yield
            finally:
                await self.upkeep.stop()
                await self.listener.stop()

    async def country(self, context: OrganizationContext) -> str:
        """The organization's country, which never changes."""
        known = self._countries.get(context.organization_id)
        if known is None:
            row = await read_organization(self.door, context)
            known = self._countries[context.organization_id] = row.country
        return known

    def readiness_checks(self) -> dict[str, Callable[[], Awaitable[str]]]:
        """What `/readyz` asks: each answers 'ok' or what is wrong."""
        return {
            "control": lambda: _schema_check(self.control, wanted_version("control")),
            "shard": lambda: _schema_check(self.shard, wanted_version("shard")),
        }

    async def _keep_up(self) -> None:
        """What time or a crash leaves to do; every step is safe to repeat."""
        for node in (self.control, self.shard):
            await make_partitions(node)
            await forget_old_keys(node)
        await finish_creating(self.door, self.control)

    def _load_ring(self) -> KeyRing:
        if self.settings.data_keys is not None:
            return KeyRing.parse(self.settings.data_keys.get_secret_value())
        return KeyFile(self.settings.data_dir / "data-keys").load_or_create()

    def _sign_in(self) -> tuple[str, TokenVerifier]:
        settings = self.settings
        if settings.oidc_issuer is None:
            issuer = DevIssuer.open(settings.data_dir, None)
            return issuer.issuer, issuer.verifier()
        configured = IssuerSettings(
            issuer=settings.oidc_issuer,
            audience=settings.oidc_audience,
            jwks_url=settings.oidc_jwks_url,
            subject_claim=settings.oidc_subject_claim,
            organization_claim=settings.oidc_organization_claim,
            role_claim=settings.oidc_role_claim,
            leeway_s=settings.oidc_leeway_s,
        )
        return configured.issuer, TokenVerifier(configured, RemoteKeys(configured, self._http))


async def _schema_check(node: Node, wanted: str) -> str:
    async with node.connection() as connection:
        current = await connection.fetchval("SELECT version_num FROM schema_version")
    return "ok" if current == wanted else f"schema {current}, this code needs {wanted}"
