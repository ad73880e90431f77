"""What holds for every request alike: repeats, versions, pages, limits, problems, logs."""

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import httpx
import psycopg
import pytest

from polyclinic.databases import Databases
from polyclinic.settings import Settings
from polyclinic.tenancy.context import Role
from tests.conftest import Api
from tests.edge.conftest import Clinic, Headers, Operation, is_problem, pages
from tests.edge.test_isolation_routes import BODIES

PATIENT = {"name": "Ana Repeated"}


# -- Idempotency-Key --------------------------------------------------------------------------


async def test_every_post_repeated_with_its_key_gives_its_first_answer_and_does_nothing_more(
    api: Api, operations: list[Operation], clinic: Clinic
) -> None:
    superadmin = await api.as_role(Role.SUPERADMIN)
    wrong = []
    for operation in (o for o in operations if o.method == "post"):
        headers = superadmin if operation.rights is None else clinic.admin
        headers = {**headers, "Idempotency-Key": f"{operation.id}-{clinic.id}"}
        path = operation.path.format(organization_id=clinic.id)
        body = BODIES[operation.id]
        first, second = [
            await api.client.post(path, json=body, headers=headers) for _ in range(2)
        ]  # fmt: skip
        assert first.status_code == 201
        assert (second.status_code, second.content) == (201, first.content)
        assert second.headers["location"] == first.headers["location"]
        assert "idempotent-replayed" not in first.headers
        changed = {**body, "name": "Another"} if "name" in body else {**body, "subject": "other"}
        third = await api.client.post(path, json=changed, headers=headers)
        if second.headers.get("idempotent-replayed") != "true":
            wrong.append(f"{operation.id}: the repeat is not marked")
        if not is_problem(third, 422, "idempotency-key-reused"):
            wrong.append(f"{operation.id}: another body is taken")
    assert wrong == []


@pytest.mark.parametrize("field", ["name", "country", "timezone"])
async def test_a_key_of_another_organization_is_refused_whatever_differs(
    api: Api, field: str
) -> None:
    headers = await api.as_role(Role.SUPERADMIN) | {"Idempotency-Key": f"founding-{field}"}
    body = {"name": "C", "country": "ES", "timezone": "Europe/Madrid"}
    other = {"name": "D", "country": "PT", "timezone": "Europe/Lisbon"}
    first = await api.client.post("/v1/organizations", json=body, headers=headers)
    assert first.status_code == 201
    second = await api.client.post(
        "/v1/organizations", json={**body, field: other[field]}, headers=headers
    )
    assert is_problem(second, 422, "idempotency-key-reused")


async def test_twenty_posts_of_one_key_at_once_have_one_effect(api: Api, clinic: Clinic) -> None:
    headers = {**clinic.admin, "Idempotency-Key": "twenty"}
    answers = await asyncio.gather(
        *(api.client.post("/v1/patients", json=PATIENT, headers=headers) for _ in range(20))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 19
    shown = await api.client.get("/v1/patients", headers=clinic.admin)
    assert [item["name"] for item in shown.json()["items"]].count("Ana Repeated") == 1


async def test_a_key_belongs_to_its_user_and_is_free_again_after_a_refusal(
    api: Api, clinic: Clinic
) -> None:
    doctor = await api.as_role(Role.DOCTOR, clinic.organization)
    made = []
    for headers in (clinic.admin, doctor):
        keyed = {**headers, "Idempotency-Key": "mine"}
        bad = {**PATIENT, "date_of_birth": "1700-01-01"}
        refused = await api.client.post("/v1/patients", json=bad, headers=keyed)
        assert is_problem(refused, 422)
        answer = await api.client.post("/v1/patients", json=PATIENT, headers=keyed)
        assert answer.status_code == 201
        made.append(answer.json()["id"])
    assert made[0] != made[1]


async def test_a_key_of_a_wrong_length_is_named(api: Api, clinic: Clinic) -> None:
    for key in ("", "x" * 256):
        headers = {**clinic.admin, "Idempotency-Key": key}
        answer = await api.client.post("/v1/patients", json=PATIENT, headers=headers)
        assert is_problem(answer, 422)
        assert fields(answer) == ["Idempotency-Key"]


# -- Versions -----------------------------------------------------------------------------------


async def test_a_read_of_what_the_caller_has_is_304(api: Api, clinic: Clinic) -> None:
    path = f"/v1/patients/{clinic.patient_id}"
    tag = (await api.client.get(path, headers=clinic.admin)).headers["etag"]
    # RFC 9110, 13.1.2: a list, compared weakly; * is whatever there is.
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        answer = await api.client.get(path, headers={**clinic.admin, "If-None-Match": known})
        assert (known, answer.status_code, answer.content) == (known, 304, b"")
        assert answer.headers["etag"] == tag
    answer = await api.client.get(path, headers={**clinic.admin, "If-None-Match": '"other"'})
    assert answer.status_code == 200


async def test_a_change_needs_the_version_that_was_read(api: Api, clinic: Clinic) -> None:
    for path, first, second in (
        (f"/v1/patients/{clinic.patient_id}", {"blood_type": "A+"}, {"blood_type": "B+"}),
        (f"/v1/members/{clinic.member_id}", {"role": "cashier"}, {"role": "doctor"}),
    ):
        tag = (await api.client.get(path, headers=clinic.admin)).headers["etag"]

        async def change(body: dict[str, str], path: str = path, **headers: str) -> httpx.Response:
            return await api.client.patch(path, json=body, headers=clinic.admin | headers)

        assert is_problem(await change(first), 428, "if-match-required")
        assert is_problem(await change(first, **{"If-Match": '"7777"'}), 412, "changed-meanwhile")
        done = await change(first, **{"If-Match": tag})
        assert done.status_code == 200
        assert done.headers["etag"] != tag
        assert is_problem(await change(second, **{"If-Match": tag}), 412, "changed-meanwhile")
        assert (await change(second, **{"If-Match": done.headers["etag"]})).status_code == 200
        assert (await change(first, **{"If-Match": "*"})).status_code == 200


async def test_of_two_changes_of_one_version_one_is_refused(api: Api, clinic: Clinic) -> None:
    path = f"/v1/patients/{clinic.patient_id}"
    tag = (await api.client.get(path, headers=clinic.admin)).headers["etag"]
    headers = {**clinic.admin, "If-Match": tag}
    answers = await asyncio.gather(
        *(api.client.patch(path, json={"allergies": [f"{n}"]}, headers=headers) for n in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7


# -- Pages --------------------------------------------------------------------------------------

LISTS = ("/v1/patients", "/v1/practitioners", "/v1/members", "/v1/audit", "/v1/organizations")


BAD_PAGES = [
    *(("limit", value) for value in ("0", "101", "-1", "ten", "9" * 30)),
    *(("cursor", value) for value in ("x", "e30", "ñ", "x" * 2001)),
]


async def test_a_bad_page_is_named(api: Api, clinic: Clinic) -> None:
    for path in (*LISTS, f"/v1/organizations/{clinic.id}/branches"):
        for field, value in BAD_PAGES:
            answer = await api.client.get(path, params={field: value}, headers=clinic.admin)
            assert is_problem(answer, 422)
            assert (path, value, fields(answer)) == (path, value, [field])


async def test_a_page_is_walked_to_its_end_and_its_cursor_fits_no_other_list(
    api: Api, clinic: Clinic
) -> None:
    for name in ("One", "Two"):
        await api.client.post("/v1/patients", json={"name": name}, headers=clinic.admin)
        await api.client.post("/v1/practitioners", json={"name": name}, headers=clinic.admin)
    for path in ("/v1/patients", "/v1/practitioners", "/v1/members"):
        whole = (await api.client.get(path, headers=clinic.admin)).json()
        assert whole["next_cursor"] is None
        walked = [page.json() async for page in pages(api.client, path, clinic.admin, limit="1")]
        assert [item for page in walked for item in page["items"]] == whole["items"]
        for other in LISTS:
            query = {"cursor": walked[0]["next_cursor"]}
            answer = await api.client.get(other, params=query, headers=clinic.admin)
            if other != path:
                assert is_problem(answer, 422)
                assert fields(answer) == ["cursor"]
    search = {"cursor": walked[0]["next_cursor"], "query": "One"}
    assert is_problem(
        await api.client.get("/v1/patients", params=search, headers=clinic.admin), 422
    )


# -- Bad bodies -----------------------------------------------------------------------------------


def fields(answer: httpx.Response) -> list[str]:
    return [error["field"] for error in answer.json().get("errors", [])]


BAD_FIELDS: list[tuple[str, dict[str, Any]]] = [
    ("bogus", {"name": "A", "bogus": 1}),
    ("name", {}),
    ("name", {"name": 7}),
    ("name", {"name": "  "}),
    ("name", {"name": "A" * 201}),
    ("date_of_birth", {"name": "A", "date_of_birth": "1980-13-45"}),
    ("date_of_birth", {"name": "A", "date_of_birth": "3.2.1980"}),
    ("date_of_birth", {"name": "A", "date_of_birth": "2980-01-01"}),
    ("sex", {"name": "A", "sex": "m"}),
    ("consent.bogus", {"name": "A", "consent": {"method": "verbal", "bogus": 1}}),
    ("insurance_entries[0].policy_number", {"name": "A", "insurance_entries": [{"provider": "x"}]}),
    ("identifiers[0].value", {"name": "A", "identifiers": [{"system": "x", "value": 1}]}),
]


async def test_a_bad_field_is_named(api: Api, clinic: Clinic) -> None:
    wrong = []
    for field, body in BAD_FIELDS:
        answer = await api.client.post("/v1/patients", json=body, headers=clinic.admin)
        assert is_problem(answer, 422)
        if fields(answer) != [field]:
            wrong.append((body, fields(answer)))
    assert wrong == []


async def test_a_bad_parameter_is_named(api: Api, clinic: Clinic) -> None:
    wrong = []
    for path, field in (
        ("/v1/audit?since=yesterday", "since"),
        ("/v1/audit?until=2026-01-01T00:00:00", "until"),
        ("/v1/audit?entity_id=7", "entity_id"),
        (f"/v1/patients?query={'x' * 201}", "query"),
        ("/v1/patients?query=", "query"),
    ):
        answer = await api.client.get(path, headers=clinic.admin)
        assert is_problem(answer, 422)
        if fields(answer) != [field]:
            wrong.append((path, fields(answer)))
    assert wrong == []


async def test_a_body_that_is_no_json_is_refused(api: Api, clinic: Clinic) -> None:
    headers = {**clinic.admin, "Content-Type": "application/json"}
    for body in (b'{"name":', b"\xff", b"[]x", b'{"name": "\\ud800"}'):
        answer = await api.client.post("/v1/patients", content=body, headers=headers)
        assert is_problem(answer, 400, "malformed-request"), answer.text


async def test_a_missing_body_is_named(api: Api, clinic: Clinic) -> None:
    answer = await api.client.post("/v1/patients", headers=clinic.admin)
    assert is_problem(answer, 422)
    assert fields(answer) == ["body"]


async def test_a_body_of_another_type_is_refused(api: Api, clinic: Clinic) -> None:
    for kind in ("text/plain", "application/xml", "application/x-www-form-urlencoded"):
        headers = {**clinic.admin, "Content-Type": kind}
        answer = await api.client.post("/v1/patients", content=b'{"name": "A"}', headers=headers)
        assert is_problem(answer, 415, "unsupported-media-type"), kind


async def test_a_body_over_the_limit_is_413(api: Api, clinic: Clinic) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(api.settings.max_body_bytes // 1024 + 1):
            yield b"x" * 1024

    headers = {**clinic.admin, "Content-Type": "application/json"}
    for body in (chunks(), b"x" * (api.settings.max_body_bytes + 1)):
        answer = await api.client.post("/v1/patients", content=body, headers=headers)
        assert is_problem(answer, 413, "body-too-large")


# -- Addresses, ids, encodings ----------------------------------------------------------------------


async def test_an_unknown_address_and_a_wrong_method_are_problems(api: Api, clinic: Clinic) -> None:
    for path in ("/v1/nothing", "/nothing", "/v1/patients/7", "/docs/assets/nothing.js"):
        answer = await api.client.get(path, headers=clinic.admin)
        assert is_problem(answer, 404, "not-found"), path
    answer = await api.client.put("/v1/patients", headers=clinic.admin)
    assert is_problem(answer, 405, "method-not-allowed")
    assert {"GET", "POST"} <= {*answer.headers["allow"].split(", ")}


async def test_a_files_folder_is_all_that_the_docs_serve(api: Api) -> None:
    for path in ("/docs/assets/../__init__.py", "/docs/assets/%2e%2e/__init__.py"):
        assert (await api.client.get(path)).status_code == 404


async def test_a_request_id_comes_back_unless_it_could_do_harm(api: Api) -> None:
    for given in ("abc-123", "A" * 64):
        answer = await api.client.get("/v1/me", headers={"X-Request-Id": given})
        assert answer.headers["x-request-id"] == answer.json()["request_id"] == given
    for bad in ("", "A" * 65, "a b", "a\tb", "<script>", "é", "a,b"):
        answer = await api.client.get("/v1/me", headers=[(b"X-Request-Id", bad.encode())])
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_a_long_answer_is_compressed_as_accepted(api: Api, clinic: Clinic) -> None:
    for number in range(10):
        body = {"name": f"Patient {number}"}
        await api.client.post("/v1/patients", json=body, headers=clinic.admin)
    for accepted, encoding in (
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, zstd", "zstd"),
        ("br", None),
        ("identity", None),
    ):
        headers = {**clinic.admin, "Accept-Encoding": accepted}
        answer = await api.client.get("/v1/patients", headers=headers)
        assert len(answer.json()["items"]) == 11  # httpx reads all of these
        assert answer.headers.get("content-encoding") == encoding
        if encoding is not None:
            assert "Accept-Encoding" in answer.headers["vary"]


async def test_answers_are_not_kept_by_caches_that_others_share(api: Api, clinic: Clinic) -> None:
    answer = await api.client.get("/v1/patients", headers=clinic.admin)
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"


# -- Health and the docs page ---------------------------------------------------------------------


async def test_health_and_readiness_need_no_token(api: Api) -> None:
    assert (await api.client.get("/healthz")).json() == {"status": "ok"}
    ready = await api.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ready", "parts": {"control": "ok", "shard": "ok"}}


class _References(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, _: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("src", "href") and value]


async def test_the_docs_page_asks_nobody_else(api: Api) -> None:
    page = await api.client.get("/docs", headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    references = _References()
    references.feed(page.text)
    local = [reference for reference in references.found if not reference.startswith("data:")]
    assert len(local) >= 3
    for reference in local:
        asset = await api.client.get(reference)
        assert asset.status_code == 200
        assert asset.headers["content-type"].split(";")[0] in ("text/css", "text/javascript")
        if not reference.endswith("bundle.js"):  # that one names XML namespaces
            assert not re.search(r"(?:https?:)?//[a-z]", re.sub(r"data:[^)]*", "", asset.text))
    start = await api.client.get("/docs/start.js")
    assert 'url: "/openapi.json"' in start.text
    assert "validatorUrl: null" in start.text
    assert not re.search(r"https?://", page.text)


async def test_the_document_is_served_and_says_how_to_sign_in(
    api: Api, operations: list[Operation]
) -> None:
    document = (await api.client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert sum(map(len, document["paths"].values())) == len(operations)
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_the_document_tells_every_operations_problems(operations: list[Operation]) -> None:
    missing = []
    for operation in operations:
        if not operation.path.startswith("/v1/"):
            continue
        expected = {"401"} | ({"403", "404"} if operation.rights else set())
        expected |= {"422"} if operation.has_body or operation.path_parameters else set()
        documented = {
            status
            for status, response in operation.document["responses"].items()
            if "application/problem+json" in response.get("content", {})
        }
        if not expected <= documented:
            missing.append(f"{operation.id}: {sorted(expected - documented)}")
    assert missing == []


# -- Logs -------------------------------------------------------------------------------------------

MARKS = ("Marquesina", "marquesina", "611222333", "Peniciline", "A-MARK-77", "mark@marks.example")


@pytest.fixture
def served(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    """The API as a process of its own: its address, and what stops it and tells its output."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "polyclinic", "api", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--data-dir", str(settings.data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def output() -> str:
        process.terminate()
        return process.communicate(timeout=20)[0]

    try:
        yield f"http://127.0.0.1:{port}", output
    finally:
        process.kill()
        process.communicate()


async def until_ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                if (await client.get("/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


async def marked_requests(client: httpx.AsyncClient, admin: Headers) -> list[int]:
    """Requests with a person's data wherever a client may put it; their statuses."""
    person = {
        "name": "Zoë Marquesina",
        "phone": "+34611222333",
        "email": "mark@marks.example",
        "date_of_birth": "1980-02-03",
        "allergies": ["Peniciline"],
        "identifiers": [{"system": "card", "value": "A-MARK-77"}],
        "consent": {"method": "verbal", "note": "Marquesina"},
    }
    made = await client.post("/v1/patients", json=person, headers=admin)
    here = made.headers["location"]
    change = {"headers": {**admin, "If-Match": "*"}}
    answers = [
        made,
        await client.post("/v1/patients", json=person, headers=admin),
        await client.post("/v1/patients", json={**person, "name": "M Marquesina"}, headers=admin),
        await client.post("/v1/patients", json={"Marquesina": 1}, headers=admin),
        await client.post("/v1/patients", content=b'{"name": "Marquesina', headers=admin),
        await client.post("/v1/patients", json={"name": "Marquesina\0"}, headers=admin),
        await client.get("/v1/patients", params={"query": "Marquesina"}, headers=admin),
        await client.get("/v1/patients", params={"query": "+34 611 222 333"}, headers=admin),
        await client.get("/v1/patients", params={"Marquesina": "A-MARK-77"}, headers=admin),
        await client.patch(here, json={"name": "M. Marquesina"}, **change),  # type: ignore[arg-type]
        await client.patch(here, json={"phone": 611222333}, **change),  # type: ignore[arg-type]
        await client.get("/v1/patients/Marquesina", headers=admin),
        await client.get("/Marquesina/611222333"),
        await client.get("/v1/patients/mark@marks.example"),
        await client.get(here, headers={**admin, "X-Request-Id": "Zo Marquesina"}),
        await client.get(here, headers={**admin, "User-Agent": "Marquesina"}),
        await client.get(here, headers={**admin, "X-Organization-Id": "Marquesina"}),
        await client.get(here, headers={"Authorization": "Bearer Marquesina"}),
    ]
    return [answer.status_code for answer in answers]


async def test_logs_hold_nothing_of_a_person(
    api: Api, clinic: Clinic, served: tuple[str, Callable[[], str]]
) -> None:
    address, output = served
    async with httpx.AsyncClient(base_url=address, trust_env=False) as client:
        await until_ready(client)
        statuses = await marked_requests(client, clinic.admin)
    assert {201, 200, 400, 401, 404, 409, 422} >= {*statuses} >= {201, 200, 400, 401, 404, 422}
    text = await asyncio.to_thread(output)
    lines = [json.loads(line) for line in text.splitlines()]
    assert sum(line["event"] == "request" for line in lines) >= len(statuses)
    told = [line for line in text.splitlines() if any(mark in line for mark in MARKS)]
    assert told == []
    with psycopg.connect(Databases(api.settings).admin("shard")) as admin:
        rows = admin.execute("SELECT details::text, request_id FROM audit_log").fetchall()
    server_log = (api.settings.data_dir / "postgres" / "postgres.log").read_text()
    for kept in (server_log, str(rows)):
        assert not any(mark in kept for mark in MARKS)
