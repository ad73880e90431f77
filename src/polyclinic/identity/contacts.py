"""A person's phone and e-mail as they are stored: sealed, and found by keyed fingerprint."""

from dataclasses import dataclass
from uuid import UUID

from polyclinic.core.contacts import Phone, normal_email, parse_phone
from polyclinic.core.keys import KeyRing

PHONE = "phone"
EMAIL = "email"
IDENTIFIER = "identifier"


def binding(row_id: UUID, field: str) -> bytes:
    """What ties a sealed value to its row and field, so that it opens nowhere else."""
    return row_id.bytes + field.encode()


@dataclass(frozen=True, slots=True)
class Contacts:
    """Phone and e-mail as given, and what of them can identify somebody."""

    phone: Phone | None
    email: str | None
    email_identity: str | None

    @classmethod
    def parse(cls, *, phone: str | None, email: str | None, country: str) -> "Contacts":
        """Never fails on text: what is not valid is kept as written and identifies nobody."""
        return cls(
            phone=None if not phone else parse_phone(phone, country=country),
            email=email or None,
            email_identity=None if not email else normal_email(email),
        )

    def phone_prints(self, ring: KeyRing) -> list[bytes]:
        """The phone's fingerprint under every key, active first; empty for no identity."""
        if self.phone is None or self.phone.e164 is None:
            return []
        return ring.fingerprints(self.phone.e164, purpose=PHONE)

    def email_prints(self, ring: KeyRing) -> list[bytes]:
        if self.email_identity is None:
            return []
        return ring.fingerprints(self.email_identity, purpose=EMAIL)

    def sealed(self, person_id: UUID, ring: KeyRing) -> "SealedContacts":
        """The columns of a `patient_persons` row."""
        phone = None if self.phone is None else (self.phone.e164 or self.phone.written)
        prints = self.phone_prints(ring), self.email_prints(ring)
        return SealedContacts(
            phone_sealed=_sealed(ring, phone, binding(person_id, PHONE)),
            phone_is_valid=None if self.phone is None else self.phone.is_valid,
            phone_fingerprint=prints[0][0] if prints[0] else None,
            email_sealed=_sealed(ring, self.email, binding(person_id, EMAIL)),
            email_fingerprint=prints[1][0] if prints[1] else None,
            key_id=ring.active_id,
        )


@dataclass(frozen=True, slots=True)
class SealedContacts:
    phone_sealed: bytes | None
    phone_is_valid: bool | None
    phone_fingerprint: bytes | None
    email_sealed: bytes | None
    email_fingerprint: bytes | None
    key_id: str


def normal_identifier(value: str) -> str:
    """An identifier without case, spaces and dashes: how people type it does not matter."""
    return "".join(character for character in value.upper() if character.isalnum())


def _sealed(ring: KeyRing, text: str | None, bound_to: bytes) -> bytes | None:
    return None if text is None else ring.seal(text, bound_to=bound_to)
