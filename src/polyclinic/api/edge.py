"""The outermost layer, plain ASGI: request id, token, time limit, compression, access log.

One layer instead of a stack of middleware, because every request pays for each. It answers what
needs no handler: no token (401), a body that is not JSON (415), out of time (503).
"""

import asyncio
import re
import time
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from polyclinic.api.access_log import AccessLog
from polyclinic.api.compression import MINIMUM_BYTES, compress, encoding_for
from polyclinic.api.problems import MEDIA_TYPE, problem_body
from polyclinic.core.ids import new_id

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PROTECTED = "/v1/"
_JSON = re.compile(rb"application/(?:[\w.-]+\+)?json\b", re.IGNORECASE)
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_PRIVATE = (b"cache-control", b"private, no-cache")


class Edge:
    """Wraps the application. `timeout_s` bounds a request from its first byte to its answer."""

    def __init__(self, app: ASGIApp, *, timeout_s: float) -> None:
        self._app = app
        self._timeout_s = timeout_s
        self._log = AccessLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            try:
                await self._app(scope, receive, send)
            finally:
                self._log.flush()
            return
        exchange = Exchange(scope, send)
        try:
            if exchange.is_protected and exchange.token is None:
                await exchange.refuse(401, "invalid-token", "send a bearer token")
            elif exchange.has_foreign_body:
                await exchange.refuse(415, "unsupported-media-type", "send application/json")
            else:
                await self._in_time(exchange, receive)
        finally:
            # Our own paths hold UUIDs; a path that no route took may hold anything.
            path = scope["path"] if scope.get("path_template") else None
            self._log.add(
                exchange.request_id, scope["method"], path, exchange.status, exchange.seconds()
            )

    async def _in_time(self, exchange: "Exchange", receive: Receive) -> None:
        """The application, cancelled at the deadline: one timer instead of a context per request."""
        task = asyncio.current_task()
        assert task is not None
        deadline = asyncio.get_running_loop().call_later(self._timeout_s, exchange.expire, task)
        try:
            await self._app(exchange.scope, receive, exchange.send)
        except asyncio.CancelledError:
            if not exchange.is_expired or task.uncancel() > 0:
                raise
            if exchange.status:
                raise TimeoutError from None  # half is out: the server closes the connection
            await exchange.refuse(503, "request-timeout", "the request took too long")
        finally:
            deadline.cancel()


class Exchange:
    """One request and what became of it."""

    __slots__ = (
        "_encoding",
        "_held_start",
        "_send",
        "_started",
        "has_foreign_body",
        "is_expired",
        "is_protected",
        "request_id",
        "scope",
        "status",
        "token",
    )

    def __init__(self, scope: HTTPScope, send: Send) -> None:
        self._started = time.perf_counter()
        self.scope = scope
        self._send = send
        self._encoding: str | None = None
        self._held_start: Any = None
        self.status = 0
        self.is_expired = False
        self.is_protected = scope["path"].startswith(_PROTECTED)
        self.token: str | None = None
        self.has_foreign_body = False
        self.request_id = ""
        for name, value in scope["headers"]:
            if name == b"authorization":
                if value[:7].lower() == b"bearer ":
                    self.token = value[7:].decode("latin-1").strip()
            elif name == b"accept-encoding":
                self._encoding = encoding_for(value.decode("latin-1"))
            elif name == b"x-request-id":
                self.request_id = _usable(value.decode("latin-1"))
            elif name == b"content-type":
                self.has_foreign_body = _JSON.match(value) is None
        if not self.request_id:
            self.request_id = new_id().hex
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = self.request_id
        state["token"] = self.token

    def seconds(self) -> float:
        """Since the request came."""
        return time.perf_counter() - self._started

    def expire(self, task: "asyncio.Task[Any]") -> None:
        self.is_expired = True
        task.cancel()

    async def send(self, message: Message) -> None:
        """Pass a message on, with our headers; a start waits for its body where it may shrink."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers: Any = message["headers"]
            headers = [*headers, (b"x-request-id", self.request_id.encode()), _NOSNIFF]
            if self.is_protected:
                headers.append(_PRIVATE)
            message["headers"] = headers
            if self._encoding is not None:
                self._held_start = message
                return
        elif self._held_start is not None:
            start, self._held_start = self._held_start, None
            self._shrink(start, message)
            await self._send(start)
        await self._send(message)

    def _shrink(self, start: Any, message: Any) -> None:
        """Compress a body that is whole and large enough."""
        body: bytes = message.get("body", b"")
        if message.get("more_body") or len(body) < MINIMUM_BYTES or self._encoding is None:
            return
        kept = [pair for pair in start["headers"] if pair[0] != b"content-length"]
        if any(name == b"content-encoding" for name, _ in kept):
            return
        message["body"] = compress(body, self._encoding)
        start["headers"] = [
            *kept,
            (b"content-encoding", self._encoding.encode()),
            (b"content-length", b"%d" % len(message["body"])),
            (b"vary", b"Accept-Encoding"),
        ]

    async def refuse(self, status: int, code: str, detail: str) -> None:
        body = problem_body(status, code, detail, self.request_id)
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
        ]
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        elif status == 503:
            headers.append((b"retry-after", b"1"))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def _usable(request_id: str) -> str:
    """A caller's request id if it can stand in logs and headers as it is, else ''."""
    return request_id if _REQUEST_ID.fullmatch(request_id) else ""
