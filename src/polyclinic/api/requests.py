"""What every handler needs of a request: the actor, the parts, the page asked for."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response
from litestar.params import HeaderParameter, QueryParameter

from polyclinic.api.answers import JsonAnswer
from polyclinic.api.operations import Rights
from polyclinic.core.errors import Forbidden
from polyclinic.core.ids import OrganizationId
from polyclinic.core.pages import MAX_LIMIT
from polyclinic.identity.discovery import KeyRingStale
from polyclinic.shards.directory import OrganizationUnknown
from polyclinic.tenancy.access import Access
from polyclinic.tenancy.caller import ORGANIZATION_HEADER
from polyclinic.tenancy.context import OrganizationContext, Role
from polyclinic.tenancy.door import HomeMoved, Intent, OrganizationTransaction
from polyclinic.tenancy.idempotency import Answer, claim, keep, request_hash
from polyclinic.tenancy.signin import SignedIn

if TYPE_CHECKING:
    from polyclinic.app import Polyclinic

AnyRequest = Request[Any, Any, Any]
Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="Items in a page.")]
Cursor = Annotated[
    str | None,
    QueryParameter(max_length=2000, description="`next_cursor` of the page before."),
]
IfMatch = Annotated[
    str | None,
    HeaderParameter(name="If-Match", description="The ETag of the read, or `*`.", max_length=200),
]
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Repeating a request with the same key gives the first answer.",
    ),
]


def polyclinic(request: AnyRequest) -> "Polyclinic":
    """The parts that `app.py` has joined."""
    return request.app.state["polyclinic"]  # type: ignore[no-any-return]


def request_id(request: AnyRequest) -> str:
    return request.scope["state"]["request_id"]  # type: ignore[no-any-return]


async def signed_in(request: AnyRequest) -> SignedIn:
    """Who the token proves; the edge has refused requests without one."""
    token: str = request.scope["state"]["token"]
    return await polyclinic(request).callers.sign_in(token)


async def enter(request: AnyRequest, organization: str | None = None) -> OrganizationContext:
    """The actor in the organization of the path, the header or the token.

    Raises what sign-in raises, and `Forbidden` where the role lacks the route's right.
    """
    parts = polyclinic(request)
    proof = await signed_in(request)
    named = organization or request.headers.get(ORGANIZATION_HEADER)
    try:
        context = await parts.callers.context(proof, header=named, request_id=request_id(request))
    except OrganizationUnknown:
        await _record_outsider(request, proof, named or proof.organization)
        raise
    rights: Rights = request.route_handler.opt["rights"]
    if context.role not in rights.roles:
        await _record_refusal(request, context, role=None)
        raise Forbidden(f"the role {context.role} may not do this")
    return context


async def _record_outsider(request: AnyRequest, proof: SignedIn, named: str | None) -> None:
    """Tell an organization that somebody tried to enter it who is no member."""
    parts = polyclinic(request)
    with contextlib.suppress(OrganizationUnknown):
        organization_id = OrganizationId(UUID(named))
        await parts.directory.route(organization_id)
        user = await parts.callers.user(proof)
        context = OrganizationContext(organization_id, user.id, Role.PATIENT, request_id(request))
        await _record_refusal(request, context, role="outsider")


async def _record_refusal(
    request: AnyRequest, context: OrganizationContext, *, role: str | None
) -> None:
    operation = str(request.route_handler.operation_id)
    await polyclinic(request).accesses.record(
        context, Access(operation, "operation", outcome="refused", role=role)
    )


Work = Callable[[OrganizationTransaction], Awaitable[Answer]]
Replay = Callable[[OrganizationTransaction, Answer], Awaitable[Answer]]
"""Makes the answer of a repeated request from the kept one, where its body may not be kept: what
it may show is asked again, and the look is recorded."""


async def change_once(
    request: AnyRequest,
    context: OrganizationContext,
    key: str | None,
    work: Work,
    *,
    replay: Replay | None = None,
    in_control: bool = False,
) -> Response[Any]:
    """Do `work` in one transaction, once per Idempotency-Key, and answer.

    Tries a second time where the key ring was rotated or the organization moved meanwhile: the
    first try left nothing.
    """
    try:
        answer = await _change(request, context, key, work, replay, in_control=in_control)
    except KeyRingStale as stale:
        polyclinic(request).keys.follow(stale.active_id)
        answer = await _change(request, context, key, work, replay, in_control=in_control)
    except HomeMoved:
        answer = await _change(request, context, key, work, replay, in_control=in_control)
    headers = {} if answer.location is None else {"location": answer.location}
    if answer.is_replayed:
        headers["idempotent-replayed"] = "true"
    return json_response(answer.body, status=answer.status, headers=headers)


async def _change(
    request: AnyRequest,
    context: OrganizationContext,
    key: str | None,
    work: Work,
    replay: Replay | None,
    *,
    in_control: bool,
) -> Answer:
    parts = polyclinic(request)
    door = parts.door.control_transaction if in_control else parts.door.transaction
    async with door(context, Intent.WRITE) as transaction:
        if key is None:
            return await work(transaction)
        hashed = request_hash(request.scope["path"], await request.body())
        kept = await claim(transaction, key, hashed, parts.keys.ring)
        if kept is not None:
            return kept if replay is None else await replay(transaction, kept)
        answer = await work(transaction)
        kept = answer if replay is None else replace(answer, body=b"")
        await keep(transaction, key, kept, parts.keys.ring)
        return answer


def created(value: msgspec.Struct, location: str) -> Answer:
    return Answer(201, msgspec.json.encode(value), location)


def json_response(
    body: bytes, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response[Any]:
    """A response of JSON that is encoded already."""
    return JsonAnswer(body, status=status, headers=headers or {})
