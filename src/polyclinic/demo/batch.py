"""A batch of invented people as the columns that are written: sealed, fingerprinted, tokenised."""

from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from uuid import UUID

import msgspec

from polyclinic.core.ids import new_id
from polyclinic.core.keys import KeyRing
from polyclinic.core.names import search_tokens, sound_key
from polyclinic.demo.people import Person
from polyclinic.identity.contacts import EMAIL, IDENTIFIER, PHONE, binding, normal_identifier

_encode = msgspec.json.Encoder().encode
_sound = lru_cache(maxsize=50_000)(sound_key)


@dataclass(frozen=True, slots=True)
class Batch:
    """Columns of equal length, a place for each person; `words` and `sounds` are the vocabulary."""

    key_id: str
    person_ids: list[UUID]
    patient_ids: list[UUID]
    names: list[str]
    births: list[date]
    sexes: list[str]
    phones: list[bytes | None]
    phone_prints: list[bytes | None]
    emails: list[bytes | None]
    email_prints: list[bytes | None]
    blood_types: list[str | None]
    allergies: list[str]
    conditions: list[str]
    emergency_contacts: list[str | None]
    insurances: list[str]
    numbers: list[bytes]
    number_prints: list[bytes]
    all_tokens: list[str]
    words: list[str]
    sounds: list[str]


def marker(people: list[Person]) -> str:
    """The same for the same people: how a load knows a batch again."""
    return "people/" + blake2b(_encode(people), digest_size=16).hexdigest()


def prepare(people: list[Person], ring: KeyRing) -> Batch:
    """Everything that PostgreSQL need not do. Pure but for random ids and nonces."""
    person_ids = _increasing_ids(people)
    patient_ids = _increasing_ids(people)
    tokens = [search_tokens(person.name) for person in people]
    words = sorted({word for found in tokens for word in found})
    return Batch(
        key_id=ring.active_id,
        person_ids=person_ids,
        patient_ids=patient_ids,
        names=[person.name for person in people],
        births=[person.date_of_birth for person in people],
        sexes=[person.sex for person in people],
        phones=_sealed(ring, [person.phone for person in people], person_ids, PHONE),
        phone_prints=_prints(ring, [person.phone for person in people], PHONE),
        emails=_sealed(ring, [person.email for person in people], person_ids, EMAIL),
        email_prints=_prints(ring, [person.email for person in people], EMAIL),
        blood_types=[person.blood_type for person in people],
        allergies=[_json(person.allergies) for person in people],
        conditions=[_json(person.chronic_conditions) for person in people],
        emergency_contacts=[person.emergency_contact_name for person in people],
        insurances=[_json(person.insurance_entries) for person in people],
        numbers=[
            ring.seal(person.record_number, bound_to=binding(patient_id, IDENTIFIER))
            for person, patient_id in zip(people, patient_ids, strict=True)
        ],
        number_prints=[
            ring.fingerprint(normal_identifier(person.record_number), purpose=IDENTIFIER)
            for person in people
        ],
        all_tokens=[f" {' '.join(found)} " for found in tokens],
        words=words,
        sounds=[_sound(word) for word in words],
    )


def _increasing_ids(people: list[Person]) -> list[UUID]:
    """Ids of the time of registration, in order also within one millisecond: indexes grow at
    their end."""
    return sorted(new_id(at_ms=person.registered_at_ms) for person in people)


def _sealed(
    ring: KeyRing, values: list[str | None], row_ids: list[UUID], field: str
) -> list[bytes | None]:
    return [
        None if value is None else ring.seal(value, bound_to=binding(row_id, field))
        for value, row_id in zip(values, row_ids, strict=True)
    ]


def _prints(ring: KeyRing, values: list[str | None], purpose: str) -> list[bytes | None]:
    return [None if value is None else ring.fingerprint(value, purpose=purpose) for value in values]


def _json(value: Any) -> str:
    return _encode(value).decode() if value else "[]"
