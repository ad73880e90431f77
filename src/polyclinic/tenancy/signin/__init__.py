"""Sign-in: OIDC access tokens checked against their issuer's keys."""

from polyclinic.tenancy.signin.dev_issuer import DevIssuer, InvalidDevIssuerFile
from polyclinic.tenancy.signin.errors import DevIssuerForbidden, InvalidToken, SignInUnavailable
from polyclinic.tenancy.signin.issuer import IssuerSettings
from polyclinic.tenancy.signin.jwks import KeySource, RemoteKeys, StaticKeys
from polyclinic.tenancy.signin.tokens import SignedIn, TokenVerifier

__all__ = [
    "DevIssuer",
    "DevIssuerForbidden",
    "InvalidDevIssuerFile",
    "InvalidToken",
    "IssuerSettings",
    "KeySource",
    "RemoteKeys",
    "SignInUnavailable",
    "SignedIn",
    "StaticKeys",
    "TokenVerifier",
]
