"""The development issuer: signs anybody in, and refuses to exist beside a real issuer.

`DevIssuer.open` is the only way to one, and it is told which issuer is configured.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from polyclinic.core.errors import Fault
from polyclinic.db.secret_files import SecretFile
from polyclinic.tenancy.signin.errors import DevIssuerForbidden
from polyclinic.tenancy.signin.issuer import IssuerSettings
from polyclinic.tenancy.signin.jwks import StaticKeys
from polyclinic.tenancy.signin.tokens import TokenVerifier

FILE_NAME: Final = "dev-issuer.json"


class InvalidDevIssuerFile(Fault):
    """The development issuer's key file is unreadable."""

    code = "invalid-dev-issuer-file"


class DevIssuer:
    """Signs access tokens with a key kept beside the data (ES256)."""

    issuer: Final = "https://dev-issuer.polyclinic.invalid"  # RFC 2606: resolves nowhere
    audience: Final = "polyclinic"

    def __init__(self, key: ECKey, clock: Callable[[], float]) -> None:
        self._key = key
        self._clock = clock
        self._kid = key.thumbprint()

    @classmethod
    def open(
        cls,
        directory: Path,
        configured_issuer: str | None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> "DevIssuer":
        """The issuer of this directory, its key made on first use; racing processes share it.

        Any `configured_issuer`, also an empty one, raises `DevIssuerForbidden`.
        """
        if configured_issuer is not None:
            raise DevIssuerForbidden(configured_issuer)
        return cls(_load_or_create(directory / FILE_NAME), clock)

    def token(self, *, subject: str, organization: UUID | None, lifetime_s: int) -> str:
        """A signed access token, valid from now for `lifetime_s` seconds."""
        now = int(self._clock())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": subject,
            "iat": now,
            "exp": now + lifetime_s,
        }
        if organization is not None:
            claims["org_id"] = str(organization)
        header = {"alg": "ES256", "typ": "at+jwt", "kid": self._kid}
        return jwt.encode(header, claims, self._key, algorithms=["ES256"])

    def public_jwks(self) -> dict[str, Any]:
        """The key set that verifies this issuer's tokens, without the private part."""
        return {"keys": [self._key.as_dict(private=False, kid=self._kid, use="sig", alg="ES256")]}

    def verifier(self) -> TokenVerifier:
        """A verifier that accepts this issuer's tokens and no others."""
        settings = IssuerSettings(issuer=self.issuer, audience=self.audience)
        return TokenVerifier(settings, StaticKeys(self.public_jwks()), clock=self._clock)


def _load_or_create(path: Path) -> ECKey:
    file = SecretFile(path)
    text = file.read() or file.create_once(_new_private_jwk())
    try:
        key = ECKey.import_key(msgspec.json.decode(text, type=dict[str, Any]))
    except (JoseError, ValueError, KeyError):
        key = None
    if key is None or not key.is_private or key.curve_name != "P-256":
        raise InvalidDevIssuerFile(f"{path}: not a private P-256 JWK; delete it to get a new one")
    return key


def _new_private_jwk() -> str:
    return msgspec.json.encode(ECKey.generate_key("P-256").as_dict(private=True)).decode()
