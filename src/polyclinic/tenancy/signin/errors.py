"""What can go wrong at sign-in."""

from typing import Any, Literal

from polyclinic.core.errors import Fault, Refusal

Reason = Literal[
    "bad-claim",
    "bad-signature",
    "expired",
    "malformed",
    "not-yet-valid",
    "unknown-key",
    "untrusted-header",
    "wrong-algorithm",
    "wrong-audience",
    "wrong-issuer",
    "wrong-type",
]


class InvalidToken(Refusal):
    """The access token proves nothing; `reason` is a code, never a part of the token.

    `claim` names the claim at fault for `bad-claim`: the operator's setting or the token is wrong.
    """

    code = "invalid-token"

    def __init__(self, reason: Reason, *, claim: str | None = None) -> None:
        super().__init__(f"access token refused: {reason}" + (f" ({claim})" if claim else ""))
        self.reason = reason
        self.claim = claim

    def facts(self) -> dict[str, Any]:
        return {"reason": self.reason}


class SignInUnavailable(Fault):
    """The issuer's keys cannot be had now, so this token can be neither accepted nor refused."""

    code = "sign-in-unavailable"

    def __init__(self, issuer: str, *, retry_after_s: int) -> None:
        super().__init__(f"the signing keys of {issuer} cannot be fetched")
        self.issuer = issuer
        self.retry_after_s = retry_after_s


class DevIssuerForbidden(Refusal):
    """A development token was asked for where a real issuer signs people in."""

    code = "dev-issuer-forbidden"

    def __init__(self, configured_issuer: str) -> None:
        super().__init__(
            f"sign-in is configured for the issuer {configured_issuer!r}, so development tokens "
            "are refused; get a token from that issuer, or remove the issuer from the settings "
            "of an installation that is for development only"
        )
        self.configured_issuer = configured_issuer
