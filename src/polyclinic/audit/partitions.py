"""The audit log's monthly partitions, made ahead of time."""

import structlog

from polyclinic.db.node import Node

log = structlog.get_logger()
MONTHS_AHEAD = 3


async def make_partitions(node: Node) -> None:
    """Make what is missing of this month and the next three; repeating is harmless.

    A record of a month without a partition is refused, and with it the work it belongs to: so
    every API process does this at its start and every few hours.
    """
    async with node.connection() as connection:
        made = await connection.fetchval("SELECT make_audit_partitions($1)", MONTHS_AHEAD)
    if made:
        log.info("audit_partitions_made", node=node.name, count=made)
