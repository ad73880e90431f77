"""From FHIR R4 resources to this system's commands. Pure.

A person is worth more than a field: what cannot be taken over as it stands is left out or cut, the
resource comes in all the same and a remark names the field. Rejected is only what has no name.
A phone or e-mail that is not valid is kept as written.

Not taken over, for want of a place: a patient's address, death, languages, photographs, further
phones; a practitioner's qualifications and contacts.
"""

import re
from dataclasses import dataclass, field
from datetime import date
from typing import Final, TypeVar, cast, get_args

import msgspec

from polyclinic.core.contacts import normal_email, parse_phone
from polyclinic.core.errors import Invalid, Refusal
from polyclinic.integration.fhir import elements
from polyclinic.organizations.branch import CreateBranch
from polyclinic.organizations.practitioner import CreatePractitioner, License
from polyclinic.patients.profile import Identifier, Sex
from polyclinic.patients.registration import RegisterPatient, require_possible_birth

_NAME_LENGTH: Final = 200
_NUMBER_LENGTH: Final = 200
_NUMBERS: Final = 20
_ADDRESS_LENGTH: Final = 500
_CONTACT_LENGTH: Final = 1000
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_PART_OF_A_DATE: Final = re.compile(r"\d{4}(-\d{2})?")
# HL7 organization-type: payers, businesses, teams and the like are no places of care.
_NO_PLACES: Final = {"bus", "cg", "crs", "edu", "govt", "ins", "pay", "reli", "team"}
# HL7 location-physical-type: a site or building is a branch, a ward, bed or vehicle a part of one.
_SITES: Final = {"si", "bu"}

T = TypeVar("T")


class Unmappable(Refusal):
    """The resource lacks what makes it one; the message names the field."""

    code = "unmappable"


@dataclass(frozen=True, slots=True)
class Site:
    """The clinic that records come to: how its phones are read, where its places are."""

    country: str
    timezone: str


@dataclass(slots=True)
class Remarks:
    """What a human should look at; each names a field, none holds its value."""

    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        if text not in self.texts:
            self.texts.append(text)

    def items(self, raw: msgspec.Raw, kind: type[T], name: str) -> list[T]:
        """The items of a list that can be read."""
        found = []
        for item in self._one(raw, list[msgspec.Raw], name) or []:
            value = self._one(item, kind, name)
            if value is not None:
                found.append(value)
        return found

    def value(self, raw: msgspec.Raw, kind: type[T], name: str) -> T | None:
        """The value, None where there is none that can be read."""
        return self._one(raw, kind, name)

    def cut(self, text: str, length: int, name: str) -> str:
        if len(text) > length:
            self.add(f"{name}: cut to {length} characters")
        return text[:length].strip()

    def _one(self, raw: msgspec.Raw, kind: type[T], name: str) -> T | None:
        if not bytes(raw) or bytes(raw) == b"null":
            return None
        try:
            return msgspec.json.decode(raw, type=kind)
        except msgspec.ValidationError:
            self.add(f"{name}: not the form of FHIR R4, left out")
            return None


def patient(source: elements.Patient, site: Site, remarks: Remarks) -> RegisterPatient:
    """The registration. Raises `Unmappable` where there is no name."""
    contacts = remarks.items(source.telecom, elements.ContactPoint, "telecom")
    return RegisterPatient(
        name=_name(source.name, remarks),
        date_of_birth=_birth(source.birth_date, remarks),
        sex=_sex(source.gender, remarks),
        phone=_phone(contacts, site, remarks),
        email=_email(contacts, remarks),
        emergency_contact_name=_emergency_contact(source.contact, remarks),
        identifiers=[
            Identifier(system, value) for system, value in _numbers(source.identifier, remarks)
        ],
    )


def practitioner(source: elements.Practitioner, remarks: Remarks) -> CreatePractitioner:
    """The practitioner, of no branch in particular. Raises `Unmappable` where there is no name."""
    numbers = _numbers(source.identifier, remarks)
    return CreatePractitioner(
        name=_name(source.name, remarks),
        identifiers=[License(system, value) for system, value in numbers],
    )


def organization(
    source: elements.Organization, site: Site, remarks: Remarks
) -> CreateBranch | None:
    """The branch; None for a payer, business or team. Raises `Unmappable` without a name."""
    kinds = remarks.items(source.type, elements.CodeableConcept, "type")
    if any(_NO_PLACES.intersection(kind.codes()) for kind in kinds):
        return None
    addresses = remarks.items(source.address, elements.Address, "address")
    return _branch(source.name, addresses[0] if addresses else None, site, remarks)


def location(source: elements.Location, site: Site, remarks: Remarks) -> CreateBranch | None:
    """The branch; None for a ward, bed, vehicle, or for a kind of place such as "the patient's
    home". Raises `Unmappable` without a name."""
    if remarks.value(source.mode, str, "mode") == "kind":
        return None
    physical = remarks.value(source.physical_type, elements.CodeableConcept, "physicalType")
    if physical and physical.codes() and not _SITES.intersection(physical.codes()):
        return None
    address = remarks.value(source.address, elements.Address, "address")
    return _branch(source.name, address, site, remarks)


def _branch(
    name: msgspec.Raw, address: elements.Address | None, site: Site, remarks: Remarks
) -> CreateBranch:
    title = " ".join((remarks.value(name, str, "name") or "").split())
    if not title:
        raise Unmappable("name: missing")
    written = remarks.cut(address.written() if address else "", _ADDRESS_LENGTH, "address")
    return CreateBranch(
        name=remarks.cut(title, _NAME_LENGTH, "name"),
        timezone=site.timezone,
        address=written or None,
    )


def _name(raw: msgspec.Raw, remarks: Remarks) -> str:
    """The official name, else the usual one, else the first."""
    names = [name for name in remarks.items(raw, elements.HumanName, "name") if name.written()]
    if not names:
        raise Unmappable("name: missing")
    order = ["official", "usual"]
    chosen = min(names, key=lambda name: order.index(name.use) if name.use in order else 2)
    return remarks.cut(chosen.written(), _NAME_LENGTH, "name")


def _birth(raw: msgspec.Raw, remarks: Remarks) -> date | None:
    text = (remarks.value(raw, str, "birthDate") or "").strip()
    if not text:
        return None
    if _PART_OF_A_DATE.fullmatch(text):
        remarks.add("birthDate: a year or month alone, left out")
        return None
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
        require_possible_birth(day)
    except (ValueError, Invalid):
        day = None
    if day is None:
        remarks.add("birthDate: no possible date, left out")
    return day


def _sex(raw: msgspec.Raw, remarks: Remarks) -> Sex | None:
    code = remarks.value(raw, str, "gender")
    if code is None:
        return None
    if code not in get_args(Sex):
        remarks.add("gender: no code of administrative-gender, left out")
        return None
    return cast("Sex", code)


def _phone(contacts: list[elements.ContactPoint], site: Site, remarks: Remarks) -> str | None:
    """A valid number before one that is not, then mobile, home, the others, then by rank."""
    order = ["mobile", "home"]
    ranked = sorted(
        (
            not parse_phone(written, country=site.country).is_valid,
            order.index(contact.use) if contact.use in order else 2,
            contact.rank or 1_000,
            place,
            written,
        )
        for place, contact in enumerate(contacts)
        if (written := _written(contact, {"phone", "sms"}, remarks))
    )
    if not ranked:
        return None
    is_invalid, *_, written = ranked[0]
    if is_invalid:
        remarks.add("telecom: the phone is no valid number, kept as written")
    return written


def _email(contacts: list[elements.ContactPoint], remarks: Remarks) -> str | None:
    emails = [written for contact in contacts if (written := _written(contact, {"email"}, remarks))]
    valid = [email for email in emails if normal_email(email)]
    if emails and not valid:
        remarks.add("telecom: the e-mail is not valid, kept as written")
    return next(iter(valid or emails), None)


def _written(contact: elements.ContactPoint, systems: set[str], remarks: Remarks) -> str | None:
    if contact.system not in systems or contact.value is None or contact.use == "old":
        return None
    text = str(contact.value).strip()
    if len(text) > _CONTACT_LENGTH:
        remarks.add(f"telecom: longer than {_CONTACT_LENGTH} characters, left out")
        return None
    return text or None


def _emergency_contact(raw: msgspec.Raw, remarks: Remarks) -> str | None:
    """The contact marked for emergencies, else the first that has a name."""
    contacts = [
        contact
        for contact in remarks.items(raw, elements.PatientContact, "contact")
        if contact.name and contact.name.written()
    ]
    chosen = min(contacts, key=lambda contact: not contact.is_emergency, default=None)
    if chosen is None or chosen.name is None:
        return None
    return remarks.cut(chosen.name.written(), _NAME_LENGTH, "contact")


def _numbers(raw: msgspec.Raw, remarks: Remarks) -> list[tuple[str, str]]:
    found: dict[tuple[str, str], None] = {}
    for identifier in remarks.items(raw, elements.Identifier, "identifier"):
        value = "" if identifier.value is None else str(identifier.value).strip()
        system = identifier.named_system()
        if max(len(value), len(system)) > _NUMBER_LENGTH:
            remarks.add(f"identifier: longer than {_NUMBER_LENGTH} characters, left out")
        elif value:
            found[system, value] = None
    if len(found) > _NUMBERS:
        remarks.add(f"identifier: more than {_NUMBERS}, the others left out")
    return list(found)[:_NUMBERS]
