"""Signatures of access tokens (RFC 7515, RFC 8725).

Invariant: nothing that a token says about itself widens what is trusted.
1. The header is parsed once, by one parser.
2. `alg` comes from a list without `none` and without HMAC.
3. A header that brings its own key or its own rules (`jwk`, `jku`, `crit`, ...) is refused.
4. The key comes from the issuer's set, found by `kid` alone.
5. The key's own type, curve, `use` and `alg` must fit the token's `alg`.
6. The signature is checked over the bytes as they were received; claims are read after that.
"""

import binascii
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode

from polyclinic.tenancy.signin.errors import InvalidToken

MAX_TOKEN_BYTES: Final = 8 * 1024
ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "EdDSA"},
)
_UNTRUSTED_HEADERS: Final = frozenset({"crit", "b64", "jku", "jwk", "x5u", "x5c"})
# Other types of the same issuer (logout+jwt, dpop+jwt, ...) are no access tokens: RFC 8725, 3.11.
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_JSON_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])


class Header(msgspec.Struct, frozen=True):
    """What is read of a token's header."""

    alg: str
    kid: str | None = None
    typ: str | None = None


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A token taken apart; its payload is bytes because it is not to be believed yet."""

    header: Header
    payload: bytes
    signed: bytes
    signature: bytes

    @classmethod
    def parse(cls, token: str) -> "UnverifiedToken":
        """The parts of a compact JWS whose header is acceptable. Raises `InvalidToken`."""
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise InvalidToken("malformed")
        segments = token.encode("ascii").split(b".")
        if len(segments) != 3:
            raise InvalidToken("malformed")
        header, payload, signature = map(_base64url, segments)
        signed = segments[0] + b"." + segments[1]
        return cls(_acceptable_header(json_object(header)), payload, signed, signature)

    def claims(self, key: Key) -> dict[str, Any]:
        """The claims, once the signature under `key` is proved. Raises `InvalidToken`."""
        # The registry's own lookup warns about EdDSA, which RFC 9864 renames; ALGORITHMS decides.
        algorithm = JWSRegistry.algorithms[self.header.alg]
        try:
            algorithm.check_key(key)
            genuine = algorithm.verify(self.signed, self.signature, key)
        except JoseError:
            raise InvalidToken("wrong-algorithm") from None
        if not genuine:
            raise InvalidToken("bad-signature")
        return json_object(self.payload)


def json_object(raw: bytes) -> dict[str, Any]:
    try:
        return _JSON_OBJECT.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidToken("malformed") from None


def _base64url(segment: bytes) -> bytes:
    if not segment:
        raise InvalidToken("malformed")
    try:
        return urlsafe_b64decode(segment)
    except binascii.Error:
        raise InvalidToken("malformed") from None


def _acceptable_header(raw: dict[str, Any]) -> Header:
    if not _UNTRUSTED_HEADERS.isdisjoint(raw):
        raise InvalidToken("untrusted-header")
    try:
        header = msgspec.convert(raw, Header)
    except msgspec.ValidationError:
        raise InvalidToken("malformed") from None
    if header.alg not in ALGORITHMS:
        raise InvalidToken("wrong-algorithm")
    if header.typ is not None and header.typ.lower() not in _TYPES:
        raise InvalidToken("wrong-type")
    return header
