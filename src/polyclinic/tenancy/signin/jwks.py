"""The issuer's public keys: fetched, kept, refreshed (RFC 7517).

Invariants of `RemoteKeys`:
1. At most one fetch runs at a time and at most one starts per `MIN_INTERVAL_S`, whatever
   tokens arrive: garbage cannot make this process hammer the provider.
2. A failed fetch changes nothing: known keys go on serving. A successful one replaces all of
   them, so a key that the provider withdrew is gone, also when none is left.
3. A caller waits for a fetch only where its answer may depend on it, and at most `timeout_s`.
"""

import asyncio
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

import httpx
import msgspec
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import JWKRegistry, Key

from polyclinic.tenancy.door import outside_call
from polyclinic.tenancy.signin.errors import InvalidToken, SignInUnavailable
from polyclinic.tenancy.signin.issuer import IssuerSettings

MAX_AGE_S: Final = 600
MIN_INTERVAL_S: Final = 10
_KEY_TYPES: Final = frozenset({"RSA", "EC", "OKP"})
_UNUSABLE = (JoseError, SecurityWarning, UnsupportedAlgorithm, ValueError, KeyError, TypeError)
_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


class KeySource(Protocol):
    """Where a token's key comes from."""

    async def key_for(self, kid: str | None) -> Key:
        """The issuer's key of that id; without an id, its only key.

        Raises `InvalidToken` for a key the issuer does not have, `SignInUnavailable` where that
        cannot be known.
        """
        ...


class StaticKeys:
    """The keys of a JWKS that does not change."""

    def __init__(self, jwks: Mapping[str, Any]) -> None:
        self._keys = usable_keys(msgspec.convert(jwks, _Jwks))

    async def key_for(self, kid: str | None) -> Key:
        key = _find(self._keys, kid)
        if key is None:
            raise InvalidToken("unknown-key")
        return key


class _Jwks(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


class _Discovery(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str


class RemoteKeys:
    """The keys that an issuer publishes over HTTP.

    The caller owns `http` and its redirects stay off, so that a fetch cannot be led elsewhere.
    `clock` counts seconds from any point. Close with `aclose` before closing `http`.
    """

    def __init__(
        self,
        settings: IssuerSettings,
        http: httpx.AsyncClient,
        *,
        clock: Callable[[], float] = time.monotonic,
        timeout_s: float = 5.0,
    ) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock
        self._timeout_s = timeout_s
        self._keys: dict[str, Key] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._is_failing = False
        self._flight: asyncio.Task[None] | None = None

    async def key_for(self, kid: str | None) -> Key:
        if self._clock() - self._fetched_at >= MAX_AGE_S:
            await self._renew()
        key = _find(self._keys, kid)
        if key is None:
            await self.refresh()
            key = _find(self._keys, kid)
        if key is not None:
            return key
        if self._is_failing or not self._keys:
            raise SignInUnavailable(self._settings.issuer, retry_after_s=MIN_INTERVAL_S)
        raise InvalidToken("unknown-key")

    async def refresh(self) -> None:
        """Wait for a fetch, unless the last one is less than `MIN_INTERVAL_S` old."""
        flight = self._take_off()
        if flight is not None:
            # Shielded: others wait for the same fetch when this caller is cancelled.
            await asyncio.shield(flight)

    async def aclose(self) -> None:
        """Cancel a fetch that is under way and wait for its end."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.gather(self._flight, return_exceptions=True)

    async def _renew(self) -> None:
        # Waiting keeps a withdrawn key from passing once more after an idle time. While the
        # provider is down nobody waits: each try would hold new sign-ins up for its timeout.
        if self._is_failing and self._keys:
            self._take_off()
        else:
            await self.refresh()

    def _take_off(self) -> asyncio.Task[None] | None:
        if self._flight is not None and not self._flight.done():
            return self._flight
        now = self._clock()
        if now - self._tried_at < MIN_INTERVAL_S:
            return None
        self._tried_at = now
        self._flight = asyncio.create_task(self._fetch(), name="jwks-refresh")
        return self._flight

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                jwks = await self._get(await self._jwks_url(), _Jwks)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
            self._is_failing = True
            issuer, kind = self._settings.issuer, type(error).__name__
            _log.warning("jwks_refresh_failed", issuer=issuer, error=kind, known=len(self._keys))
            return
        self._keys = usable_keys(jwks)
        self._fetched_at = self._clock()
        self._is_failing = False

    async def _jwks_url(self) -> str:
        if self._settings.jwks_url is not None:
            return self._settings.jwks_url
        found = await self._get(self._settings.discovery_url, _Discovery)
        if found.issuer != self._settings.issuer:
            raise ValueError("the discovery document names another issuer")
        if self._settings.issuer.startswith("https:") and not found.jwks_uri.startswith("https:"):
            raise ValueError("the discovery document leads from https to an insecure address")
        return found.jwks_uri

    async def _get(self, url: str, kind: type[_T]) -> _T:
        with outside_call():
            response = await self._http.get(url, headers={"Accept": "application/json"})
        if response.status_code != httpx.codes.OK:
            raise ValueError("the provider did not answer 200")
        return msgspec.json.decode(response.content, type=kind)


def usable_keys(jwks: _Jwks) -> dict[str, Key]:
    """The keys that may verify a signature, by id; what is unknown or weak is left out.

    A key without `kid` is listed under its thumbprint (RFC 7638).
    """
    keys: dict[str, Key] = {}
    for jwk in jwks.keys:
        key = _import(jwk)
        if key is not None:
            keys.setdefault(key.kid or key.thumbprint(), key)
    return keys


def _import(jwk: dict[str, Any]) -> Key | None:
    # A symmetric key in a public document is everybody's key.
    if jwk.get("kty") not in _KEY_TYPES or jwk.get("use", "sig") != "sig":
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error", SecurityWarning)  # RSA below 2048 bits
        try:
            return JWKRegistry.import_key(jwk)
        except _UNUSABLE:
            return None


def _find(keys: dict[str, Key], kid: str | None) -> Key | None:
    if kid is not None:
        return keys.get(kid)
    return next(iter(keys.values())) if len(keys) == 1 else None
