"""The outermost layer, plain ASGI: request id, bearer token, time limit, access log.

One layer instead of a stack of middleware, because every request pays for each. It answers what
needs no handler: no token (401), a body that is not JSON (415), out of time (503).
"""

import asyncio
import re
import time
from typing import Any

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from polyclinic.api.problems import MEDIA_TYPE, problem_body
from polyclinic.core.ids import new_id

log = structlog.get_logger("access")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PROTECTED = "/v1/"
_JSON = re.compile(rb"application/(?:[\w.-]+\+)?json\b", re.IGNORECASE)


class Edge:
    """Wraps the application. `timeout_s` bounds a request from its first byte to its answer."""

    def __init__(self, app: ASGIApp, *, timeout_s: float) -> None:
        self._app = app
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, send)
        try:
            if scope["path"].startswith(_PROTECTED) and exchange.token is None:
                await exchange.refuse(401, "invalid-token", "send a bearer token")
            elif exchange.has_foreign_body:
                await exchange.refuse(415, "unsupported-media-type", "send application/json")
            else:
                async with asyncio.timeout(self._timeout_s):
                    await self._app(scope, receive, exchange.send)
        except TimeoutError:
            if exchange.status:
                raise  # half an answer is out: the server closes the connection
            await exchange.refuse(503, "request-timeout", "the request took too long")
        finally:
            exchange.log()


class Exchange:
    """One request and what became of it."""

    __slots__ = (
        "_request_id",
        "_scope",
        "_send",
        "_started",
        "has_foreign_body",
        "status",
        "token",
    )

    def __init__(self, scope: HTTPScope, send: Send) -> None:
        self._started = time.perf_counter()
        self._scope = scope
        self._send = send
        self.status = 0
        given: str | None = None
        self.token: str | None = None
        self.has_foreign_body = False
        for name, value in scope["headers"]:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                self.token = value[7:].decode("latin-1").strip()
            elif name == b"x-request-id":
                given = value.decode("latin-1")
            elif name == b"content-type":
                self.has_foreign_body = _JSON.match(value) is None
        is_usable = given is not None and _REQUEST_ID.fullmatch(given) is not None
        self._request_id: str = given if given and is_usable else new_id().hex
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = self._request_id
        state["token"] = self.token

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [
                *message.get("headers", ()),
                (b"x-request-id", self._request_id.encode()),
                (b"x-content-type-options", b"nosniff"),
            ]
            if self._scope["path"].startswith(_PROTECTED):
                headers.append((b"cache-control", b"private, no-cache"))
            message["headers"] = headers
        await self._send(message)

    async def refuse(self, status: int, code: str, detail: str) -> None:
        headers = [(b"content-type", MEDIA_TYPE.encode())]
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        elif status == 503:
            headers.append((b"retry-after", b"1"))
        body = problem_body(status, code, detail, self._request_id)
        headers.append((b"content-length", str(len(body)).encode()))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    def log(self) -> None:
        """Method, path, status, time.

        A path that no route took may hold anything, and so may a query string: neither is written.
        The parameters of our own paths are UUIDs.
        """
        log.info(
            "request",
            request_id=self._request_id,
            method=self._scope["method"],
            path=self._scope["path"] if self._scope.get("path_template") else None,
            status=self.status,
            ms=round((time.perf_counter() - self._started) * 1000, 2),
        )
