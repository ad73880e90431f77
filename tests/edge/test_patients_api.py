"""Patients over HTTP, as reception and a doctor use them."""

import base64
from collections.abc import Callable

import pytest

from polyclinic.organizations.organization import Organization
from polyclinic.tenancy.context import Role
from tests.conftest import Api, FoundOrganization


@pytest.fixture
async def reception(api: Api, organization: Organization) -> dict[str, str]:
    return await api.as_role(Role.RECEPTIONIST, organization)


async def test_without_consent_the_name_is_all_there_is(
    api: Api, reception: dict[str, str], new_phone: Callable[[], str]
) -> None:
    body = {"name": "María López", "date_of_birth": "1980-02-03", "phone": new_phone()}
    made = await api.client.post("/v1/patients", json=body, headers=reception)
    assert made.status_code == 201
    read = await api.client.get(made.headers["location"], headers=reception)
    assert read.json() == made.json()
    assert set(read.json()) == {"id", "person_id", "name", "profile_shared"}


async def test_consent_opens_the_profile_and_its_withdrawal_closes_it(
    api: Api, reception: dict[str, str], new_phone: Callable[[], str]
) -> None:
    body = {"name": "María López", "blood_type": "A+", "phone": new_phone(), "allergies": ["nuts"]}
    path = (await api.client.post("/v1/patients", json=body, headers=reception)).headers["location"]
    opened = await api.client.put(
        f"{path}/consent", json={"method": "verbal", "note": "at the desk"}, headers=reception
    )
    assert opened.status_code == 200
    assert opened.json()["phone"] == body["phone"]
    assert (await api.client.get(path, headers=reception)).json() == opened.json()
    closed = await api.client.delete(f"{path}/consent", headers=reception)
    assert closed.status_code == 204
    assert "blood_type" not in (await api.client.get(path, headers=reception)).json()


async def test_an_unclear_registration_is_decided_by_the_caller(
    api: Api, reception: dict[str, str], new_phone: Callable[[], str]
) -> None:
    first = {"name": "Leo Gil", "date_of_birth": "2011-05-05", "phone": new_phone()}
    twin = {**first, "name": "Mía Gil"}
    known = (await api.client.post("/v1/patients", json=first, headers=reception)).json()
    refused = await api.client.post("/v1/patients", json=twin, headers=reception)
    assert refused.status_code == 409
    assert refused.json()["code"] == "possible-match"
    (candidate,) = refused.json()["candidates"]
    assert candidate["person_id"] == known["person_id"]
    made = await api.client.post(
        "/v1/patients", json={**twin, "decision": "new"}, headers=reception
    )
    assert made.status_code == 201
    linked = await api.client.post(
        "/v1/patients", json={**first, "decision": {"link": known["person_id"]}}, headers=reception
    )
    assert (linked.status_code, linked.json()["id"]) == (200, known["id"])


async def test_a_phone_that_is_not_valid_is_kept_as_written_and_flagged(
    api: Api, reception: dict[str, str]
) -> None:
    body = {"name": "Ana Sanz", "phone": "555-907-9875", "consent": {"method": "written"}}
    made = (await api.client.post("/v1/patients", json=body, headers=reception)).json()
    assert (made["phone"], made["phone_is_valid"]) == ("555-907-9875", False)


async def test_a_new_name_reaches_the_lists_of_every_organization(
    api: Api, found_organization: FoundOrganization, new_phone: Callable[[], str]
) -> None:
    body = {"name": "Ana Sanz", "date_of_birth": "1990-01-02", "phone": new_phone()}
    here = await api.as_role(Role.DOCTOR, await found_organization())
    there = await api.as_role(Role.DOCTOR, await found_organization())
    shared = {**body, "consent": {"method": "written"}}
    made = await api.client.post("/v1/patients", json=shared, headers=here)
    await api.client.post("/v1/patients", json=body, headers=there)
    path = made.headers["location"]
    tag = (await api.client.get(path, headers=here)).headers["etag"]
    changed = await api.client.patch(
        path, json={"name": "Ana Sanz Quiroga", "email": None}, headers={**here, "If-Match": tag}
    )
    assert changed.status_code == 200
    for who in (here, there):
        page = await api.client.get("/v1/patients", params={"query": "quiroga"}, headers=who)
        assert [item["name"] for item in page.json()["items"]] == ["Ana Sanz Quiroga"]


async def test_a_change_needs_consent(
    api: Api, organization: Organization, reception: dict[str, str]
) -> None:
    made = await api.client.post("/v1/patients", json={"name": "Ana Sanz"}, headers=reception)
    refused = await api.client.patch(
        made.headers["location"], json={"name": "Eva Sanz"}, headers={**reception, "If-Match": "*"}
    )
    assert (refused.status_code, refused.json()["code"]) == (403, "consent-required")
    admin = await api.as_role(Role.ADMIN, organization)
    assert ("patient.change", "refused") in await actions(api, admin)


async def test_every_access_and_refusal_is_in_the_audit_log(
    api: Api, organization: Organization, found_organization: FoundOrganization
) -> None:
    admin = await api.as_role(Role.ADMIN, organization)
    cashier = await api.as_role(Role.CASHIER, organization)
    outsider = await api.as_role(Role.ADMIN, await found_organization())
    made = await api.client.post("/v1/patients", json={"name": "Ana Sanz"}, headers=admin)
    path, patient_id = made.headers["location"], made.json()["id"]
    await api.client.get(path, headers=cashier)
    await api.client.get("/v1/patients", params={"query": "sanz"}, headers=admin)
    await api.client.get("/v1/patients", headers=admin)
    await api.client.put(f"{path}/consent", headers=admin)
    await api.client.delete(f"{path}/consent", headers=cashier)
    await api.client.get(
        "/v1/patients", headers={**outsider, "X-Organization-Id": str(organization.id)}
    )
    log = await api.client.get("/v1/audit", params={"limit": 100}, headers=admin)
    seen = [(e["action"], e["role"], e["outcome"]) for e in log.json()["items"]]
    assert {
        ("patient.register", "admin", "done"),
        ("patient.read", "cashier", "done"),
        ("patient.search", "admin", "done"),
        ("patient.list", "admin", "done"),
        ("consent.given", "admin", "done"),
        ("withdrawConsent", "cashier", "refused"),
        ("listPatients", "outsider", "refused"),
        ("organization.create", "superadmin", "done"),
    } <= set(seen)
    of_patient = await api.client.get(
        "/v1/audit", params={"entity_id": patient_id, "limit": 100}, headers=admin
    )
    assert {e["action"] for e in of_patient.json()["items"]} == {
        "patient.register", "patient.read", "patient.search", "patient.list", "consent.given",
    }  # fmt: skip


async def test_audit_pages_neither_skip_nor_repeat(api: Api, organization: Organization) -> None:
    admin = await api.as_role(Role.ADMIN, organization)
    for number in range(7):
        body = {"name": f"Name {number}"}
        await api.client.post("/v1/patients", json=body, headers=admin)
    ids: list[str] = []
    cursor: str | None = None
    until = "2100-01-01T00:00:00Z"
    whole = await api.client.get("/v1/audit", params={"limit": 100, "until": until}, headers=admin)
    while True:
        params = {"limit": "3", "until": until, **({"cursor": cursor} if cursor else {})}
        page = (await api.client.get("/v1/audit", params=params, headers=admin)).json()
        ids += [entry["id"] for entry in page["items"] if entry["action"] != "audit.read"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    expected = [e["id"] for e in whole.json()["items"] if e["action"] != "audit.read"]
    assert ids == expected


async def actions(api: Api, admin: dict[str, str]) -> list[tuple[str, str]]:
    log = await api.client.get("/v1/audit", params={"limit": 100}, headers=admin)
    return [(entry["action"], entry["outcome"]) for entry in log.json()["items"]]


async def test_a_repeated_registration_shows_what_may_be_shown_now(
    api: Api, organization: Organization, new_phone: Callable[[], str]
) -> None:
    admin = await api.as_role(Role.ADMIN, organization)
    body = {"name": "Ana Sanz", "phone": new_phone(), "consent": {"method": "written"}}
    once = {**admin, "Idempotency-Key": "again"}
    first = await api.client.post("/v1/patients", json=body, headers=once)
    assert first.json()["phone"] == body["phone"]
    await api.client.delete(f"{first.headers['location']}/consent", headers=admin)
    again = await api.client.post("/v1/patients", json=body, headers=once)
    assert again.headers["idempotent-replayed"] == "true"
    assert set(again.json()) == {"id", "person_id", "name", "profile_shared"}
    assert ("patient.read", "done") in await actions(api, admin)


async def test_who_was_shown_as_a_possible_match_is_recorded(
    api: Api, organization: Organization, new_phone: Callable[[], str]
) -> None:
    admin = await api.as_role(Role.ADMIN, organization)
    first = {"name": "Leo Gil", "date_of_birth": "2011-05-05", "phone": new_phone()}
    known = (await api.client.post("/v1/patients", json=first, headers=admin)).json()["person_id"]
    await api.client.post("/v1/patients", json={**first, "name": "Mía Gil"}, headers=admin)
    log = await api.client.get(
        "/v1/audit", params={"action": "patient.match", "entity_id": known}, headers=admin
    )
    (entry,) = log.json()["items"]
    assert (entry["outcome"], entry["entity_ids"]) == ("refused", [known])


async def test_a_change_is_recorded_in_every_organization_it_reaches(
    api: Api, found_organization: FoundOrganization, new_phone: Callable[[], str]
) -> None:
    body = {"name": "Ana Sanz", "date_of_birth": "1990-01-02", "phone": new_phone()}
    here = await api.as_role(Role.ADMIN, await found_organization())
    there = await api.as_role(Role.ADMIN, await found_organization())
    made = await api.client.post(
        "/v1/patients", json={**body, "consent": {"method": "written"}}, headers=here
    )
    await api.client.post("/v1/patients", json=body, headers=there)
    tag = (await api.client.get(made.headers["location"], headers=here)).headers["etag"]
    changed = await api.client.patch(
        made.headers["location"],
        json={"blood_type": "O-"},
        headers={**here, "If-Match": f'"other", {tag}', "If-None-Match": "*"},
    )
    assert changed.status_code == 200  # never 304: it was done
    assert ("patient.changed-elsewhere", "done") in await actions(api, there)
    assert ("patient.changed-elsewhere", "done") not in await actions(api, here)


async def test_a_search_cursor_tells_no_name(api: Api, reception: dict[str, str]) -> None:
    for name in ("Ana Sanz", "Eva Sanz"):
        await api.client.post("/v1/patients", json={"name": name}, headers=reception)
    page = await api.client.get(
        "/v1/patients", params={"query": "sanz", "limit": 1}, headers=reception
    )
    cursor = page.json()["next_cursor"]
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    assert b"sanz" not in raw
    second = await api.client.get(
        "/v1/patients", params={"query": "sanz", "limit": 1, "cursor": cursor}, headers=reception
    )
    assert [item["name"] for item in second.json()["items"]] == ["Eva Sanz"]
