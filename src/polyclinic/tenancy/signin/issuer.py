"""Who signs people in, as the operator configures it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """An OIDC provider and how its access tokens are read.

    `issuer` must equal the token's `iss` exactly, down to a trailing slash. `audience` `None`
    leaves `aud` unchecked, which is right only for a provider that sets none (Clerk's session
    tokens). `jwks_url` `None` is discovered from the issuer (OpenID Connect Discovery 1.0).
    A claim is looked up by its whole name first, then as a dotted path (`o.id`).
    """

    issuer: str
    audience: str | None = None
    jwks_url: str | None = None
    subject_claim: str = "sub"
    organization_claim: str = "org_id"
    role_claim: str | None = None
    leeway_s: int = 60

    @property
    def discovery_url(self) -> str:
        return self.issuer.rstrip("/") + "/.well-known/openid-configuration"
