"""JSON that is encoded already, on its way out without another look at it."""

from typing import Any

from litestar import Response
from litestar.types import Receive, Scope, Send

_JSON = (b"content-type", b"application/json")


class JsonAnswer(Response[Any]):
    """A response of encoded JSON; `body` None has none (304).

    Litestar's own response renders, merges headers and builds a second object; these bytes need
    none of it, and the hot reads pay for each step.
    """

    __slots__ = ("_body", "_start")

    def __init__(self, body: bytes | None, *, status: int, headers: dict[str, str]) -> None:
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        if body is not None:
            encoded += (_JSON, (b"content-length", b"%d" % len(body)))
        self._body = body or b""
        self._start = {"type": "http.response.start", "status": status, "headers": encoded}

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """Itself: what Litestar calls to send it."""
        return self

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        await send(self._start)  # type: ignore[arg-type]
        await send({"type": "http.response.body", "body": self._body, "more_body": False})
