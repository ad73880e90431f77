"""A repeated POST with the same Idempotency-Key gets the first answer, and does nothing again.

The key, the change and the kept answer commit together. A second request that comes while the
first runs waits at the key's row for its outcome.
"""

import hashlib
from dataclasses import dataclass

from polyclinic.core.errors import Refusal
from polyclinic.core.keys import KeyRing
from polyclinic.db.node import Node
from polyclinic.tenancy.door import OrganizationTransaction

_CLAIM = """
INSERT INTO idempotency_keys (organization_id, user_id, key, request_hash)
VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING true
"""
_KEPT = """
SELECT request_hash, status, sealed_answer FROM idempotency_keys
WHERE organization_id = $1 AND user_id = $2 AND key = $3
"""
_KEEP = """
UPDATE idempotency_keys SET status = $4, sealed_answer = $5
WHERE organization_id = $1 AND user_id = $2 AND key = $3
"""


class KeyReused(Refusal):
    """The Idempotency-Key was used for another request."""

    code = "idempotency-key-reused"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a POST answered, or would have."""

    status: int
    body: bytes
    location: str | None = None
    is_replayed: bool = False


def request_hash(path: str, body: bytes) -> bytes:
    return hashlib.blake2b(path.encode() + b"\0" + body, digest_size=32).digest()


async def claim(
    transaction: OrganizationTransaction, key: str, hashed: bytes, ring: KeyRing
) -> Answer | None:
    """The kept answer for a key that was used, or None: the key is this transaction's now.

    Raises `KeyReused` where it was used for another request.
    """
    context = transaction.context
    owner = (context.organization_id, context.user_id, key)
    if await transaction.fetchval(_CLAIM, *owner, hashed):
        return None
    row = await transaction.fetchrow(_KEPT, *owner)
    if row is None or row["request_hash"] != hashed:
        raise KeyReused("this Idempotency-Key was used for another request; take a new one")
    location, _, body = ring.open(row["sealed_answer"], bound_to=_bound(key)).partition("\n")
    return Answer(row["status"], body.encode(), location or None, is_replayed=True)


async def keep(
    transaction: OrganizationTransaction, key: str, answer: Answer, ring: KeyRing
) -> None:
    """Keep the answer beside the change that it tells of, for a day."""
    context = transaction.context
    text = f"{answer.location or ''}\n{answer.body.decode()}"
    await transaction.execute(
        _KEEP,
        context.organization_id, context.user_id, key,
        answer.status, ring.seal(text, bound_to=_bound(key)),
    )  # fmt: skip


async def forget_old_keys(node: Node) -> None:
    """Forget the keys that are older than a day, and the answers kept with them."""
    async with node.connection() as connection:
        await connection.execute("SELECT forget_old_idempotency_keys()")


def _bound(key: str) -> bytes:
    return b"idempotency\0" + key.encode()
