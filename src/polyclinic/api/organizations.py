"""`/v1/organizations`, their branches, `/v1/practitioners` and `/v1/members`."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from polyclinic.api.operations import operation
from polyclinic.api.problems import PreconditionMissing
from polyclinic.api.requests import (
    AnyRequest,
    Cursor,
    IdempotencyKey,
    IfMatch,
    Limit,
    change_once,
    created,
    enter,
    json_response,
    polyclinic,
    request_id,
    signed_in,
)
from polyclinic.core.errors import Forbidden
from polyclinic.core.pages import DEFAULT_LIMIT, Page
from polyclinic.organizations import branch, member, organization, practitioner
from polyclinic.organizations.branch import Branch, CreateBranch
from polyclinic.organizations.errors import MemberChanged
from polyclinic.organizations.member import AddMember, ChangeMember, Member
from polyclinic.organizations.organization import CreateOrganization, Organization
from polyclinic.organizations.practitioner import CreatePractitioner, Practitioner
from polyclinic.tenancy.context import Role
from polyclinic.tenancy.door import Intent, OrganizationTransaction
from polyclinic.tenancy.idempotency import Answer

STAFF = (Role.SUPERADMIN, Role.ADMIN, Role.DOCTOR, Role.RECEPTIONIST, Role.CASHIER)
EVERYONE = (*STAFF, Role.PATIENT)
MANAGERS = (Role.SUPERADMIN, Role.ADMIN)
ORGANIZATION_PATH = "/v1/organizations"


@post(
    ORGANIZATION_PATH, **operation("createOrganization", "Create an organization", "Organizations")
)
async def create_organization(
    request: AnyRequest, data: JSONBody[CreateOrganization], idempotency_key: IdempotencyKey = None
) -> Response[Organization]:
    """Create an organization. For superadmins."""
    parts = polyclinic(request)
    user = await parts.callers.user(await signed_in(request))
    if not user.is_superadmin:
        raise Forbidden("only a superadmin creates organizations")
    made, is_new = await organization.create_once(
        parts.door,
        data,
        organization.organization_id_for(user.id, idempotency_key),
        user_id=user.id,
        request_id=request_id(request),
    )
    headers = {"location": f"{ORGANIZATION_PATH}/{made.id}"}
    if not is_new:
        headers["idempotent-replayed"] = "true"
    return json_response(msgspec.json.encode(made), status=201, headers=headers)


@get(ORGANIZATION_PATH, **operation("listOrganizations", "List organizations", "Organizations"))
async def list_organizations(
    request: AnyRequest, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[Organization]:
    """The organizations that you are a member of; all of them for a superadmin."""
    parts = polyclinic(request)
    proof = await signed_in(request)
    user = await parts.callers.user(proof)
    mine = [m.organization_id for m in parts.callers.memberships(user, proof)]
    return await organization.page(
        parts.control, None if user.is_superadmin else mine, limit=limit, cursor=cursor
    )


@get(
    ORGANIZATION_PATH + "/{organization_id:uuid}",
    **operation("readOrganization", "Read an organization", "Organizations", roles=EVERYONE),
)
async def read_organization(request: AnyRequest, organization_id: FromPath[UUID]) -> Organization:
    """One organization that you are a member of."""
    context = await enter(request, str(organization_id))
    return await organization.read(polyclinic(request).door, context)


@post(
    ORGANIZATION_PATH + "/{organization_id:uuid}/branches",
    **operation(
        "createBranch", "Add a branch", "Organizations", roles=MANAGERS, intent=Intent.WRITE
    ),
)
async def create_branch(
    request: AnyRequest,
    organization_id: FromPath[UUID],
    data: JSONBody[CreateBranch],
    idempotency_key: IdempotencyKey = None,
) -> Response[Branch]:
    """Add a branch."""
    context = await enter(request, str(organization_id))

    async def work(transaction: OrganizationTransaction) -> Answer:
        made = await branch.create(transaction, data)
        return created(made, f"{ORGANIZATION_PATH}/{organization_id}/branches")

    return await change_once(request, context, idempotency_key, work)


@get(
    ORGANIZATION_PATH + "/{organization_id:uuid}/branches",
    **operation("listBranches", "List branches", "Organizations", roles=EVERYONE),
)
async def list_branches(
    request: AnyRequest,
    organization_id: FromPath[UUID],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[Branch]:
    """The branches that you may see."""
    context = await enter(request, str(organization_id))
    return await branch.page(polyclinic(request).door, context, limit=limit, cursor=cursor)


@post(
    "/v1/practitioners",
    **operation(
        "createPractitioner",
        "Add a practitioner",
        "Practitioners",
        roles=MANAGERS,
        intent=Intent.WRITE,
    ),
)
async def create_practitioner(
    request: AnyRequest, data: JSONBody[CreatePractitioner], idempotency_key: IdempotencyKey = None
) -> Response[Practitioner]:
    """Add a practitioner."""
    context = await enter(request)

    async def work(transaction: OrganizationTransaction) -> Answer:
        made = await practitioner.create(transaction, data)
        return created(made, f"/v1/practitioners/{made.id}")

    return await change_once(request, context, idempotency_key, work)


@get(
    "/v1/practitioners",
    **operation("listPractitioners", "List practitioners", "Practitioners", roles=EVERYONE),
)
async def list_practitioners(
    request: AnyRequest, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[Practitioner]:
    """The practitioners whom you may see."""
    context = await enter(request)
    return await practitioner.page(polyclinic(request).door, context, limit=limit, cursor=cursor)


@get(
    "/v1/practitioners/{practitioner_id:uuid}",
    **operation("readPractitioner", "Read a practitioner", "Practitioners", roles=EVERYONE),
)
async def read_practitioner(request: AnyRequest, practitioner_id: FromPath[UUID]) -> Practitioner:
    """One practitioner."""
    context = await enter(request)
    return await practitioner.read(polyclinic(request).door, context, practitioner_id)


@post(
    "/v1/members",
    **operation("addMember", "Add a member", "Members", roles=MANAGERS, intent=Intent.WRITE),
)
async def add_member(
    request: AnyRequest, data: JSONBody[AddMember], idempotency_key: IdempotencyKey = None
) -> Response[Member]:
    """Make a user of the identity provider a member."""
    context = await enter(request)
    parts = polyclinic(request)
    await member.require_known_branches(parts.door, context, data.branch_ids)

    async def work(transaction: OrganizationTransaction) -> Answer:
        made = await member.add(transaction, data, issuer=parts.issuer)
        return created(made, f"/v1/members/{made.id}")

    return await change_once(request, context, idempotency_key, work, in_control=True)


@get("/v1/members", **operation("listMembers", "List members", "Members", roles=MANAGERS))
async def list_members(
    request: AnyRequest, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[Member]:
    """The organization's members."""
    context = await enter(request)
    return await member.page(polyclinic(request).door, context, limit=limit, cursor=cursor)


@get(
    "/v1/members/{member_id:uuid}",
    **operation("readMember", "Read a member", "Members", roles=MANAGERS),
)
async def read_member(request: AnyRequest, member_id: FromPath[UUID]) -> Response[Member]:
    """One member."""
    context = await enter(request)
    return _tagged(await member.read(polyclinic(request).door, context, member_id))


@patch(
    "/v1/members/{member_id:uuid}",
    **operation("changeMember", "Change a member", "Members", roles=MANAGERS, intent=Intent.WRITE),
)
async def change_member(
    request: AnyRequest,
    member_id: FromPath[UUID],
    data: JSONBody[ChangeMember],
    if_match: IfMatch = None,
) -> Response[Member]:
    """Change a member's role or branches; in force at once."""
    context = await enter(request)
    parts = polyclinic(request)
    version = _version(if_match)
    await member.require_known_branches(parts.door, context, data.branch_ids)
    async with parts.door.control_transaction(context, Intent.WRITE) as transaction:
        changed = await member.change(transaction, member_id, data, version=version)
    return _tagged(changed)


@delete(
    "/v1/members/{member_id:uuid}",
    **operation("removeMember", "Remove a member", "Members", roles=MANAGERS, intent=Intent.WRITE),
)
async def remove_member(request: AnyRequest, member_id: FromPath[UUID]) -> None:
    """End a membership; in force at once."""
    context = await enter(request)
    async with polyclinic(request).door.control_transaction(context, Intent.WRITE) as transaction:
        await member.remove(transaction, member_id)


def _tagged(made: Member) -> Response[Any]:
    return json_response(msgspec.json.encode(made), headers={"etag": f'"{made.version}"'})


def _version(if_match: str | None) -> int | None:
    """The version that an If-Match names; None for `*`."""
    if if_match is None:
        raise PreconditionMissing
    if if_match == "*":
        return None
    text = if_match.strip('"')
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise MemberChanged("If-Match is not this member's ETag: read it again")
    return int(text)


handlers = [
    create_organization,
    list_organizations,
    read_organization,
    create_branch,
    list_branches,
    create_practitioner,
    list_practitioners,
    read_practitioner,
    add_member,
    list_members,
    read_member,
    change_member,
    remove_member,
]
