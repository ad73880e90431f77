"""What every route declares, in one call: name, rights, intent, and the errors it may answer."""

from dataclasses import dataclass
from typing import Any

from litestar.openapi.datastructures import ResponseSpec

from polyclinic.api.problems import MEDIA_TYPE, Problem
from polyclinic.tenancy.context import Role
from polyclinic.tenancy.door import Intent


@dataclass(frozen=True, slots=True)
class Rights:
    """Which roles may use an operation; its `intent` routes it."""

    roles: frozenset[Role]
    intent: Intent


_ALWAYS = {
    400: "Malformed, or no organization chosen.",
    401: "No token, or one that proves nothing.",
    403: "The role lacks the right.",
    404: "Not there, or not yours.",
    422: "A value is wrong; `errors` names the field.",
    503: "Busy or out of reach; `Retry-After` says when to come back.",
}


def problem(description: str) -> ResponseSpec:
    """A documented error."""
    return ResponseSpec(
        Problem, generate_examples=False, description=description, media_type=MEDIA_TYPE
    )


def operation(
    operation_id: str,
    summary: str,
    tag: str,
    *,
    roles: tuple[Role, ...] = (),
    intent: Intent = Intent.READ,
    responses: dict[int, ResponseSpec] | None = None,
) -> dict[str, Any]:
    """The keyword arguments of a route's decorator. Without `roles` it acts in no organization."""
    documented = {status: problem(text) for status, text in _ALWAYS.items()}
    return {
        "operation_id": operation_id,
        "summary": summary,
        "tags": [tag],
        "opt": {"rights": Rights(frozenset(roles), intent)} if roles else {},
        "responses": {**documented, **(responses or {})},
    }
