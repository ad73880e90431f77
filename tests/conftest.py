"""A real installation per test process; every test founds organizations of its own in it.

Organizations are the isolation that the product promises, so tests lean on it: no test empties a
table, and none may see another's rows. What crosses organizations (a phone) is made unique.
"""

import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from polyclinic import installation as installing
from polyclinic.api.application import create_http
from polyclinic.app import Polyclinic
from polyclinic.cli import token as tokens
from polyclinic.core.ids import OrganizationId, UserId, new_id
from polyclinic.db.embedded import EmbeddedServer, ServerSettings
from polyclinic.organizations import organization as organizations
from polyclinic.organizations.organization import CreateOrganization, Organization
from polyclinic.settings import Settings
from polyclinic.tenancy.context import NO_ONE, OrganizationContext, Role
from polyclinic.tenancy.signin import DevIssuer

SHARED_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def shared_data(name: str) -> Path:
    """A folder of real input beside the project; the test that needs it skips where it is absent."""
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"needs ../shared/data/{name}")
    return path


@pytest.fixture(autouse=True, scope="session")
def _own_environment() -> None:
    """No setting of the machine reaches a test."""
    for name in list(os.environ):
        if name.startswith("POLYCLINIC_") or name in ("DATABASE_URL", "CONTROL_DATABASE_URL"):
            del os.environ[name]


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The settings of a running installation: embedded server, both databases migrated."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("instance"))
    server = EmbeddedServer(
        settings.data_dir / "postgres", ServerSettings(shared_buffers_mib=64, max_connections=200)
    )
    server.start()
    try:
        installing.prepare(settings)
        yield settings
    finally:
        server.remove()


@pytest.fixture
async def parts(settings: Settings) -> AsyncIterator[Polyclinic]:
    """The joined parts, their pools open."""
    async with Polyclinic(settings).open() as parts:
        yield parts


FoundOrganization = Callable[..., Awaitable[Organization]]


@pytest.fixture
def found_organization(parts: Polyclinic) -> FoundOrganization:
    """Founds an organization of the test's own."""

    async def found(
        *, name: str = "Clinic", country: str = "ES", timezone: str = "Europe/Madrid"
    ) -> Organization:
        return await organizations.create(
            parts.door,
            CreateOrganization(name, country, timezone),
            OrganizationId(new_id()),
            user_id=NO_ONE,
            request_id="test",
        )

    return found


@pytest.fixture
async def organization(found_organization: FoundOrganization) -> Organization:
    return await found_organization()


def acting(organization: Organization, role: Role = Role.ADMIN) -> OrganizationContext:
    """A context of somebody in this organization."""
    return OrganizationContext(OrganizationId(organization.id), UserId(new_id()), role, "test")


@pytest.fixture
def context(organization: Organization) -> OrganizationContext:
    """An admin of `organization`."""
    return acting(organization)


_numbers = itertools.count(os.getpid() % 500 * 1000)


@pytest.fixture
def new_phone() -> Callable[[], str]:
    """A valid Spanish mobile number that no other test has."""
    return lambda: f"+346{next(_numbers) % 100_000_000:08d}"


@dataclass
class Api:
    """The HTTP API in this process, and tokens for it."""

    client: httpx.AsyncClient
    settings: Settings

    def token(self, role: Role, organization: Organization | None = None, **more: str) -> str:
        """A development token of a member of this role."""
        subject = more.get("subject", f"{role}-{organization.id if organization else ''}")
        issuer = DevIssuer.open(self.settings.data_dir, None)
        return issuer.token(
            subject=subject,
            organization=None if organization is None else organization.id,
            lifetime_s=3600,
        )

    async def as_role(self, role: Role, organization: Organization | None = None) -> dict[str, str]:
        """The Authorization header of a member of this role, made a member now."""
        subject = f"{role}-{organization.id if organization else ''}"
        if role is Role.SUPERADMIN:
            tokens.make_superadmin(self.settings, subject, issuer=DevIssuer.issuer)
        else:
            assert organization is not None
            await tokens.add_member(
                self.settings, subject, role, OrganizationId(organization.id), []
            )
        return {"Authorization": f"Bearer {self.token(role, organization)}"}


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    """The whole ASGI application, started and stopped with the test."""
    parts = Polyclinic(settings)
    app = create_http(parts)
    async with parts.running():
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield Api(client, settings)
