"""Whatever the OpenAPI document allows, and what it does not: no fault, and answers of its shape.

Requests are generated from the document, by the same seed every time, and sent to a real server.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, settings as examples
from schemathesis.checks import CheckContext, not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance

from polyclinic.api.application import create_http
from polyclinic.app import Polyclinic
from polyclinic.cli import token as tokens
from polyclinic.core.ids import OrganizationId, new_id
from polyclinic.organizations.organization import CreateOrganization
from polyclinic.organizations import organization as organizations
from polyclinic.settings import Settings
from polyclinic.tenancy.context import NO_ONE, Role
from polyclinic.tenancy.signin import DevIssuer

EXAMPLES = 25


@dataclass(frozen=True, slots=True)
class Served:
    """A running server, an admin's token for it, and ids that it knows."""

    address: str
    headers: dict[str, str]
    known: dict[str, str]


@pytest.fixture(scope="module")
def served(settings: Settings) -> Iterator[Served]:
    server = uvicorn.Server(
        uvicorn.Config(
            create_http(Polyclinic(settings)), port=0, log_config=None, access_log=False
        )  # fmt: skip
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield _with_clinic(settings, f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join()
