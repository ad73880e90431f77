"""What is recorded of an access, and who records it where a read cannot do so itself."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from polyclinic.tenancy.context import OrganizationContext


@dataclass(frozen=True, slots=True)
class Access:
    """One access to an organization's data: an audit record without its actor."""

    action: str
    entity_type: str
    entity_id: UUID | None = None
    entity_ids: tuple[UUID, ...] | None = None
    outcome: str = "done"
    role: str | None = None
    """Instead of the actor's: 'outsider' for somebody who has no role in the organization."""


class AccessRecorder(Protocol):
    """Makes a record durable outside the read's own transaction (audit/group_commit.py)."""

    async def record(self, context: OrganizationContext, access: Access) -> None:
        """Returns when the record is durable; raises when it is not."""
