"""A resource's bytes become what is to be done with it, before any database is touched.

A record's identity is 'Type/id' of the system it comes from. Business identifiers are weaker than
they look: Synthea numbers the practitioners of each run from NPI 0, so that one number is another
doctor in the next export. They identify only together with the name (writing.py).
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

import msgspec

from polyclinic.integration.fhir import elements, mapping
from polyclinic.integration.fhir.json_errors import UNREADABLE_JSON, position_of, reason_of
from polyclinic.integration.fhir.mapping import Remarks, Site, Unmappable
from polyclinic.integration.fhir.reading import Found, PassedOver
from polyclinic.integration.fhir.report import UNREADABLE, Outcome, Place
from polyclinic.organizations.branch import CreateBranch
from polyclinic.organizations.practitioner import CreatePractitioner
from polyclinic.patients.registration import RegisterPatient

KEPT_LIMIT_BYTES: Final = 1024 * 1024
_TYPE: Final = re.compile(r"[A-Z][A-Za-z]{1,63}")
# Wider than R4's id, which many systems do not keep to; nothing that a report could not print.
_ID: Final = re.compile(r"[A-Za-z0-9\-._~:|/]{1,256}")
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

_decode_head = msgspec.json.Decoder(elements.Head).decode
_decode_patient = msgspec.json.Decoder(elements.Patient).decode
_decode_practitioner = msgspec.json.Decoder(elements.Practitioner).decode
_decode_organization = msgspec.json.Decoder(elements.Organization).decode
_decode_location = msgspec.json.Decoder(elements.Location).decode


@dataclass(frozen=True, slots=True)
class Keep:
    """Put the resource aside, whole."""

    body: str


Action = RegisterPatient | CreatePractitioner | CreateBranch | Keep


@dataclass(frozen=True, slots=True)
class Prepared:
    """A resource, and what is to be done with it."""

    place: Place
    resource_type: str
    reference: str
    action: Action
    remarks: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A resource with which nothing is to be done."""

    place: Place
    resource_type: str
    reference: str | None
    outcome: Outcome
    reason: str


def prepare(found: Found | PassedOver, site: Site) -> Prepared | Refused:
    """What is to be done with a resource; never raises for what it holds."""
    if isinstance(found, PassedOver):
        return Refused(found.place, UNREADABLE, None, found.outcome, found.reason)
    try:
        text = found.body.decode()
        head = _decode_head(found.body)
    except UNREADABLE_JSON as error:
        return _unreadable(found, error)
    if not _TYPE.fullmatch(head.resource_type):
        return _refused(found, UNREADABLE, None, "resourceType: no type of FHIR")
    return _prepared(found, text, head, site)


def _prepared(found: Found, text: str, head: elements.Head, site: Site) -> Prepared | Refused:
    kind, reference = head.resource_type, reference_of(head, found)
    if reference is None:
        return _refused(found, kind, None, "id: no id of FHIR")
    if kind == "OperationOutcome":
        return Refused(found.place, kind, reference, Outcome.SKIPPED, "a message, not a record")
    remarks = Remarks()
    try:
        _require_storable(found.body, kind)
        action = _action(found.body, kind, site, remarks) or _kept(found.body, text)
    except Unmappable as error:
        return _refused(found, kind, reference, str(error))
    except UNREADABLE_JSON as error:
        return _refused(found, kind, reference, reason_of(error))
    return Prepared(found.place, kind, reference, action, tuple(remarks.texts), len(found.body))


def _require_storable(body: bytes, kind: str) -> None:
    if kind == "Bundle":
        raise Unmappable("a Bundle inside; give it as a file of its own")
    if b"\\u0000" in body and _NUL.search(body):
        raise Unmappable("holds a NUL character, which no text can")


def _kept(body: bytes, text: str) -> Keep:
    if len(body) > KEPT_LIMIT_BYTES:
        raise Unmappable("larger than 1 MiB")
    return Keep(text)


def _action(body: bytes, kind: str, site: Site, remarks: Remarks) -> Action | None:
    """The command that brings the resource in, None for one that is kept aside."""
    match kind:
        case "Patient":
            return mapping.patient(_decode_patient(body), site, remarks)
        case "Practitioner":
            return mapping.practitioner(_decode_practitioner(body), remarks)
        case "Organization":
            return mapping.organization(_decode_organization(body), site, remarks)
        case "Location":
            return mapping.location(_decode_location(body), site, remarks)
        case _:
            return None


def reference_of(head: elements.Head, found: Found) -> str | None:
    """'Type/id'; without an id what the fullUrl ends in, without both a hash of the content, so
    that the same record is the same again. None for an id that cannot be one."""
    if head.id is not None:
        local = str(head.id)
    elif found.full_url:
        local = re.split(r"urn:uuid:|urn:oid:|/", found.full_url)[-1]
    else:
        local = "sha256:" + hashlib.sha256(found.body).hexdigest()
    return f"{head.resource_type}/{local}" if _ID.fullmatch(local) else None


def _unreadable(found: Found, error: Exception) -> Refused:
    line, column = position_of(error, found.body)
    first = found.place.line or 1
    is_column_known = line > 1 or not found.is_inside_bundle
    place = Place(found.place.file, first + line - 1, column if is_column_known else None)
    return Refused(place, UNREADABLE, None, Outcome.REJECTED, reason_of(error))


def _refused(found: Found, kind: str, reference: str | None, reason: str) -> Refused:
    return Refused(found.place, kind, reference, Outcome.REJECTED, reason)
