"""Every error as `application/problem+json` (RFC 9457); the one place that knows HTTP statuses."""

import re
import traceback
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from polyclinic.core.errors import (
    Busy,
    Conflict,
    Fault,
    Forbidden,
    Invalid,
    NotFound,
    PolyclinicError,
)
from polyclinic.db.errors import StatementTimedOut, UnstorableValue
from polyclinic.organizations.errors import BranchUnknown, MemberChanged
from polyclinic.patients.errors import PatientChanged
from polyclinic.tenancy.caller import OrganizationNotChosen
from polyclinic.tenancy.door import HomeMoved
from polyclinic.tenancy.idempotency import KeyReused
from polyclinic.tenancy.signin import InvalidToken, SignInUnavailable

log = structlog.get_logger()
MEDIA_TYPE = "application/problem+json"


class PreconditionMissing(Invalid):
    """A change must say which version it changes."""

    code = "if-match-required"

    def __init__(self) -> None:
        super().__init__(
            "send If-Match with the ETag that the read gave you, or * to change regardless",
            field="If-Match",
        )


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error (RFC 9457). `code` is stable and meant for programs; some carry more members."""

    type: str
    title: str
    status: int
    code: str
    detail: str = ""
    request_id: str = ""
    errors: list[dict[str, str]] = []


# The first class of an error's ancestry that is listed decides.
_STATUS: dict[type[PolyclinicError], int] = {
    InvalidToken: 401,
    NotFound: 404,
    Forbidden: 403,
    Conflict: 409,
    PreconditionMissing: 428,
    PatientChanged: 412,
    MemberChanged: 412,
    OrganizationNotChosen: 400,
    KeyReused: 422,
    BranchUnknown: 422,
    UnstorableValue: 422,
    Invalid: 422,
    Busy: 503,
    HomeMoved: 503,
    StatementTimedOut: 503,
    SignInUnavailable: 503,
    Fault: 500,
}
_HTTP_CODES = {
    400: "malformed-request",
    401: "invalid-token",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "unsupported-media-type",
}


def status_of(error: PolyclinicError) -> int:
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def problem_body(
    status: int, code: str, detail: str, request_id: str, facts: dict[str, Any] | None = None
) -> bytes:
    """The JSON of a problem document."""
    return msgspec.json.encode(
        {
            "type": f"/problems/{code}",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "code": code,
            "detail": detail,
            "request_id": request_id,
            **(facts or {}),
        }
    )


def problem_of(error: Exception, request_id: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for an error. What nobody foresaw is a bare 500."""
    match error:
        case PolyclinicError():
            status = status_of(error)
            body = problem_body(status, error.code, str(error), request_id, error.facts())
            return status, _headers(error, status), body
        case ValidationException():
            errors = _field_errors(error.extra)
            detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors) or error.detail
            return 422, {}, problem_body(422, "invalid", detail, request_id, {"errors": errors})
        case HTTPException():
            status = error.status_code
            code = _HTTP_CODES.get(status, "refused")
            detail = str(error.detail) if status < 500 else ""
            headers = {k.lower(): v for k, v in (error.headers or {}).items()}
            return status, headers, problem_body(status, code, detail, request_id)
        case _:
            return 500, {}, problem_body(500, "internal-error", "", request_id)


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler for everything."""
    request_id = request.scope["state"]["request_id"]
    status, headers, body = problem_of(error, request_id)
    if status >= 500:
        log_fault(error, request_id)
    return Response(body, status_code=status, headers=headers, media_type=MEDIA_TYPE)


def log_fault(error: Exception, request_id: str) -> None:
    """Where it went wrong, without the message: a driver's message may quote a person's data."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    log.error(
        "fault",
        request_id=request_id,
        error=type(error).__name__,
        code=getattr(error, "code", None) or getattr(error, "sqlstate", None),
        frames=[f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames],
    )


def _headers(error: PolyclinicError, status: int) -> dict[str, str]:
    if status == 401:
        return {"www-authenticate": 'Bearer error="invalid_token"'}
    if status == 503:
        return {"retry-after": str(getattr(error, "retry_after_s", 1))}
    return {}


def _field_errors(extra: Any) -> list[dict[str, str]]:
    """Litestar's list of what is wrong, with the field's path named."""
    if not isinstance(extra, list):
        return []
    return [
        {"field": _field(item), "message": str(item.get("message", ""))}
        for item in extra
        if isinstance(item, dict)
    ]


# Handlers may not call a parameter `query`, and a header's name is no identifier.
_WRITTEN_AS = {"text": "query", "idempotency_key": "Idempotency-Key", "if_match": "If-Match"}
_NAMED_FIELD = re.compile(r"(?:unknown|required) field `([^`]+)`")


def _field(item: dict[str, Any]) -> str:
    """The path of the value at fault, as the caller writes it."""
    key = str(item.get("key") or "data")
    if item.get("source") in ("query", "header", "path"):
        return _WRITTEN_AS.get(key, key)
    parents = [] if key == "data" else [key]
    named = _NAMED_FIELD.search(str(item.get("message", "")))
    return ".".join([*parents, named.group(1)] if named else parents) or "body"
