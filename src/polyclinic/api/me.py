"""`/v1/me`: who the token says you are, and where you may act."""

from uuid import UUID

import msgspec
from litestar import get

from polyclinic.api.operations import operation
from polyclinic.api.requests import AnyRequest, polyclinic, signed_in


class MyMembership(msgspec.Struct, frozen=True):
    """`branch_ids` null: every branch."""

    organization_id: UUID
    role: str
    branch_ids: list[UUID] | None


class Me(msgspec.Struct, frozen=True):
    """The signed-in user. `organization_id` is what the token names, if it names one."""

    user_id: UUID
    issuer: str
    subject: str
    is_superadmin: bool
    organization_id: str | None
    memberships: list[MyMembership]


@get("/v1/me", **operation("readMe", "Who am I", "Me"))
async def read_me(request: AnyRequest) -> Me:
    """You, and the organizations in which you have a role."""
    callers = polyclinic(request).callers
    proof = await signed_in(request)
    user = await callers.user(proof)
    return Me(
        user_id=user.id,
        issuer=proof.issuer,
        subject=proof.subject,
        is_superadmin=user.is_superadmin,
        organization_id=proof.organization,
        memberships=[
            MyMembership(
                membership.organization_id,
                membership.role,
                None if membership.branch_ids is None else list(membership.branch_ids),
            )
            for membership in callers.memberships(user, proof)
        ],
    )


handlers = [read_me]
