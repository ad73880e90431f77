"""What a caller sends and gets of a patient."""

from datetime import date
from typing import Annotated, Literal
from uuid import UUID

import asyncpg
import msgspec
from msgspec import UNSET, Meta, UnsetType

from polyclinic.identity.contacts import EMAIL, IDENTIFIER, PHONE, binding
from polyclinic.identity.key_store import KeyStore

Name = Annotated[
    str,
    Meta(
        min_length=1, max_length=200, pattern=r"\S", description="As it is written, in any script."
    ),
]
ShortText = Annotated[str, Meta(min_length=1, max_length=200)]
Sex = Literal["female", "male", "other", "unknown"]
BloodType = Literal["A+", "A-", "B+", "B-", "AB+", "AB-", "O+", "O-"]
PhoneText = Annotated[str, Meta(min_length=1, max_length=64)]
EmailText = Annotated[str, Meta(min_length=3, max_length=254, pattern=r"^\S+@\S+$")]
TextList = Annotated[list[ShortText], Meta(max_length=100)]


class Insurance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One insurance cover."""

    provider: ShortText
    policy_number: ShortText
    valid_until: date | None = None


class Identifier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number that a system gave the patient: a record number, a passport."""

    system: ShortText
    value: ShortText


Insurances = Annotated[list[Insurance], Meta(max_length=20)]


class PatientView(msgspec.Struct, frozen=True, kw_only=True):
    """A patient as the organization may see it.

    Without the patient's consent `id`, `person_id`, `name` and `profile_shared` are all there is.
    """

    id: UUID
    person_id: UUID
    name: str
    profile_shared: bool
    date_of_birth: str | None | UnsetType = UNSET
    sex: Sex | None | UnsetType = UNSET
    phone: str | None | UnsetType = UNSET
    phone_is_valid: bool | None | UnsetType = UNSET
    email: str | None | UnsetType = UNSET
    blood_type: BloodType | None | UnsetType = UNSET
    allergies: list[str] | UnsetType = UNSET
    chronic_conditions: list[str] | UnsetType = UNSET
    emergency_contact_name: str | None | UnsetType = UNSET
    insurance_entries: list[Insurance] | UnsetType = UNSET
    identifiers: list[Identifier] | UnsetType = UNSET


class PatientItem(msgspec.Struct, frozen=True, kw_only=True):
    """A patient in a list; the last two only under consent."""

    id: UUID
    person_id: UUID
    name: str
    profile_shared: bool
    date_of_birth: date | None | UnsetType = UNSET
    sex: Sex | None | UnsetType = UNSET


class _Shared(msgspec.Struct, frozen=True, kw_only=True):
    """A shared view on its way out: the database's JSON goes through unread."""

    id: UUID
    person_id: UUID
    name: str
    profile_shared: bool
    date_of_birth: str | None
    sex: str | None
    phone: str | None
    phone_is_valid: bool | None
    email: str | None
    blood_type: str | None
    allergies: msgspec.Raw
    chronic_conditions: msgspec.Raw
    emergency_contact_name: str | None
    insurance_entries: msgspec.Raw
    identifiers: list[Identifier]


class _Named(msgspec.Struct, frozen=True):
    id: UUID
    person_id: UUID
    name: str
    profile_shared: bool


_encode = msgspec.json.Encoder().encode


def encoded_view(row: asyncpg.Record, keys: KeyStore) -> bytes:
    """A row of `patient_read` as the JSON of a `PatientView`."""
    (
        patient_id, person_id, name, is_shared, date_of_birth, sex, phone, phone_is_valid, email,
        blood_type, allergies, chronic, emergency, insurance, systems, values,
    ) = row  # fmt: skip
    if not is_shared:
        return _encode(_Named(patient_id, person_id, name, profile_shared=False))
    return _encode(
        _Shared(
            id=patient_id,
            person_id=person_id,
            name=name,
            profile_shared=True,
            date_of_birth=date_of_birth,
            sex=sex,
            phone=_opened(keys, phone, person_id, PHONE),
            phone_is_valid=phone_is_valid,
            email=_opened(keys, email, person_id, EMAIL),
            blood_type=blood_type,
            allergies=msgspec.Raw(allergies.encode()),
            chronic_conditions=msgspec.Raw(chronic.encode()),
            emergency_contact_name=emergency,
            insurance_entries=msgspec.Raw(insurance.encode()),
            identifiers=_identifiers(keys, patient_id, systems, values),
        )
    )


def _opened(keys: KeyStore, sealed: bytes | None, person_id: UUID, field: str) -> str | None:
    if sealed is None:
        return None
    return keys.open(sealed, bound_to=binding(person_id, field))


def _identifiers(
    keys: KeyStore, patient_id: UUID, systems: list[str] | None, values: list[bytes] | None
) -> list[Identifier]:
    if not systems or not values:
        return []
    bound_to = binding(patient_id, IDENTIFIER)
    return [
        Identifier(system, keys.open(value, bound_to=bound_to))
        for system, value in zip(systems, values, strict=True)
    ]
