"""Which steps of a demo or seed are done: a marker that commits with the step's own rows.

So a step happens once, however often it is begun: after a kill it is there whole or not at all,
and of two processes that begin it the second waits and finds it done.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from polyclinic.db.sql_files import statement
from polyclinic.identity.discovery import KeyRingStale, require_current_ring
from polyclinic.identity.key_store import KeyStore
from polyclinic.tenancy.context import OrganizationContext
from polyclinic.tenancy.door import Door, Intent, OrganizationTransaction

_PACKAGE = "polyclinic.demo"


class Services(Protocol):
    """What of the joined parts is used here."""

    door: Door
    keys: KeyStore


async def claim(transaction: OrganizationTransaction, step: str) -> bool:
    """Whether the step is the caller's to do, in this transaction; False: it is done."""
    organization_id = transaction.context.organization_id
    is_new = await transaction.fetchval(statement(_PACKAGE, "claim_step"), organization_id, step)
    return is_new is True


async def done_steps(door: Door, context: OrganizationContext) -> frozenset[str]:
    """The steps of the context's organization that are done."""
    async with door.transaction(context, Intent.READ) as transaction:
        rows = await transaction.fetch(statement(_PACKAGE, "done_steps"), context.organization_id)
    return frozenset(row["reference"] for row in rows)


@dataclass(frozen=True, slots=True)
class Steps:
    """One organization's steps; `done` spares the transactions of those that are."""

    services: Services
    context: OrganizationContext
    done: frozenset[str]

    async def once(
        self, step: str, work: Callable[[OrganizationTransaction], Awaitable[None]]
    ) -> bool:
        """Do the step unless it is done; whether it was done now."""
        if step in self.done:
            return False
        try:
            return await self._once(step, work)
        except KeyRingStale as stale:
            self.services.keys.follow(stale.active_id)
            return await self._once(step, work)

    async def _once(
        self, step: str, work: Callable[[OrganizationTransaction], Awaitable[None]]
    ) -> bool:
        async with self.services.door.transaction(self.context, Intent.WRITE) as transaction:
            await require_current_ring(transaction, self.services.keys.ring)
            is_new = await claim(transaction, step)
            if is_new:
                await work(transaction)
            return is_new
