"""Who acts, for which organization, in which role: what row-level security is told."""

from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from polyclinic.core.ids import BranchId, OrganizationId, UserId


class Role(StrEnum):
    SUPERADMIN = "superadmin"
    ADMIN = "admin"
    DOCTOR = "doctor"
    RECEPTIONIST = "receptionist"
    CASHIER = "cashier"
    PATIENT = "patient"


NO_ONE = UserId(UUID(int=0))
"""Acts where no person does: the import and seed commands, maintenance."""


@dataclass(frozen=True, slots=True)
class OrganizationContext:
    """The actor of one organization transaction.

    `branch_ids` None: every branch. `request_id` ties audit records and logs together.
    """

    organization_id: OrganizationId
    user_id: UserId
    role: Role
    request_id: str
    branch_ids: tuple[BranchId, ...] | None = None
    branches: str = field(init=False, repr=False)
    """`branch_ids` as PostgreSQL reads a uuid array; '' for every branch."""

    def __post_init__(self) -> None:
        text = "" if self.branch_ids is None else "{" + ",".join(map(str, self.branch_ids)) + "}"
        object.__setattr__(self, "branches", text)
