"""Whatever the OpenAPI document allows, and what it does not: no fault, and answers of its shape.

Requests are generated from the document, the same ones every time, and sent to a real server.
"""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import response_schema_conformance

from polyclinic.api.application import create_http
from polyclinic.app import Polyclinic
from polyclinic.cli import token as tokens
from polyclinic.core.ids import OrganizationId, new_id
from polyclinic.organizations import organization as organizations
from polyclinic.organizations.organization import CreateOrganization
from polyclinic.settings import Settings
from polyclinic.tenancy.context import NO_ONE, Role
from polyclinic.tenancy.signin import DevIssuer

EXAMPLES = 40
PROBLEM = {"type", "title", "status", "code", "detail", "request_id"}


@dataclass(frozen=True, slots=True)
class Served:
    """A running server, an admin's headers for it, and ids that it knows."""

    address: str
    headers: dict[str, str]
    known: dict[str, str]


@pytest.fixture(scope="module")
def served(settings: Settings) -> Iterator[Served]:
    """The API on a port of its own, with a clinic in it."""
    app: Any = create_http(Polyclinic(settings))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield asyncio.run(_with_clinic(settings, f"http://127.0.0.1:{port}"))
    finally:
        server.should_exit = True
        thread.join()


async def _with_clinic(settings: Settings, address: str) -> Served:
    organization_id = OrganizationId(new_id())
    command = CreateOrganization("Clinic", "ES", "Europe/Madrid")
    async with Polyclinic(settings).open() as parts:
        await organizations.create(
            parts.door, command, organization_id, user_id=NO_ONE, request_id="test"
        )
    await tokens.add_member(settings, "fuzzer", Role.ADMIN, organization_id, [])
    issuer = DevIssuer.open(settings.data_dir, None)
    token = issuer.token(subject="fuzzer", organization=organization_id, lifetime_s=3600)
    headers = {"Authorization": f"Bearer {token}"}
    known = {"organization_id": str(organization_id)}
    bodies: dict[str, dict[str, Any]] = {
        "patient": {"name": "A", "phone": "+34600999999", "consent": {"method": "verbal"}},
        "practitioner": {"name": "B"},
        "member": {"subject": "somebody", "role": "doctor"},
    }
    async with httpx.AsyncClient(base_url=address, headers=headers, trust_env=False) as client:
        for name, body in bodies.items():
            made = await client.post(f"/v1/{name}s", json=body)
            known[f"{name}_id"] = made.json()["id"]
    return Served(address, headers, known)


@pytest.fixture
def document(served: Served) -> Any:
    """The document as the server tells it; of two ids in a path one is of something that exists."""
    config = SchemathesisConfig(
        seed=270_000,
        projects=ProjectsConfig(
            default=ProjectConfig(
                headers=served.headers,
                generation=GenerationConfig(deterministic=True, database="none"),
            )
        ),
    )
    loaded = schemathesis.openapi.from_url(f"{served.address}/openapi.json", config=config)

    @loaded.hook
    def map_path_parameters(_: Any, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
        return parameters and {
            name: served.known[name] if _is_even(value) and name in served.known else value
            for name, value in parameters.items()
        }

    return loaded


def _is_even(value: object) -> bool:
    try:
        return UUID(str(value)).int % 2 == 0
    except ValueError:
        return False


def errors_are_problems(_: Any, response: Any, case: Any) -> None:
    """Every error is a problem document (RFC 9457) with a code and the request's id."""
    if response.status_code < 400:
        return
    assert response.headers["content-type"] == ["application/problem+json"], case
    body = response.json()
    assert body.keys() >= PROBLEM
    assert body["status"] == response.status_code
    assert [body["request_id"]] == response.headers["x-request-id"]


@pytest.mark.parametrize("mode", GenerationMode)
def test_no_request_brings_a_fault_or_an_answer_of_another_shape(
    document: Any, served: Served, mode: GenerationMode
) -> None:
    failures: list[str] = []
    checks = [not_a_server_error, response_schema_conformance, errors_are_problems]
    for found in document.get_all_operations():
        operation = found.ok()

        @examples(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def conforms(case: Any) -> None:
            case.validate_response(case.call(headers=served.headers), checks=checks)

        try:
            conforms()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE  # nothing can be wrong with no parameters
        except (Exception, BaseExceptionGroup) as failure:
            failures.append(f"{operation.label}: {failure}")
    assert failures == [], "\n\n".join(failures)
