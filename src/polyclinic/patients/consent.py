"""Consent: whether an organization sees the portable profile; who gave it, when and how."""

from typing import Annotated, Literal

import asyncpg
import msgspec
from msgspec import Meta

from polyclinic.core.ids import PatientId
from polyclinic.db.sql_files import statement
from polyclinic.patients.errors import PatientNotFound
from polyclinic.tenancy.context import OrganizationContext
from polyclinic.tenancy.door import Door, Intent, OrganizationTransaction


class GiveConsent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the patient consented; who wrote it down and when are recorded by themselves."""

    method: Literal["written", "verbal", "electronic"] = "written"
    note: Annotated[str, Meta(max_length=500)] | None = None

    async def apply(self, transaction: OrganizationTransaction, patient_id: PatientId) -> None:
        """Share the profile in the caller's transaction. Raises `PatientNotFound`."""
        await share_profile(transaction, patient_id, method=self.method, note=self.note)


async def share_profile(
    transaction: OrganizationTransaction, patient_id: PatientId, *, method: str, note: str | None
) -> None:
    """Share the profile with this organization; an earlier consent that is in force stays."""
    is_here = await transaction.fetchval(
        "SELECT give_consent($1, $2, $3)", patient_id, method, note
    )
    if not is_here:
        raise PatientNotFound(patient_id)
    await transaction.audit("consent.given", "patient", patient_id, details={"method": method})


async def give(
    door: Door, context: OrganizationContext, patient_id: PatientId, consent: GiveConsent
) -> asyncpg.Record:
    """Share the profile and return the patient's row of `queries/view.sql`. Repeating is harmless."""
    async with door.transaction(context, Intent.WRITE) as transaction:
        await consent.apply(transaction, patient_id)
        row = await transaction.fetchrow(
            statement("polyclinic.patients", "view"), context.organization_id, patient_id
        )
    assert row is not None
    return row


async def withdraw(door: Door, context: OrganizationContext, patient_id: PatientId) -> None:
    """Stop sharing, at once and for every read. Repeating is harmless. Raises `PatientNotFound`."""
    async with door.transaction(context, Intent.WRITE) as transaction:
        if not await transaction.fetchval("SELECT withdraw_consent($1)", patient_id):
            raise PatientNotFound(patient_id)
        await transaction.audit("consent.withdrawn", "patient", patient_id)
