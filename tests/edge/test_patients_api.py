"""Patients over HTTP, as reception and a doctor use them."""

from collections.abc import Callable

import pytest

from polyclinic.organizations.organization import Organization
from polyclinic.tenancy.context import Role
from tests.conftest import Api


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
