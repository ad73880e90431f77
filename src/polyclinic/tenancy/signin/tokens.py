"""Access tokens in, signed-in people out.

A verified token is remembered until it expires, and at most `RECHECK_S`: after that it is
verified again under the issuer's present keys. So a token whose key was withdrawn passes no
longer than `jwks.MAX_AGE_S` + `RECHECK_S`, and never past its `exp`. What is remembered is the
token's digest: no memory dump shows a usable token, and an entry's size does not depend on it.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import msgspec

from polyclinic.tenancy.signin.errors import InvalidToken
from polyclinic.tenancy.signin.issuer import IssuerSettings
from polyclinic.tenancy.signin.jwks import KeySource
from polyclinic.tenancy.signin.jws import UnverifiedToken

RECHECK_S: Final = 600


class SignedIn(msgspec.Struct, frozen=True):
    """Who a token proves its bearer to be.

    `organization` and `role` are the claims' text, `None` where absent: what the provider says,
    not what this installation grants. `expires_at` is Unix time in seconds.
    """

    issuer: str
    subject: str
    organization: str | None
    role: str | None
    expires_at: float


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    exp: float
    nbf: float | None = None
    iat: float | None = None
    aud: str | list[str] | None = None


class TokenVerifier:
    """Checks access tokens of one issuer and remembers those that passed.

    `clock` is Unix time in seconds; for one event loop, not for threads.
    """

    def __init__(
        self,
        settings: IssuerSettings,
        keys: KeySource,
        *,
        clock: Callable[[], float] = time.time,
        cache_size: int = 10_000,
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._clock = clock
        self._cache_size = cache_size
        self._verified: OrderedDict[bytes, tuple[SignedIn, float]] = OrderedDict()

    def cached(self, token: str) -> SignedIn | None:
        """What a token verified earlier proved, or `None` when it must go through `verify`."""
        digest = _digest(token)
        entry = self._verified.get(digest)
        if entry is None:
            return None
        if self._clock() >= entry[1]:
            del self._verified[digest]
            return None
        self._verified.move_to_end(digest)
        return entry[0]

    async def verify(self, token: str) -> SignedIn:
        """Who the bearer is. Raises `InvalidToken`, `SignInUnavailable`."""
        known = self.cached(token)
        if known is not None:
            return known
        unverified = UnverifiedToken.parse(token)
        key = await self._keys.key_for(unverified.header.kid)
        signed_in = self._accept(unverified.claims(key))
        self._remember(token, signed_in)
        return signed_in

    def _remember(self, token: str, signed_in: SignedIn) -> None:
        fresh_until = min(signed_in.expires_at, self._clock() + RECHECK_S)
        self._verified[_digest(token)] = (signed_in, fresh_until)
        if len(self._verified) > self._cache_size:
            self._verified.popitem(last=False)

    def _accept(self, raw: dict[str, Any]) -> SignedIn:
        claims = _standard_claims(raw)
        if claims.iss != self._settings.issuer:
            raise InvalidToken("wrong-issuer")
        self._check_audience(claims.aud)
        self._check_times(claims)
        return self._signed_in(raw, claims.exp)

    def _check_audience(self, found: str | list[str] | None) -> None:
        wanted = self._settings.audience
        if wanted is None:
            return
        if wanted != found if isinstance(found, str) else wanted not in (found or ()):
            raise InvalidToken("wrong-audience")

    def _check_times(self, claims: _Claims) -> None:
        now, leeway_s = self._clock(), self._settings.leeway_s
        if now >= claims.exp + leeway_s:
            raise InvalidToken("expired")
        if max(claims.nbf or 0, claims.iat or 0) > now + leeway_s:
            raise InvalidToken("not-yet-valid")

    def _signed_in(self, raw: dict[str, Any], expires_at: float) -> SignedIn:
        settings = self._settings
        subject = _text(raw, settings.subject_claim)
        if subject is None:
            raise InvalidToken("bad-claim", claim=settings.subject_claim)
        return SignedIn(
            issuer=settings.issuer,
            subject=subject,
            organization=_text(raw, settings.organization_claim),
            role=None if settings.role_claim is None else _text(raw, settings.role_claim),
            expires_at=expires_at,
        )


def _digest(token: str) -> bytes:
    # A header may hold anything: what cannot be encoded must miss here and be refused by `verify`.
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def _standard_claims(raw: dict[str, Any]) -> _Claims:
    if raw.get("exp") is None:
        raise InvalidToken("bad-claim", claim="exp")
    try:
        return msgspec.convert(raw, _Claims)  # never NaN or infinite: msgspec refuses both
    except msgspec.ValidationError:
        raise InvalidToken("malformed") from None


def _text(raw: dict[str, Any], name: str) -> str | None:
    """A claim's text; `None` where it is absent, null or empty."""
    value = raw[name] if name in raw else _nested(raw, name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidToken("bad-claim", claim=name)
    return value


def _nested(raw: dict[str, Any], path: str) -> Any:
    value: Any = raw
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
