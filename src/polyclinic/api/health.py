"""`/healthz`: the process lives. `/readyz`: it can serve."""

from typing import Any

import msgspec
from litestar import Response, get

from polyclinic.api.requests import AnyRequest, polyclinic
from polyclinic.core.errors import PolyclinicError


class Health(msgspec.Struct, frozen=True):
    status: str


class Readiness(msgspec.Struct, frozen=True):
    """Each part: 'ok' or what is wrong with it."""

    status: str
    parts: dict[str, str]


@get(
    "/healthz",
    operation_id="health",
    summary="Is the process alive",
    tags=["Health"],
    security=[],
    sync_to_thread=False,
)
def health() -> Health:
    """Answers while the process runs; asks nothing else."""
    return Health("ok")


@get("/readyz", operation_id="readiness", summary="Can it serve", tags=["Health"], security=[])
async def readiness(request: AnyRequest) -> Response[Any]:
    """200 when both databases answer and their schemas are this code's; 503 otherwise."""
    parts = {}
    for name, check in polyclinic(request).readiness_checks().items():
        try:
            parts[name] = await check()
        except PolyclinicError as error:
            parts[name] = error.code
    is_ready = all(state == "ok" for state in parts.values())
    body = Readiness("ready" if is_ready else "not ready", parts)
    return Response(body, status_code=200 if is_ready else 503)


handlers = [health, readiness]
