"""Who may act where, as tokens, memberships and a real identity provider say."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from polyclinic.cli import token as tokens
from polyclinic.core.ids import OrganizationId, new_id
from polyclinic.organizations.organization import Organization
from polyclinic.settings import Settings
from polyclinic.tenancy.context import Role
from polyclinic.tenancy.signin import DevIssuer
from tests.conftest import Api, FoundOrganization
from tests.edge.conftest import Clinic, FillClinic, Headers, is_problem, serving

ME = "/v1/me"


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


async def member_of(
    api: Api, subject: str, role: Role, *organizations: Organization, branches: tuple[str, ...] = ()
) -> Headers:
    """A member of several organizations; the token names none."""
    for organization in organizations:
        await tokens.add_member(
            api.settings,
            subject,
            role,
            OrganizationId(organization.id),
            [UUID(branch) for branch in branches],
        )
    return bearer(api.token(role, subject=subject))


async def refused_soon(client: httpx.AsyncClient, headers: Headers) -> httpx.Response:
    """The first refusal. Another process hears of a change within a moment, not within 15 minutes."""
    async with asyncio.timeout(5):
        while True:
            answer = await client.get("/v1/patients", headers=headers)
            if answer.status_code >= 400:
                return answer


# -- Tokens -----------------------------------------------------------------------------------


def dev_key(settings: Settings) -> ECKey:
    return ECKey.import_key(json.loads((settings.data_dir / "dev-issuer.json").read_text()))


def signed(key: ECKey, **changes: object) -> str:
    now = int(time.time())
    claims = {
        "iss": DevIssuer.issuer,
        "aud": DevIssuer.audience,
        "sub": "somebody",
        "iat": now,
        "exp": now + 600,
    } | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    header = {"alg": "ES256", "typ": "at+jwt", "kid": key.kid or key.thumbprint()}
    return jwt.encode(header, claims, key, algorithms=["ES256"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": 1_750_000_000}, "expired"),
        ({"nbf": 4_000_000_000}, "not-yet-valid"),
        ({"iss": "https://elsewhere.example"}, "wrong-issuer"),
        ({"aud": "another"}, "wrong-audience"),
        ({"aud": None}, "wrong-audience"),
        ({"sub": None}, "bad-claim"),
        ({"sub": 7}, "bad-claim"),
        ({"org_id": 7}, "bad-claim"),
    ],
)
async def test_a_token_that_does_not_fit_is_401_with_its_reason(
    api: Api, changes: dict[str, object], reason: str
) -> None:
    key = dev_key(api.settings)
    assert (await api.client.get(ME, headers=bearer(signed(key)))).status_code == 200
    answer = await api.client.get(ME, headers=bearer(signed(key, **changes)))
    assert is_problem(answer, 401, "invalid-token")
    assert answer.json()["reason"] == reason


async def test_a_token_of_another_key_is_401(api: Api, tmp_path: Path) -> None:
    stranger = DevIssuer.open(tmp_path, None)
    token = stranger.token(subject="somebody", organization=None, lifetime_s=60)
    answer = await api.client.get(ME, headers=bearer(token))
    assert is_problem(answer, 401, "invalid-token")
    assert answer.json()["reason"] == "unknown-key"
    head, body, _ = signed(dev_key(api.settings)).split(".")
    forged = await api.client.get(ME, headers=bearer(f"{head}.{body}.{token.split('.')[2]}"))
    assert forged.json()["reason"] == "bad-signature"


async def test_an_organization_claim_that_is_no_id_is_401(api: Api, clinic: Clinic) -> None:
    token = signed(dev_key(api.settings), org_id="Clinic")
    answer = await api.client.get("/v1/patients", headers=bearer(token))
    assert is_problem(answer, 401, "invalid-token")
    assert answer.json()["reason"] == "bad-claim"


# -- Which organization -------------------------------------------------------------------------


async def test_a_member_of_several_names_one(api: Api, fill_clinic: FillClinic) -> None:
    a, b, other = await fill_clinic(), await fill_clinic(), await fill_clinic()
    subject = f"locum-{a.id}"
    neither = await member_of(api, subject, Role.DOCTOR, a.organization, b.organization)
    claiming_a = bearer(api.token(Role.DOCTOR, a.organization, subject=subject))

    async def sees(headers: Headers, *, header: str | None = None) -> str:
        named = {} if header is None else {"X-Organization-Id": header}
        answer = await api.client.get("/v1/patients", headers=headers | named)
        if answer.status_code != 200:
            return str(answer.json()["code"])
        (item,) = answer.json()["items"]
        return str(item["id"])

    unchosen = await api.client.get("/v1/patients", headers=neither)
    assert is_problem(unchosen, 400, "organization-not-chosen")
    assert unchosen.json()["errors"][0]["field"] == "X-Organization-Id"
    assert await sees(neither, header=a.id) == a.patient_id
    assert await sees(neither, header=b.id) == b.patient_id
    assert await sees(claiming_a) == a.patient_id
    assert await sees(claiming_a, header=b.id) == b.patient_id  # the header is the later word
    assert await sees(claiming_a, header=other.id) == "organization-not-found"
    me = (await api.client.get(ME, headers=neither)).json()
    assert {m["organization_id"] for m in me["memberships"]} == {a.id, b.id}
    listed = (await api.client.get("/v1/organizations", headers=neither)).json()
    assert {item["id"] for item in listed["items"]} == {a.id, b.id}


async def test_who_is_a_member_of_nothing_may_do_nothing(api: Api) -> None:
    nobody = bearer(api.token(Role.DOCTOR, subject=f"nobody-{new_id()}"))
    answer = await api.client.get("/v1/patients", headers=nobody)
    assert is_problem(answer, 403, "no-organization")
    assert (await api.client.get(ME, headers=nobody)).json()["memberships"] == []
    assert (await api.client.get("/v1/organizations", headers=nobody)).json()["items"] == []


# -- Memberships in force at once -----------------------------------------------------------------


async def test_a_member_who_is_removed_is_refused_at_once_in_every_process(
    api: Api, clinic: Clinic
) -> None:
    subject = f"nurse-{clinic.card}"
    doctor = bearer(api.token(Role.DOCTOR, clinic.organization, subject=subject))
    async with serving(api.settings) as elsewhere:
        for client in (api.client, elsewhere):
            assert (await client.get("/v1/patients", headers=doctor)).status_code == 200
        path = f"/v1/members/{clinic.member_id}"
        assert (await api.client.delete(path, headers=clinic.admin)).status_code == 204
        for client in (api.client, elsewhere):
            answer = await refused_soon(client, doctor)
            assert is_problem(answer, 404, "organization-not-found")


async def test_a_changed_role_is_in_force_at_once_in_every_process(
    api: Api, clinic: Clinic
) -> None:
    doctor = bearer(api.token(Role.DOCTOR, subject=f"nurse-{clinic.card}"))
    async with serving(api.settings) as elsewhere:
        for client in (api.client, elsewhere):
            assert (await client.get("/v1/patients", headers=doctor)).status_code == 200
        changed = await api.client.patch(
            f"/v1/members/{clinic.member_id}",
            json={"role": "patient"},
            headers={**clinic.admin, "If-Match": "*"},
        )
        assert changed.status_code == 200
        for client in (api.client, elsewhere):
            answer = await refused_soon(client, doctor)
            assert is_problem(answer, 403, "forbidden")


async def test_an_organization_keeps_its_last_admin(api: Api, clinic: Clinic) -> None:
    members = (await api.client.get("/v1/members", headers=clinic.admin)).json()["items"]
    (admin,) = [m for m in members if m["role"] == "admin"]
    path = f"/v1/members/{admin['id']}"
    anyhow = {**clinic.admin, "If-Match": "*"}
    for refused in (
        await api.client.delete(path, headers=clinic.admin),
        await api.client.patch(path, json={"role": "doctor"}, headers=anyhow),
    ):
        assert is_problem(refused, 409, "last-admin")
    second = {"subject": f"second-{clinic.id}", "role": "admin"}
    made = await api.client.post("/v1/members", json=second, headers=clinic.admin)
    second_path = made.headers["location"]
    answers = await asyncio.gather(
        *(api.client.delete(one, headers=clinic.admin) for one in (path, second_path))
    )
    assert sorted(answer.status_code for answer in answers)[0] == 204
    superadmin = await api.as_role(Role.SUPERADMIN) | {"X-Organization-Id": clinic.id}
    left = (await api.client.get("/v1/members", headers=superadmin)).json()["items"]
    assert [m["role"] for m in left].count("admin") == 1


# -- Limited to branches ----------------------------------------------------------------------------


async def test_a_member_limited_to_branches_sees_those_and_who_works_there(
    api: Api, clinic: Clinic
) -> None:
    here = f"/v1/organizations/{clinic.id}/branches"
    north = (
        await api.client.post(
            here, json={"name": "North", "timezone": "Europe/Madrid"}, headers=clinic.admin
        )
    ).json()["id"]
    made = {}
    for name, branches in (("Northern", [north]), ("Everywhere", [])):
        body = {"name": name, "branch_ids": branches}
        answer = await api.client.post("/v1/practitioners", json=body, headers=clinic.admin)
        made[name] = answer.json()["id"]
    limited = await member_of(
        api, f"north-{clinic.id}", Role.DOCTOR, clinic.organization, branches=(north,)
    )

    async def names(path: str) -> set[str]:
        items = (await api.client.get(path, headers=limited)).json()["items"]
        return {item["name"] for item in items}

    assert await names(here) == {"North"}
    assert await names("/v1/practitioners") == {"Northern", "Everywhere"}
    for practitioner, status in ((made["Northern"], 200), (clinic.practitioner_id, 404)):
        answer = await api.client.get(f"/v1/practitioners/{practitioner}", headers=limited)
        assert answer.status_code == status


async def test_an_admin_limited_to_a_branch_cannot_lift_the_limit_or_appoint_past_it(
    api: Api, clinic: Clinic
) -> None:
    subject = f"manager-{clinic.id}"
    manager = await member_of(
        api, subject, Role.ADMIN, clinic.organization, branches=(clinic.branch_id,)
    )
    members = (await api.client.get("/v1/members", headers=clinic.admin)).json()["items"]
    (own,) = [m["id"] for m in members if m["subject"] == subject]
    lifted = await api.client.patch(
        f"/v1/members/{own}", json={"branch_ids": None}, headers={**manager, "If-Match": "*"}
    )
    appointed = await api.client.post(
        "/v1/members", json={"subject": f"friend-{clinic.id}", "role": "admin"}, headers=manager
    )
    assert [lifted.status_code, appointed.status_code] == [403, 403]


async def test_an_admin_limited_to_a_branch_gets_an_answer_about_a_new_one(
    api: Api, clinic: Clinic
) -> None:
    manager = await member_of(
        api, f"manager-{clinic.id}", Role.ADMIN, clinic.organization, branches=(clinic.branch_id,)
    )
    answer = await api.client.post(
        f"/v1/organizations/{clinic.id}/branches",
        json={"name": "Mine", "timezone": "Europe/Madrid"},
        headers=manager,
    )
    assert answer.status_code in (201, 403), answer.text


# -- Superadmins --------------------------------------------------------------------------------------


async def test_a_superadmin_founds_organizations_and_reads_no_patient(
    api: Api, clinic: Clinic
) -> None:
    superadmin = await api.as_role(Role.SUPERADMIN)
    body = {"name": "New", "country": "ES", "timezone": "Europe/Madrid"}
    made = await api.client.post("/v1/organizations", json=body, headers=superadmin)
    assert made.status_code == 201
    shown = await api.client.get(made.headers["location"], headers=superadmin)
    assert shown.json() == made.json()
    inside = superadmin | {"X-Organization-Id": clinic.id}
    for path in (
        "/v1/patients",
        f"/v1/patients/{clinic.patient_id}",
        f"/v1/patients?query={clinic.patient_name}",
    ):
        assert is_problem(await api.client.get(path, headers=inside), 403, "forbidden")
    refused = await api.client.post("/v1/patients", json={"name": "A"}, headers=inside)
    assert is_problem(refused, 403, "forbidden")
    assert is_problem(
        await api.client.get("/v1/members", headers=superadmin), 400, "organization-not-chosen"
    )


# -- A real identity provider -----------------------------------------------------------------------


class Provider:
    """A key set on loopback and the tokens that it signs."""

    def __init__(self) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": "one"})
        body = json.dumps({"keys": [self.key.as_dict(private=False)]}).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def token(self, **claims: object) -> Headers:
        return bearer(signed(self.key, iss=self.issuer, aud=None, **claims))


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.stop()


@pytest.fixture
async def behind_provider(
    settings: Settings, provider: Provider
) -> AsyncIterator[httpx.AsyncClient]:
    """The API of an installation whose identity provider manages the roles, as Clerk does."""
    changed = {
        "oidc_issuer": provider.issuer,
        "oidc_jwks_url": f"{provider.issuer}/jwks",
        "oidc_role_claim": "org_role",
    }
    async with serving(settings.model_copy(update=changed)) as client:
        yield client


async def test_a_providers_role_claim_is_the_role(
    behind_provider: httpx.AsyncClient, provider: Provider, clinic: Clinic
) -> None:
    async def patients(**claims: object) -> httpx.Response:
        return await behind_provider.get("/v1/patients", headers=provider.token(**claims))

    seen = await patients(sub="user_1", org_id=clinic.id, org_role="org:doctor")
    assert [item["id"] for item in seen.json()["items"]] == [clinic.patient_id]
    for role, code in (
        ("org:patient", "forbidden"),
        ("org:superadmin", "forbidden"),
        ("org:janitor", "forbidden"),
    ):
        answer = await patients(sub="user_2", org_id=clinic.id, org_role=role)
        assert is_problem(answer, 403, code)
    assert is_problem(await patients(sub="user_3"), 403, "no-organization")
    me = await behind_provider.get(
        ME, headers=provider.token(sub="user_4", org_id=clinic.id, org_role="org:cashier")
    )
    assert me.json()["memberships"] == [
        {"organization_id": clinic.id, "role": "cashier", "branch_ids": None}
    ]


async def test_a_development_token_is_nothing_beside_a_provider(
    api: Api, behind_provider: httpx.AsyncClient, clinic: Clinic
) -> None:
    answer = await behind_provider.get("/v1/patients", headers=clinic.admin)
    assert is_problem(answer, 401, "invalid-token")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/patients", None),
        ("POST", "/v1/patients", {"name": "A"}),
        ("GET", "/v1/members", None),
        ("POST", "/v1/members", {"subject": "somebody", "role": "doctor"}),
        ("GET", "/v1/audit", None),
    ],
)
async def test_a_claimed_organization_that_is_not_here_is_404(
    behind_provider: httpx.AsyncClient,
    provider: Provider,
    method: str,
    path: str,
    body: dict[str, str] | None,
) -> None:
    headers = provider.token(sub="user_5", org_id=str(new_id()), org_role="admin")
    answer = await behind_provider.request(method, path, json=body, headers=headers)
    assert is_problem(answer, 404, "organization-not-found"), answer.text


async def test_a_member_added_beside_a_provider_is_one_of_the_providers_users(
    behind_provider: httpx.AsyncClient, provider: Provider, clinic: Clinic
) -> None:
    admin = provider.token(sub="boss", org_id=clinic.id, org_role="admin")
    body = {"subject": "user_6", "role": "doctor"}
    made = await behind_provider.post("/v1/members", json=body, headers=admin)
    assert made.json()["issuer"] == provider.issuer
    seen = await behind_provider.get("/v1/patients", headers=provider.token(sub="user_6"))
    assert [item["id"] for item in seen.json()["items"]] == [clinic.patient_id]


def test_the_token_command_refuses_beside_a_real_issuer(settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "polyclinic", "token", "--role", "superadmin"],
        env={
            "POLYCLINIC_DATA_DIR": str(settings.data_dir),
            "POLYCLINIC_OIDC_ISSUER": "https://clerk.example",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert "https://clerk.example" in done.stderr.replace("\n", "")


async def test_the_token_command_prints_a_token_that_signs_in(
    api: Api, found_organization: FoundOrganization
) -> None:
    organization = await found_organization()
    command = [sys.executable, "-m", "polyclinic", "token", "--role", "doctor"]
    command += ["--organization", str(organization.id), "--data-dir", str(api.settings.data_dir)]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=True, timeout=60
    )
    me = (await api.client.get(ME, headers=bearer(done.stdout.strip()))).json()
    assert [m["role"] for m in me["memberships"]] == ["doctor"]
