"""Which steps of a demo or seed are done: a marker that commits with the step's own rows.

So a step happens once, however often it is begun: after a kill it is there whole or not at all,
and of two processes that begin it the second waits and finds it done.
"""

from polyclinic.db.sql_files import statement
from polyclinic.tenancy.context import OrganizationContext
from polyclinic.tenancy.door import Door, Intent, OrganizationTransaction

_PACKAGE = "polyclinic.demo"


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
