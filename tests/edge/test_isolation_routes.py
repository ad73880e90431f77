"""Every operation of the OpenAPI document against a stranger, a foreigner and every role.

An operation that is new fails until the tables below say how to call it.
"""

import re
from typing import Any

import httpx
import psycopg
import pytest

from polyclinic.core.ids import new_id
from polyclinic.databases import Databases
from polyclinic.settings import Settings
from polyclinic.tenancy.context import Role
from tests.conftest import Api
from tests.edge.conftest import Clinic, FillClinic, Headers, Operation, is_problem, pages
from tests.postgres.catalogue import organizations_tables
from tests.postgres.conftest import DATABASES

UUID_TEXT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MALFORMED = ("Bearer x", "Bearer a.b.c", "Bearer ", "Basic eDp5", "Bearer Bearer", "Bearer ..")

# A path parameter names an attribute of Clinic (its organization: `id`).
PATH_PARAMETERS = {
    "organization_id": "id",
    "patient_id": "patient_id",
    "practitioner_id": "practitioner_id",
    "member_id": "member_id",
}
BODIES: dict[str, dict[str, Any]] = {
    "registerPatient": {"name": "Somebody New"},
    "changePatient": {"blood_type": "A+"},
    "giveConsent": {"method": "verbal"},
    "createOrganization": {"name": "C", "country": "ES", "timezone": "Europe/Madrid"},
    "createBranch": {"name": "North", "timezone": "Europe/Madrid"},
    "createPractitioner": {"name": "Dr New"},
    "addMember": {"subject": "somebody", "role": "cashier"},
    "changeMember": {"role": "cashier"},
}
# Operations that act in no organization, and who may use them.
PUBLIC = {"health", "readiness"}
SIGNED_IN = {"listOrganizations", "readMe"}
SUPERADMINS = {"createOrganization"}
# Lists whose query finds something: what to ask for, of the other clinic's.
QUERIES: dict[str, list[tuple[str, str]]] = {
    "listPatients": [("query", "patient_name"), ("query", "phone"), ("query", "card")],
    "readAudit": [("entity_id", "patient_id"), ("entity_id", "member_id")],
}


async def call(
    client: httpx.AsyncClient, operation: Operation, headers: Headers, **ids: str
) -> httpx.Response:
    return await client.request(
        operation.method,
        operation.path.format(**ids),
        headers={"If-Match": "*", **headers},
        json=BODIES[operation.id] if operation.has_body else None,
    )


def ids_of(clinic: Clinic, operation: Operation) -> dict[str, str]:
    return {name: getattr(clinic, PATH_PARAMETERS[name]) for name in operation.path_parameters}


def without_ids(answer: httpx.Response) -> str:
    """The body with every id blanked, so that only its meaning is left."""
    body = {**answer.json(), "request_id": ""}
    return UUID_TEXT.sub("-", str(body))


@pytest.fixture
async def other(fill_clinic: FillClinic) -> Clinic:
    return await fill_clinic()


def test_every_operation_is_covered(operations: list[Operation]) -> None:
    assert len(operations) > 20
    for operation in operations:
        assert {*operation.path_parameters} <= {*PATH_PARAMETERS}, operation.id
        assert operation.has_body == (operation.id in BODIES), operation.id
        free = operation.id in PUBLIC | SIGNED_IN | SUPERADMINS
        assert (operation.rights is None) is free, operation.id


async def test_without_a_good_token_every_operation_is_401(
    api: Api, operations: list[Operation], clinic: Clinic
) -> None:
    for operation in operations:
        ids = ids_of(clinic, operation)
        for headers in ({}, *({"Authorization": value} for value in MALFORMED)):
            answer = await call(api.client, operation, headers, **ids)
            if operation.id in PUBLIC:
                assert answer.status_code == 200
            else:
                assert is_problem(answer, 401, "invalid-token"), (operation.id, headers)
                assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_another_organizations_id_looks_like_one_that_never_was(
    api: Api, operations: list[Operation], clinic: Clinic, other: Clinic
) -> None:
    before = rows_text(api.settings, other, without_audit=True)
    with_ids = [operation for operation in operations if operation.path_parameters]
    for operation in with_ids:
        foreign = await call(api.client, operation, clinic.admin, **ids_of(other, operation))
        assert is_problem(foreign, 404), (operation.id, foreign.text)
        never = {name: str(new_id()) for name in operation.path_parameters}
        unknown = await call(api.client, operation, clinic.admin, **never)
        assert without_ids(foreign) == without_ids(unknown)
        assert foreign.headers.keys() == unknown.headers.keys()
    assert rows_text(api.settings, other, without_audit=True) == before


async def test_another_organization_in_the_header_is_404(
    api: Api, operations: list[Operation], clinic: Clinic, other: Clinic
) -> None:
    for operation in operations:
        if operation.rights is None or "organization_id" in operation.path_parameters:
            continue
        answers = [
            await call(
                api.client,
                operation,
                {**clinic.admin, "X-Organization-Id": organization},
                **ids_of(other, operation),
            )
            for organization in (other.id, str(new_id()))
        ]
        assert all(is_problem(a, 404, "organization-not-found") for a in answers), operation.id
        assert without_ids(answers[0]) == without_ids(answers[1])


@pytest.mark.parametrize("role", Role)
async def test_a_role_does_what_its_rights_say_and_no_more(
    api: Api, operations: list[Operation], clinic: Clinic, role: Role
) -> None:
    headers = await api.as_role(role, clinic.organization)
    headers["X-Organization-Id"] = clinic.id
    for operation in operations:
        answer = await call(api.client, operation, headers, **ids_of(clinic, operation))
        if operation.rights is not None:
            may = role in operation.rights.roles
        else:
            may = operation.id not in SUPERADMINS or role is Role.SUPERADMIN
        if may:
            assert answer.status_code < 500
            assert answer.status_code != 401
            is_forbidden = answer.status_code == 403 and answer.json()["code"] == "forbidden"
            assert not is_forbidden, operation.id
        else:
            assert is_problem(answer, 403, "forbidden"), (operation.id, answer.text)


async def test_another_organizations_patient_leaves_a_record_at_the_asker_alone(
    api: Api, operations: list[Operation], clinic: Clinic, other: Clinic
) -> None:
    unrecorded = []
    with psycopg.connect(Databases(api.settings).admin("shard"), autocommit=True) as admin:
        for operation in operations:
            if "patient_id" not in operation.path_parameters:
                continue
            request_id = f"foreign-{operation.id}-{clinic.id[-6:]}"
            headers = {**clinic.admin, "X-Request-Id": request_id}
            await call(api.client, operation, headers, **ids_of(other, operation))
            rows = admin.execute(
                "SELECT organization_id::text, outcome, entity_id::text FROM audit_log"
                " WHERE request_id = %s",
                [request_id],
            ).fetchall()
            if rows != [(clinic.id, "not-found", other.patient_id)]:
                unrecorded.append((operation.id, rows))
    assert unrecorded == []


async def test_no_list_and_no_search_shows_another_organizations_ids(
    api: Api, operations: list[Operation], clinic: Clinic, other: Clinic
) -> None:
    theirs = {*UUID_TEXT.findall(rows_text(api.settings, other))}
    theirs -= {*UUID_TEXT.findall(rows_text(api.settings, clinic))}
    assert {other.id, other.patient_id, other.member_id, other.branch_id} <= theirs
    lists = [o for o in operations if o.method == "get" and o.id not in PUBLIC]
    for operation in lists:
        path = operation.path.format(**ids_of(clinic, operation))
        asked = [
            {name: getattr(other, attribute)}
            for name, attribute in QUERIES.get(operation.id, [])
        ]  # fmt: skip
        for query in ({}, {"limit": "1"}, *asked):
            async for page in pages(api.client, path, clinic.admin, **query):
                assert page.status_code == 200, (operation.id, query, page.text)
                shown = {*UUID_TEXT.findall(page.text)} - {*query.values()}
                assert not shown & theirs, (operation.id, query)


def rows_text(settings: Settings, clinic: Clinic, *, without_audit: bool = False) -> str:
    """Every row of the clinic's in both databases, as text."""
    texts = []
    for database in DATABASES:
        with psycopg.connect(Databases(settings).admin(database)) as admin:
            for table in organizations_tables(admin):
                if table == "patient_persons" or (without_audit and table == "audit_log"):
                    continue
                rows = admin.execute(
                    f"SELECT t::text FROM {table} t WHERE organization_id = %s ORDER BY 1".encode(),
                    [clinic.id],
                )
                texts += [row for (row,) in rows]
    return "\n".join(texts)
