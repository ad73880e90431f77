"""Changing a patient's portable profile, under consent and against the version that was read."""

import hashlib
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from msgspec import UNSET, UnsetType

from polyclinic.core.ids import PatientId
from polyclinic.core.keys import KeyRing
from polyclinic.core.names import search_tokens, sound_key
from polyclinic.db.sql_files import statement
from polyclinic.identity.contacts import Contacts
from polyclinic.identity.discovery import KeyRingStale, discover, require_current_ring
from polyclinic.identity.key_store import KeyStore
from polyclinic.patients.errors import ConsentRequired, PatientChanged, PatientNotFound
from polyclinic.patients.profile import (
    BloodType,
    EmailText,
    Insurances,
    Name,
    PatientView,
    PhoneText,
    Sex,
    ShortText,
    TextList,
    encoded_view,
)
from polyclinic.patients.registration import PACKAGE, require_possible_birth
from polyclinic.tenancy.context import OrganizationContext
from polyclinic.tenancy.door import Door, Intent, OrganizationTransaction


class ChangePatient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields to change; one left out stays, null clears (RFC 7396)."""

    name: Name | UnsetType = UNSET
    date_of_birth: date | None | UnsetType = UNSET
    sex: Sex | None | UnsetType = UNSET
    phone: PhoneText | None | UnsetType = UNSET
    email: EmailText | None | UnsetType = UNSET
    blood_type: BloodType | None | UnsetType = UNSET
    allergies: TextList | UnsetType = UNSET
    chronic_conditions: TextList | UnsetType = UNSET
    emergency_contact_name: ShortText | None | UnsetType = UNSET
    insurance_entries: Insurances | UnsetType = UNSET

    def changed_fields(self) -> dict[str, Any]:
        return {
            field: value
            for field in self.__struct_fields__
            if (value := getattr(self, field)) is not UNSET
        }


def entity_tag(body: bytes) -> str:
    """The strong ETag of a representation (RFC 9110, 8.8.3): equal bodies, equal tags."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


async def change(
    door: Door,
    keys: KeyStore,
    context: OrganizationContext,
    patient_id: PatientId,
    command: ChangePatient,
    *,
    if_match: str,
) -> bytes:
    """The changed patient's JSON.

    Raises `PatientNotFound`, `ConsentRequired`, `PatientChanged` (the patient's entity tag is no
    longer `if_match`; '*' matches any), `Invalid`. A new name reaches every organization's list.
    """
    require_possible_birth(None if command.date_of_birth is UNSET else command.date_of_birth)
    try:
        return await _change_once(door, keys, context, patient_id, command, if_match)
    except KeyRingStale as stale:
        keys.follow(stale.active_id)
        return await _change_once(door, keys, context, patient_id, command, if_match)


async def _change_once(
    door: Door,
    keys: KeyStore,
    context: OrganizationContext,
    patient_id: PatientId,
    command: ChangePatient,
    if_match: str,
) -> bytes:
    async with door.transaction(context, Intent.WRITE) as transaction:
        await require_current_ring(transaction, keys.ring)
        before = encoded_view(await _locked_view(transaction, patient_id), keys)
        if not {"*", entity_tag(before)} & {part.strip() for part in if_match.split(",")}:
            raise PatientChanged("somebody changed the patient meanwhile: read it again")
        fields = command.changed_fields()
        await _store(transaction, keys.ring, msgspec.json.decode(before, type=PatientView), fields)
        await transaction.audit(
            "patient.change", "patient", patient_id, details={"fields": sorted(fields)}
        )
        return encoded_view(await _view(transaction, patient_id), keys)


async def _locked_view(
    transaction: OrganizationTransaction, patient_id: PatientId
) -> asyncpg.Record:
    """The patient's row, its person locked until COMMIT."""
    organization_id = transaction.context.organization_id
    person_id = await transaction.fetchval(
        statement(PACKAGE, "lock_person"), organization_id, patient_id
    )
    row = await _view(transaction, patient_id)
    if person_id is None or not row["profile_shared"]:
        raise ConsentRequired("the patient does not share the profile with this organization")
    return row


async def _view(transaction: OrganizationTransaction, patient_id: PatientId) -> asyncpg.Record:
    row = await transaction.fetchrow(
        statement(PACKAGE, "view"), transaction.context.organization_id, patient_id
    )
    if row is None:
        raise PatientNotFound(patient_id)
    return row


async def _store(
    transaction: OrganizationTransaction, ring: KeyRing, before: PatientView, fields: dict[str, Any]
) -> None:
    def value(field: str) -> Any:
        return fields[field] if field in fields else getattr(before, field)

    country = await transaction.fetchval(
        statement(PACKAGE, "organization_country"), transaction.context.organization_id
    )
    contacts = Contacts.parse(phone=value("phone"), email=value("email"), country=country)
    if "phone" in fields or "email" in fields:
        # Waits for registrations with these contacts.
        await discover(transaction, contacts, ring, date_of_birth=None)
    sealed = contacts.sealed(before.person_id, ring)
    await transaction.execute(
        statement(PACKAGE, "update_person"),
        before.person_id, value("name"), _date(value("date_of_birth")), value("sex"),
        sealed.phone_sealed, sealed.phone_is_valid, sealed.phone_fingerprint,
        sealed.email_sealed, sealed.email_fingerprint, sealed.key_id,
        value("blood_type"), _json(value("allergies")), _json(value("chronic_conditions")),
        value("emergency_contact_name"), _json(value("insurance_entries")),
    )  # fmt: skip
    await transaction.execute(
        "SELECT record_change_elsewhere($1, $2)", before.person_id, sorted(fields)
    )
    if "name" in fields and fields["name"] != before.name:
        await _carry_name(transaction, before.person_id, fields["name"])


async def _carry_name(transaction: OrganizationTransaction, person_id: UUID, name: str) -> None:
    tokens = search_tokens(name)
    await transaction.execute(
        "SELECT carry_person_name($1, $2, $3, $4)",
        person_id, name, list(tokens), [sound_key(token) for token in tokens],
    )  # fmt: skip


def _date(value: date | str | None) -> date | None:
    return date.fromisoformat(value) if isinstance(value, str) else value


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
