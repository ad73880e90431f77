"""`polyclinic token`: a development access token; `polyclinic superadmin add`."""

import asyncio
from typing import Annotated
from uuid import UUID

import psycopg
import typer

from polyclinic.app import Polyclinic
from polyclinic.cli.options import AsJson, DataDir, settings_for
from polyclinic.cli.output import print_json
from polyclinic.core.errors import Invalid
from polyclinic.core.ids import OrganizationId, new_id
from polyclinic.databases import Databases
from polyclinic.organizations import member
from polyclinic.organizations.branch import require_branches
from polyclinic.organizations.errors import MemberExists
from polyclinic.organizations.member import AddMember, MemberRole
from polyclinic.settings import Settings
from polyclinic.tenancy.context import NO_ONE, OrganizationContext, Role
from polyclinic.tenancy.door import Intent
from polyclinic.tenancy.signin import DevIssuer

superadmins = typer.Typer(no_args_is_help=True)
LIFETIME_H = 12
MEMBER_ROLES: dict[Role, MemberRole] = {
    Role.ADMIN: "admin",
    Role.DOCTOR: "doctor",
    Role.RECEPTIONIST: "receptionist",
    Role.CASHIER: "cashier",
    Role.PATIENT: "patient",
}


def token(
    role: Annotated[Role, typer.Option(help="The role to act in.")],
    organization: Annotated[
        UUID | None, typer.Option(help="The organization to act for; superadmins need none.")
    ] = None,
    branch: Annotated[
        list[UUID] | None, typer.Option(help="Limit to this branch; may be repeated.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="Who signs in [default: dev-ROLE].", show_default=False)
    ] = None,
    hours: Annotated[int, typer.Option(min=1, max=24 * 365, help="Lifetime.")] = LIFETIME_H,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Print a development access token. Refused where a real issuer is configured."""
    settings = settings_for(data_dir)
    issuer = DevIssuer.open(settings.data_dir, settings.oidc_issuer)
    if organization is None and role is not Role.SUPERADMIN:
        raise Invalid(f"--organization is needed for the role {role}", field="organization")
    branches = sorted(branch or [])
    who = subject or "-".join(["dev", role, *(str(b)[-6:] for b in branches)])
    grant(settings, who, role, organization, branches)
    text = issuer.token(subject=who, organization=organization, lifetime_s=hours * 3600)
    if as_json:
        print_json({"token": text, "subject": who, "role": role, "organization": organization})
    else:
        print(text)


@superadmins.command("add")
def add_superadmin(
    subject: Annotated[str, typer.Argument(help="The user's id at the identity provider.")],
    data_dir: DataDir = None,
) -> None:
    """Let a user create organizations. Written with the owner's rights, from here alone."""
    settings = settings_for(data_dir)
    parts = Polyclinic(settings)
    make_superadmin(settings, subject, issuer=parts.issuer)
    print(f"{subject} is a superadmin")


def grant(
    settings: Settings, subject: str, role: Role, organization: UUID | None, branches: list[UUID]
) -> None:
    """Make the development user what the token says. Repeating is harmless."""
    if role is Role.SUPERADMIN:
        make_superadmin(settings, subject, issuer=DevIssuer.issuer)
    elif organization is not None:
        asyncio.run(add_member(settings, subject, role, OrganizationId(organization), branches))


def make_superadmin(settings: Settings, subject: str, *, issuer: str) -> None:
    """Repeating is harmless."""
    with psycopg.connect(Databases(settings).admin("control")) as connection:
        connection.execute("SET ROLE polyclinic_owner")
        connection.execute(
            "INSERT INTO users (id, issuer, subject, is_superadmin) VALUES (%s, %s, %s, true) "
            "ON CONFLICT (issuer, subject) DO UPDATE SET is_superadmin = true",
            [new_id(), issuer, subject],
        )
        connection.execute("SELECT pg_notify('membership_changed', '')")


async def add_member(
    settings: Settings,
    subject: str,
    role: Role,
    organization_id: OrganizationId,
    branches: list[UUID],
) -> None:
    context = OrganizationContext(organization_id, NO_ONE, Role.SUPERADMIN, "command-line")
    async with Polyclinic(settings).open() as parts:
        async with parts.door.transaction(context, Intent.READ) as transaction:
            await require_branches(transaction, branches)
        command = AddMember(subject, MEMBER_ROLES[role], branches or None)
        try:
            async with parts.door.control_transaction(context, Intent.WRITE) as transaction:
                await member.add(transaction, command, issuer=DevIssuer.issuer)
        except MemberExists:
            pass
