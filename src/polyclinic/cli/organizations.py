"""`polyclinic organization create|list`."""

import asyncio
from typing import Annotated

import typer

from polyclinic.app import Polyclinic
from polyclinic.cli.options import AsJson, DataDir, settings_for
from polyclinic.cli.output import print_json, print_table
from polyclinic.core.errors import Invalid
from polyclinic.core.ids import OrganizationId, new_id
from polyclinic.organizations import member, organization
from polyclinic.organizations.member import AddMember
from polyclinic.organizations.organization import CreateOrganization, Organization
from polyclinic.settings import Settings
from polyclinic.tenancy.context import NO_ONE, OrganizationContext, Role
from polyclinic.tenancy.door import Intent

app = typer.Typer(no_args_is_help=True)
REQUEST = "command-line"


@app.command("create")
def create(
    name: Annotated[str, typer.Option(help="As people write it.")],
    country: Annotated[str, typer.Option(help="ISO 3166-1 alpha-2, such as ES.")],
    timezone: Annotated[str, typer.Option(help="IANA name, such as Europe/Madrid.")],
    admin: Annotated[
        str | None, typer.Option(help="Subject of its first admin at the identity provider.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Create an organization and print its id."""
    country = country.upper()
    if not (len(country) == 2 and country.isascii() and country.isalpha()):
        raise Invalid("--country takes two letters, such as ES (ISO 3166-1)", field="country")
    if not 1 <= len(name.strip()) <= 200:
        raise Invalid("--name takes 1 to 200 characters", field="name")
    command = CreateOrganization(name, country, timezone)
    made = asyncio.run(_create(settings_for(data_dir), command, admin))
    if as_json:
        print_json(made)
    else:
        print(made.id)


@app.command("list")
def list_organizations(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List every organization."""
    found = asyncio.run(_list(settings_for(data_dir)))
    if as_json:
        print_json(found)
        return
    rows = [(o.id, o.name, o.country, o.timezone, f"{o.created_at:%Y-%m-%d}") for o in found]
    print_table("Organizations", ("id", "name", "country", "time zone", "since"), rows)


async def _create(
    settings: Settings, command: CreateOrganization, admin: str | None
) -> Organization:
    async with Polyclinic(settings).open() as parts:
        organization_id = OrganizationId(new_id())
        made = await organization.create(
            parts.door, command, organization_id, user_id=NO_ONE, request_id=REQUEST
        )
        if admin is not None:
            context = OrganizationContext(organization_id, NO_ONE, Role.SUPERADMIN, REQUEST)
            async with parts.door.control_transaction(context, Intent.WRITE) as transaction:
                await member.add(transaction, AddMember(admin, "admin"), issuer=parts.issuer)
        return made


async def _list(settings: Settings) -> list[Organization]:
    async with Polyclinic(settings).open() as parts:
        found: list[Organization] = []
        cursor: str | None = None
        while True:
            page = await organization.page(parts.control, None, limit=100, cursor=cursor)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found
