import base64
import hashlib
import hmac
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from polyclinic.tenancy.signin import (
    DevIssuer,
    DevIssuerForbidden,
    InvalidDevIssuerFile,
    InvalidToken,
    IssuerSettings,
    SignedIn,
    StaticKeys,
    TokenVerifier,
)

NOW = 1_750_000_000
ISSUER = "https://id.example.org"
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
EC384 = ECKey.generate_key("P-384", {"kid": "ec384"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
JWKS = {"keys": [key.as_dict(private=False) for key in (RSA, EC, EC384, ED)]}
SETTINGS = IssuerSettings(ISSUER, audience="polyclinic")
ALL = [*jws.JWSRegistry.algorithms]
# Permits what a provider may write and joserfc's default registry would refuse to sign.
LOOSE = jws.JWSRegistry(algorithms=ALL, strict_check_header=False)
LOOSE.max_header_length = 8192


class Clock:
    def __init__(self) -> None:
        self.now: float = NOW

    def __call__(self) -> float:
        return self.now


class CountedKeys(StaticKeys):
    asked = 0

    async def key_for(self, kid: str | None) -> Key:
        self.asked += 1
        return await super().key_for(kid)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys() -> CountedKeys:
    return CountedKeys(JWKS)


@pytest.fixture
def verifier(clock: Clock, keys: CountedKeys) -> TokenVerifier:
    return TokenVerifier(SETTINGS, keys, clock=clock)


def claims(**changes: Any) -> dict[str, Any]:
    standard = {"iss": ISSUER, "aud": "polyclinic", "sub": "user_1", "exp": NOW + 300}
    return {k: v for k, v in (standard | changes).items() if v is not ...}


def signed(payload: Any, key: Key = EC, alg: str = "ES256", **header: Any) -> str:
    full = {"alg": alg, "kid": key.kid} | header
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return jws.serialize_compact({k: v for k, v in full.items() if v is not ...}, body, key, ALL,
                                 registry=LOOSE)  # fmt: skip


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def reason_of(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(InvalidToken) as refused:
        await verifier.verify(token)
    assert token == "" or token not in str(refused.value)
    assert refused.value.facts() == {"reason": refused.value.reason}
    assert verifier.cached(token) is None
    return refused.value.reason


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (RSA, "RS256"),
        (RSA, "RS384"),
        (RSA, "RS512"),
        (RSA, "PS256"),
        (EC, "ES256"),
        (EC384, "ES384"),
        (ED, "EdDSA"),
    ],
)
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
async def test_a_token_of_each_allowed_algorithm_signs_in(
    verifier: TokenVerifier, key: Key, alg: str
) -> None:
    token = signed(claims(org_id="org_9", cat="ignored"), key, alg, typ="JWT", cat="cl_B7d4")
    expected = SignedIn(
        issuer=ISSUER, subject="user_1", organization="org_9", role=None, expires_at=NOW + 300
    )
    assert verifier.cached(token) is None
    assert await verifier.verify(token) == expected
    assert verifier.cached(token) == expected


@pytest.mark.parametrize(
    ("key", "alg"),
    [(RSA, "PS384"), (RSA, "PS512"), (ECKey.generate_key("P-521", {"kid": "ec"}), "ES512")],
)
async def test_an_algorithm_off_the_list_is_refused(
    verifier: TokenVerifier, key: Key, alg: str
) -> None:
    assert await reason_of(verifier, signed(claims(), key, alg)) == "wrong-algorithm"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "HS256x"])
async def test_an_unsigned_token_is_refused(verifier: TokenVerifier, alg: str) -> None:
    head = b64(json.dumps({"alg": alg, "kid": "rsa"}).encode())
    body = b64(json.dumps(claims()).encode())
    assert await reason_of(verifier, f"{head}.{body}.") == "malformed"
    assert await reason_of(verifier, f"{head}.{body}.AAAA") == "wrong-algorithm"


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize(
    "secret", [RSA.as_pem(private=False), RSA.as_der(private=False)], ids=["pem", "der"]
)
async def test_a_public_key_used_as_a_hmac_secret_is_refused(
    verifier: TokenVerifier, secret: bytes, digest: str
) -> None:
    head = b64(json.dumps({"alg": f"HS{digest[3:]}", "kid": "rsa"}).encode())
    text = f"{head}.{b64(json.dumps(claims()).encode())}"
    forged = f"{text}.{b64(hmac.digest(secret, text.encode(), getattr(hashlib, digest)))}"
    assert await reason_of(verifier, forged) == "wrong-algorithm"


async def test_a_symmetric_key_in_a_key_set_is_not_used(clock: Clock) -> None:
    oct_key = OctKey.generate_key(256, {"kid": "oct"})
    source = StaticKeys({"keys": [*JWKS["keys"], oct_key.as_dict(private=True)]})
    with pytest.raises(InvalidToken, match="unknown-key"):
        await source.key_for("oct")


@pytest.mark.parametrize(
    ("key", "alg", "kid"),
    [
        (EC, "ES256", "rsa"),
        (EC, "ES256", "ec384"),
        (RSA, "RS256", "ec"),
        (RSA, "RS256", "ed"),
        (EC384, "ES384", "ec"),
    ],
)
async def test_an_algorithm_that_does_not_fit_the_key_is_refused(
    verifier: TokenVerifier, key: Key, alg: str, kid: str
) -> None:
    assert await reason_of(verifier, signed(claims(), key, alg, kid=kid)) == "wrong-algorithm"


async def test_a_key_published_for_one_algorithm_serves_no_other(clock: Clock) -> None:
    jwk = RSA.as_dict(private=False, alg="RS256")
    verifier = TokenVerifier(SETTINGS, StaticKeys({"keys": [jwk]}), clock=clock)
    assert await reason_of(verifier, signed(claims(), RSA, "PS256")) == "wrong-algorithm"
    await verifier.verify(signed(claims(), RSA, "RS256"))


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"], "exp": NOW},
        {"crit": []},
        {"jku": "https://attacker.example/jwks"},
        {"jwk": EC.as_dict(private=False)},
        {"x5u": "https://attacker.example/cert"},
        {"x5c": ["MIIB"]},
        {"b64": True},
    ],
    ids="|".join,
)
async def test_a_token_that_brings_its_own_rules_or_keys_is_refused(
    verifier: TokenVerifier, header: dict[str, Any]
) -> None:
    token = unchecked(claims(), {"alg": "ES256", "kid": "ec"} | header)
    assert await reason_of(verifier, token) == "untrusted-header"


def unchecked(payload: dict[str, Any], header: Any) -> str:
    """A token genuinely signed by EC, whatever its header says."""
    text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(payload).encode())}"
    signature = jws.JWSRegistry.algorithms["ES256"].sign(text.encode(), EC)
    return f"{text}.{b64(signature)}"


async def test_a_token_of_another_type_is_refused(verifier: TokenVerifier) -> None:
    for typ in ("logout+jwt", "dpop+jwt", ""):
        assert await reason_of(verifier, signed(claims(), typ=typ)) == "wrong-type"
    for typ in ("at+jwt", "application/at+JWT", "JWT", "jwt"):
        await verifier.verify(signed(claims(), typ=typ))


async def test_another_key_under_a_known_id_is_a_bad_signature(verifier: TokenVerifier) -> None:
    stranger = ECKey.generate_key("P-256", {"kid": "ec"})
    assert await reason_of(verifier, signed(claims(), stranger)) == "bad-signature"


async def test_no_changed_byte_of_a_token_passes(verifier: TokenVerifier) -> None:
    token = signed(claims())
    await verifier.verify(token)
    for place, old in enumerate(token):
        changed = token[:place] + ("A" if old != "A" else "B") + token[place + 1 :]
        await reason_of(verifier, changed)


async def test_changed_claims_under_an_old_signature_are_refused(verifier: TokenVerifier) -> None:
    head, _, signature = signed(claims()).split(".")
    body = b64(json.dumps(claims(sub="admin")).encode())
    assert await reason_of(verifier, f"{head}.{body}.{signature}") == "bad-signature"


NESTED = b'{"alg":' + b"[" * 5000
BAD_HEADERS = [
    NESTED,
    b'{"a":' * 900 + b"1" + b"}" * 900,
    b"[]",
    b'["alg"]',
    b'"alg"',
    b"1",
    b"null",
    b"{}",
    b'{"alg":1}',
    b'{"alg":"ES256","kid":7}',
    b"\xff\xfe",
]
MALFORMED: list[str] = [
    "",
    ".",
    "..",
    "...",
    "a.b",
    "not a token",
    "é.é.é",
    "\udcff.a.b",
    "a" * 8193,
    signed(claims()) + "=",
    signed(claims()) + "\n",
    " " + signed(claims()),
    signed(claims()).replace(".", "..", 1),
    signed(claims()) + ".x",
    signed(claims(pad="x" * 8192)),
    *(f"{b64(head)}.e30.AAAA" for head in BAD_HEADERS),
]


@pytest.mark.parametrize("token", MALFORMED, ids=range(len(MALFORMED)))
async def test_what_is_no_token_is_malformed(verifier: TokenVerifier, token: str) -> None:
    assert await reason_of(verifier, token) == "malformed"


ENDLESS = [b'{"iss":"a","exp":' + exp + b"}" for exp in (b"1e999", b"NaN", b"9" * 400)]


@pytest.mark.parametrize(
    "payload",
    [b"[]", b"1", b"", b"{", b"\xff", NESTED, *ENDLESS],
    ids=lambda payload: ascii(payload)[:24],
)
async def test_a_genuine_signature_over_no_claims_is_malformed(
    verifier: TokenVerifier, payload: bytes
) -> None:
    assert await reason_of(verifier, signed(payload)) == "malformed"


async def test_an_oversized_token_is_refused_before_a_key_is_asked_for(
    verifier: TokenVerifier, keys: CountedKeys
) -> None:
    await reason_of(verifier, signed(claims(pad="x" * 8192)))
    assert keys.asked == 0


async def test_an_expired_token_is_refused_after_the_leeway(
    verifier: TokenVerifier, clock: Clock
) -> None:
    token = signed(claims(exp=NOW + 10))
    clock.now = NOW + 69
    await verifier.verify(token)
    clock.now = NOW + 70
    assert await reason_of(verifier, token) == "expired"


@pytest.mark.parametrize("claim", ["nbf", "iat"])
async def test_a_token_from_the_future_waits_for_its_time_less_the_leeway(
    verifier: TokenVerifier, clock: Clock, claim: str
) -> None:
    token = signed(claims(**{claim: NOW + 61}))
    assert await reason_of(verifier, token) == "not-yet-valid"
    clock.now = NOW + 1
    await verifier.verify(token)


@pytest.mark.parametrize("exp", [..., None])
async def test_a_token_without_expiry_is_refused(verifier: TokenVerifier, exp: Any) -> None:
    assert await reason_of(verifier, signed(claims(exp=exp))) == "bad-claim"


@pytest.mark.parametrize(
    "wrong",
    [{"exp": True}, {"exp": "9999999999"}, {"nbf": "0"}, {"iat": []}, {"iss": 1}, {"aud": 1},
     {"aud": ["polyclinic", 1]}, {"aud": {"polyclinic": 1}}, {"iss": ...}],
    ids=str,
)  # fmt: skip
async def test_a_standard_claim_of_the_wrong_type_is_malformed(
    verifier: TokenVerifier, wrong: dict[str, Any]
) -> None:
    assert await reason_of(verifier, signed(claims(**wrong))) == "malformed"


@pytest.mark.parametrize("issuer", [ISSUER + "/", ISSUER.upper(), "", ISSUER + ".evil.example"])
async def test_the_issuer_must_be_exact(verifier: TokenVerifier, issuer: str) -> None:
    assert await reason_of(verifier, signed(claims(iss=issuer))) == "wrong-issuer"


@pytest.mark.parametrize("aud", ["other", "poly", "polyclinic2", "", [], ["other"], None, ...])
async def test_a_token_for_another_audience_is_refused(verifier: TokenVerifier, aud: Any) -> None:
    assert await reason_of(verifier, signed(claims(aud=aud))) == "wrong-audience"


async def test_one_audience_among_several_is_enough(verifier: TokenVerifier) -> None:
    await verifier.verify(signed(claims(aud=["other", "polyclinic"])))


async def test_audience_is_not_asked_for_where_none_is_configured(clock: Clock) -> None:
    verifier = TokenVerifier(IssuerSettings(ISSUER), StaticKeys(JWKS), clock=clock)
    await verifier.verify(signed(claims(aud=...)))


async def test_claim_names_are_settings_whole_first_then_as_a_path(clock: Clock) -> None:
    settings = IssuerSettings(
        ISSUER,
        subject_claim="https://clinic.example/uid",
        organization_claim="o.id",
        role_claim="o.rol",
    )
    verifier = TokenVerifier(settings, StaticKeys(JWKS), clock=clock)
    extra = {"https://clinic.example/uid": "u7", "o": {"id": "org_9", "rol": "admin"}}
    found = await verifier.verify(signed(claims(**extra)))
    assert (found.subject, found.organization, found.role) == ("u7", "org_9", "admin")
    found = await verifier.verify(signed(claims(**extra, **{"o.id": "whole", "o.rol": None})))
    assert (found.organization, found.role) == ("whole", None)


@pytest.mark.parametrize("wrong", [{"sub": ...}, {"sub": ""}, {"sub": 7}, {"org_id": ["a", "b"]}])
async def test_a_claim_that_is_missing_or_no_text_is_named(
    verifier: TokenVerifier, wrong: dict[str, Any]
) -> None:
    with pytest.raises(InvalidToken, match="bad-claim") as refused:
        await verifier.verify(signed(claims(**wrong)))
    assert refused.value.claim in wrong


async def test_an_unknown_key_id_is_refused(verifier: TokenVerifier) -> None:
    assert await reason_of(verifier, signed(claims(), kid="gone")) == "unknown-key"


async def test_a_token_without_key_id_uses_the_only_key_and_no_other(
    verifier: TokenVerifier, clock: Clock
) -> None:
    token = unchecked(claims(), {"alg": "ES256"})
    assert await reason_of(verifier, token) == "unknown-key"
    alone = StaticKeys({"keys": [EC.as_dict(private=False)]})
    await TokenVerifier(SETTINGS, alone, clock=clock).verify(token)


async def test_keys_that_are_weak_or_not_understood_are_left_out() -> None:
    weak = rsa_1024()
    encrypting = ECKey.generate_key("P-256", {"kid": "enc", "use": "enc"}).as_dict(private=False)
    odd: list[dict[str, Any]] = [
        {"kty": "AKP", "kid": "pq"},
        {"kid": "untyped"},
        {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA", "kid": "curve"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "point"},
        {"kty": "RSA", "n": 7, "e": "AQAB", "kid": "number"},
        {"kty": ["RSA"], "kid": "list"} | {"kty": "nothing"},
    ]
    source = StaticKeys({"keys": [weak, encrypting, *odd, *JWKS["keys"]]})
    for kid in ("weak", "enc", "pq", "untyped", "curve", "point", "number", "list"):
        with pytest.raises(InvalidToken, match="unknown-key"):
            await source.key_for(kid)
    assert (await source.key_for("rsa")).kid == "rsa"


def rsa_1024() -> dict[str, Any]:
    modulus = RSA.as_dict(private=False)["n"]
    assert isinstance(modulus, str)
    raw = bytearray(base64.urlsafe_b64decode(modulus + "==")[:128])
    raw[-1] |= 1
    return {"kty": "RSA", "n": b64(bytes(raw)), "e": "AQAB", "kid": "weak"}


async def test_a_verified_token_is_not_verified_again_until_recheck(
    verifier: TokenVerifier, keys: CountedKeys, clock: Clock
) -> None:
    token = signed(claims(exp=NOW + 86_400))
    first = await verifier.verify(token)
    assert await verifier.verify(token) is first
    clock.now = NOW + 599
    assert verifier.cached(token) is first
    assert keys.asked == 1
    clock.now = NOW + 600
    assert verifier.cached(token) is None
    await verifier.verify(token)
    assert keys.asked == 2


async def test_a_remembered_token_is_forgotten_at_its_expiry(
    verifier: TokenVerifier, clock: Clock
) -> None:
    token = signed(claims(exp=NOW + 5))
    await verifier.verify(token)
    clock.now = NOW + 4.9
    assert verifier.cached(token) is not None
    clock.now = NOW + 5
    assert verifier.cached(token) is None


async def test_the_least_recently_used_token_is_forgotten_first(clock: Clock) -> None:
    verifier = TokenVerifier(SETTINGS, StaticKeys(JWKS), clock=clock, cache_size=2)
    first, second, third = (signed(claims(sub=name)) for name in "abc")
    await verifier.verify(first)
    await verifier.verify(second)
    verifier.cached(first)
    await verifier.verify(third)
    assert verifier.cached(second) is None
    assert verifier.cached(first) is not None
    assert verifier.cached(third) is not None


ORGANIZATION = UUID("01890000-0000-7000-8000-000000000001")


async def test_a_development_token_signs_in(tmp_path: Path, clock: Clock) -> None:
    dev = DevIssuer.open(tmp_path, None, clock=clock)
    token = dev.token(subject="doctor-1", organization=ORGANIZATION, lifetime_s=60)
    found = await dev.verifier().verify(token)
    assert found == SignedIn(
        issuer=DevIssuer.issuer,
        subject="doctor-1",
        organization=str(ORGANIZATION),
        role=None,
        expires_at=NOW + 60,
    )
    anywhere = dev.token(subject="doctor-1", organization=None, lifetime_s=60)
    assert (await dev.verifier().verify(anywhere)).organization is None


async def test_a_reopened_development_issuer_has_the_same_key(tmp_path: Path, clock: Clock) -> None:
    token = DevIssuer.open(tmp_path, None, clock=clock).token(
        subject="a", organization=None, lifetime_s=60
    )
    await DevIssuer.open(tmp_path, None, clock=clock).verifier().verify(token)


def test_the_development_key_file_is_private_and_its_key_set_public(tmp_path: Path) -> None:
    dev = DevIssuer.open(tmp_path, None)
    file = tmp_path / "dev-issuer.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "d" in json.loads(file.read_text())
    assert "d" not in dev.public_jwks()["keys"][0]


def test_openers_that_race_get_the_key_that_was_made_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = DevIssuer.open(tmp_path, None)
    # The loser of the race looked before the winner's file was there.
    monkeypatch.setattr("polyclinic.db.secret_files.SecretFile.read", lambda _: None)
    assert DevIssuer.open(tmp_path, None).public_jwks() == first.public_jwks()


@pytest.mark.parametrize("configured", [ISSUER, DevIssuer.issuer, ""])
def test_no_development_issuer_exists_beside_a_configured_one(
    tmp_path: Path, configured: str
) -> None:
    with pytest.raises(DevIssuerForbidden, match="remove the issuer from the settings"):
        DevIssuer.open(tmp_path, configured)
    assert list(tmp_path.iterdir()) == []


async def test_a_real_issuers_verifier_refuses_development_tokens(
    tmp_path: Path, verifier: TokenVerifier, clock: Clock
) -> None:
    dev = DevIssuer.open(tmp_path, None, clock=clock)
    token = dev.token(subject="a", organization=None, lifetime_s=60)
    assert await reason_of(verifier, token) == "unknown-key"


@pytest.mark.parametrize(
    "content",
    [
        lambda: "",
        lambda: "{}",
        lambda: "not json",
        lambda: json.dumps(EC.as_dict(private=False)),
        lambda: json.dumps(EC384.as_dict(private=True)),
    ],
)
def test_a_damaged_development_key_file_is_named_and_kept(
    tmp_path: Path, content: Callable[[], str]
) -> None:
    file = tmp_path / "dev-issuer.json"
    file.write_text(content())
    with pytest.raises(InvalidDevIssuerFile, match=r"dev-issuer\.json"):
        DevIssuer.open(tmp_path, None)
    assert file.read_text() == content()
