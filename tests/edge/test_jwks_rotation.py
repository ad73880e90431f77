"""Sign-in against a provider that rotates its keys, goes down and comes back."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from polyclinic.tenancy.signin import (
    InvalidToken,
    IssuerSettings,
    RemoteKeys,
    SignInUnavailable,
    TokenVerifier,
)

NOW = 1_750_000_000


class Clock:
    """One clock for token times and for key ages."""

    def __init__(self) -> None:
        self.now: float = NOW

    def __call__(self) -> float:
        return self.now


class Provider:
    """An OIDC provider on loopback that can be told to misbehave."""

    def __init__(self) -> None:
        self.keys: list[ECKey] = []
        self.status = 200
        self.body: bytes | None = None
        self.discovery: dict[str, Any] = {}
        self.fetches: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Event()
        self.port = 0
        self.start()

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> IssuerSettings:
        return IssuerSettings(self.issuer, jwks_url=f"{self.issuer}/jwks")

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler_of(self))
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def rotate(self, kid: str) -> ECKey:
        key = ECKey.generate_key("P-256", {"kid": kid})
        self.keys = [key]
        return key

    def answer(self, path: str) -> bytes:
        self.fetches.append(path)
        self.asked.set()
        self.gate.wait(30)
        if path == "/jwks":
            public = {"keys": [key.as_dict(private=False) for key in self.keys]}
            return json.dumps(public).encode() if self.body is None else self.body
        return json.dumps(self.discovery).encode()

    def token(self, key: ECKey, subject: str = "user_1", lifetime_s: int = 3600) -> str:
        claims = {"iss": self.issuer, "sub": subject, "exp": NOW + lifetime_s}
        return jwt.encode({"alg": "ES256", "kid": key.kid}, claims, key)


def _handler_of(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = provider.answer(self.path)
            self.send_response(provider.status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", f"{provider.issuer}/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    return Handler


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.gate.set()
    provider.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


@pytest.fixture
async def keys(
    provider: Provider, http: httpx.AsyncClient, clock: Clock
) -> AsyncIterator[RemoteKeys]:
    keys = RemoteKeys(provider.settings, http, clock=clock)
    yield keys
    await keys.aclose()


@pytest.fixture
def verifier(provider: Provider, keys: RemoteKeys, clock: Clock) -> TokenVerifier:
    return TokenVerifier(provider.settings, keys, clock=clock)


async def test_keys_are_fetched_once_and_kept(provider: Provider, verifier: TokenVerifier) -> None:
    key = provider.rotate("one")
    for number in range(20):
        await verifier.verify(provider.token(key, f"user_{number}"))
    assert provider.fetches == ["/jwks"]


async def test_a_new_key_is_found_when_its_first_token_arrives(
    provider: Provider, verifier: TokenVerifier, clock: Clock
) -> None:
    await verifier.verify(provider.token(provider.rotate("one")))
    clock.now += 10
    found = await verifier.verify(provider.token(provider.rotate("two"), "user_2"))
    assert found.subject == "user_2"
    assert len(provider.fetches) == 2


async def test_a_withdrawn_key_serves_no_new_token_after_the_refresh(
    provider: Provider, verifier: TokenVerifier, clock: Clock
) -> None:
    old = provider.rotate("one")
    seen = provider.token(old, "seen")
    await verifier.verify(seen)
    provider.rotate("two")
    clock.now += 599  # younger than the maximum age: nobody asks again
    await verifier.verify(provider.token(old, "still"))
    clock.now += 1
    with pytest.raises(InvalidToken, match="unknown-key"):
        await verifier.verify(provider.token(old, "new"))
    with pytest.raises(InvalidToken, match="unknown-key"):
        await verifier.verify(seen)  # remembered for ten minutes, then checked again


async def test_a_withdrawn_key_does_not_pass_once_more_after_an_idle_time(
    provider: Provider, verifier: TokenVerifier, clock: Clock
) -> None:
    old = provider.rotate("one")
    await verifier.verify(provider.token(old))
    provider.rotate("two")
    clock.now += 3000
    with pytest.raises(InvalidToken, match="unknown-key"):
        await verifier.verify(provider.token(old, "late", lifetime_s=9000))


async def test_garbage_tokens_cause_one_fetch_per_ten_seconds(
    provider: Provider, verifier: TokenVerifier, clock: Clock
) -> None:
    key = provider.rotate("one")
    await verifier.verify(provider.token(key))
    stranger = ECKey.generate_key("P-256", {"kid": "stranger"})
    for second in range(30):
        clock.now = NOW + second
        for number in range(5):
            with pytest.raises(InvalidToken, match="unknown-key"):
                await verifier.verify(provider.token(stranger, f"{second}-{number}"))
    assert len(provider.fetches) == 3


async def test_simultaneous_first_tokens_share_one_fetch(
    provider: Provider, verifier: TokenVerifier
) -> None:
    key = provider.rotate("one")
    provider.gate.clear()
    waiting = [
        asyncio.create_task(verifier.verify(provider.token(key, f"user_{number}")))
        for number in range(50)
    ]
    await asyncio.to_thread(provider.asked.wait, 30)
    waiting[0].cancel()  # one impatient caller does not take the fetch away from the others
    provider.gate.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert not any(isinstance(one, BaseException) for one in found[1:])
    assert provider.fetches == ["/jwks"]


async def test_known_keys_serve_while_the_provider_is_down_and_new_ones_after(
    provider: Provider, verifier: TokenVerifier, keys: RemoteKeys, clock: Clock
) -> None:
    key = provider.rotate("one")
    await verifier.verify(provider.token(key))
    provider.stop()
    for hour in range(1, 5):
        clock.now = NOW + 3600 * hour
        await verifier.verify(provider.token(key, f"user_{hour}", lifetime_s=36_000))
    second = provider.rotate("two")
    provider.start()
    clock.now += 10
    await keys.refresh()
    await verifier.verify(provider.token(second, lifetime_s=36_000))


async def test_nothing_is_known_while_the_provider_is_down_from_the_start(
    provider: Provider, verifier: TokenVerifier, clock: Clock
) -> None:
    token = provider.token(provider.rotate("one"))
    provider.stop()
    for _ in range(3):
        with pytest.raises(SignInUnavailable) as fault:
            await verifier.verify(token)
        assert fault.value.retry_after_s == 10
    provider.start()
    with pytest.raises(SignInUnavailable):
        await verifier.verify(token)  # asked too recently
    clock.now += 10
    await verifier.verify(token)
    assert provider.fetches == ["/jwks"]


async def test_an_unknown_key_is_a_fault_while_the_provider_cannot_be_asked(
    provider: Provider, verifier: TokenVerifier, clock: Clock
) -> None:
    await verifier.verify(provider.token(provider.rotate("one")))
    provider.status = 500
    clock.now += 10
    with pytest.raises(SignInUnavailable):
        await verifier.verify(provider.token(ECKey.generate_key("P-256", {"kid": "new"})))


@pytest.mark.parametrize("status", [301, 302, 404, 500, 503])
async def test_an_answer_other_than_200_changes_no_key(
    provider: Provider, verifier: TokenVerifier, clock: Clock, status: int
) -> None:
    key = provider.rotate("one")
    await verifier.verify(provider.token(key))
    provider.status = status
    clock.now += 600
    await verifier.verify(provider.token(key, "after"))
    assert provider.fetches == ["/jwks", "/jwks"]  # no redirect is followed


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[1]}', b"\xff"]
)
async def test_an_answer_that_is_no_key_set_changes_no_key(
    provider: Provider, verifier: TokenVerifier, clock: Clock, body: bytes
) -> None:
    key = provider.rotate("one")
    await verifier.verify(provider.token(key))
    provider.body = body
    clock.now += 600
    await verifier.verify(provider.token(key, "after"))


async def test_an_emptied_key_set_trusts_nobody(
    provider: Provider, verifier: TokenVerifier, clock: Clock
) -> None:
    key = provider.rotate("one")
    await verifier.verify(provider.token(key))
    provider.keys = []
    clock.now += 600
    with pytest.raises(SignInUnavailable):
        await verifier.verify(provider.token(key, "after"))


async def test_a_provider_that_hangs_delays_nobody_who_needs_no_answer_from_it(
    provider: Provider, http: httpx.AsyncClient, clock: Clock
) -> None:
    keys = RemoteKeys(provider.settings, http, clock=clock, timeout_s=0.2)
    verifier = TokenVerifier(provider.settings, keys, clock=clock)
    key = provider.rotate("one")
    await verifier.verify(provider.token(key))
    provider.gate.clear()
    clock.now += 600
    await verifier.verify(provider.token(key, "first"))  # waits for the deadline, once
    clock.now += 10
    provider.asked.clear()
    await verifier.verify(provider.token(key, "second"))
    assert not provider.asked.is_set()  # answered before the fetch in the background began
    await asyncio.to_thread(provider.asked.wait, 30)
    await keys.aclose()


async def test_the_key_set_is_found_through_discovery(
    provider: Provider, http: httpx.AsyncClient, clock: Clock
) -> None:
    provider.discovery = {"issuer": provider.issuer, "jwks_uri": f"{provider.issuer}/jwks"}
    settings = IssuerSettings(provider.issuer)
    verifier = TokenVerifier(settings, RemoteKeys(settings, http, clock=clock), clock=clock)
    await verifier.verify(provider.token(provider.rotate("one")))
    assert provider.fetches == ["/.well-known/openid-configuration", "/jwks"]


@pytest.mark.parametrize(
    "wrong", [{"issuer": "https://other.example"}, {"jwks_uri": 7}, {"jwks_uri": "::"}]
)
async def test_a_discovery_document_that_does_not_fit_is_not_followed(
    provider: Provider, http: httpx.AsyncClient, clock: Clock, wrong: dict[str, Any]
) -> None:
    right = {"issuer": provider.issuer, "jwks_uri": f"{provider.issuer}/jwks"}
    provider.discovery = right | wrong
    settings = IssuerSettings(provider.issuer)
    verifier = TokenVerifier(settings, RemoteKeys(settings, http, clock=clock), clock=clock)
    with pytest.raises(SignInUnavailable):
        await verifier.verify(provider.token(provider.rotate("one")))
    assert provider.fetches == ["/.well-known/openid-configuration"]
