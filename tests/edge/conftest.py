"""Clinics with something in them, and the API's own description."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from litestar.handlers import HTTPRouteHandler

from polyclinic.api.application import create_http, create_litestar
from polyclinic.api.operations import Rights
from polyclinic.app import Polyclinic
from polyclinic.organizations.organization import Organization
from polyclinic.settings import Settings
from polyclinic.tenancy.context import Role
from tests.conftest import Api, FoundOrganization

Headers = dict[str, str]


@dataclass(frozen=True, slots=True)
class Clinic:
    """An organization with one of everything; `admin` signs its admin in."""

    organization: Organization
    admin: Headers
    branch_id: str
    practitioner_id: str
    member_id: str
    patient_id: str
    patient_name: str
    phone: str
    card: str

    @property
    def id(self) -> str:
        return str(self.organization.id)


FillClinic = Callable[[], Awaitable[Clinic]]


@pytest.fixture
def fill_clinic(
    api: Api, found_organization: FoundOrganization, new_phone: Callable[[], str]
) -> FillClinic:
    """Founds a clinic and gives it one of everything, through the API."""

    async def fill() -> Clinic:
        organization = await found_organization()
        admin = await api.as_role(Role.ADMIN, organization)
        here = f"/v1/organizations/{organization.id}"

        async def made(path: str, **body: object) -> str:
            answer = await api.client.post(path, json=body, headers=admin)
            assert answer.status_code == 201, answer.text
            return str(answer.json()["id"])

        name, phone, card = f"Zoë {organization.id.hex[-6:]}", new_phone(), organization.id.hex
        branch_id = await made(f"{here}/branches", name="Centre", timezone="Europe/Madrid")
        return Clinic(
            organization,
            admin,
            branch_id,
            await made("/v1/practitioners", name="Dr House", branch_ids=[branch_id]),
            await made("/v1/members", subject=f"nurse-{card}", role="doctor"),
            await made(
                "/v1/patients",
                name=name,
                date_of_birth="1980-02-03",
                phone=phone,
                identifiers=[{"system": "card", "value": card}],
                consent={"method": "verbal"},
            ),
            name,
            phone,
            card,
        )

    return fill


@pytest.fixture
async def clinic(fill_clinic: FillClinic) -> Clinic:
    return await fill_clinic()


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the OpenAPI document and what its route declares."""

    id: str
    method: str
    path: str
    path_parameters: tuple[str, ...]
    has_body: bool
    rights: Rights | None
    document: dict[str, Any]


@pytest.fixture
def operations(parts: Polyclinic) -> list[Operation]:
    """Every operation of the API."""
    app = create_litestar(parts)
    handlers = {
        handler.operation_id: handler
        for route in app.routes
        for handler in getattr(route, "route_handlers", [])
        if isinstance(handler, HTTPRouteHandler)
    }
    return [
        Operation(
            document["operationId"],
            method,
            path,
            tuple(p["name"] for p in document.get("parameters", []) if p["in"] == "path"),
            "requestBody" in document,
            handlers[document["operationId"]].opt.get("rights"),
            document,
        )
        for path, methods in app.openapi_schema.to_schema()["paths"].items()
        for method, document in methods.items()
    ]


def is_problem(answer: httpx.Response, status: int, code: str | None = None) -> bool:
    """Whether the answer is a whole problem document of this status (RFC 9457)."""
    body = answer.json()
    return (
        answer.status_code == status
        and answer.headers["content-type"] == "application/problem+json"
        and body["status"] == status
        and body["request_id"] == answer.headers["x-request-id"]
        and body["type"] == f"/problems/{body['code']}"
        and code in (None, body["code"])
    )


async def pages(
    client: httpx.AsyncClient, path: str, headers: Headers, **query: str
) -> AsyncIterator[httpx.Response]:
    """Every page of a list, in order."""
    while True:
        answer = await client.get(path, headers=headers, params=query)
        yield answer
        cursor = answer.json().get("next_cursor")
        if cursor is None:
            return
        query["cursor"] = cursor


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of one more API process over the same databases, as these settings make it."""
    parts = Polyclinic(settings)
    app = create_http(parts)
    async with parts.running():
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client
