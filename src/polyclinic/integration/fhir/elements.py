"""The FHIR R4 elements that are read; what they hold beyond this is passed over.

`value` also takes a number: exports write phones and record numbers so, although R4 says string.
"""

from msgspec import Raw, Struct


class _Element(Struct, frozen=True, rename="camel"):
    pass


class Coding(_Element, frozen=True):
    system: str | None = None
    code: str | None = None


class CodeableConcept(_Element, frozen=True):
    coding: list[Coding] | None = None
    text: str | None = None

    def codes(self) -> list[str]:
        return [coding.code for coding in self.coding or [] if coding.code]


class HumanName(_Element, frozen=True):
    """`given` holds null where a given name has an extension and no value."""

    use: str | None = None
    text: str | None = None
    family: str | None = None
    given: list[str | None] | None = None

    def written(self) -> str:
        """Given names and family name with single spaces, `text` where there is neither."""
        parts = [*(self.given or []), self.family]
        return _joined(" ", parts) or _joined(" ", [self.text])


class ContactPoint(_Element, frozen=True):
    system: str | None = None
    value: str | int | None = None
    use: str | None = None
    rank: int | None = None


class Identifier(_Element, frozen=True):
    type: CodeableConcept | None = None
    system: str | None = None
    value: str | int | None = None

    def named_system(self) -> str:
        """The system, else what kind of number it is."""
        codes = self.type.codes() if self.type else []
        text = self.type.text if self.type else None
        return (self.system or "").strip() or (codes or [(text or "").strip()])[0] or "unknown"


class Address(_Element, frozen=True):
    text: str | None = None
    line: list[str | None] | None = None
    city: str | None = None
    state: str | None = None
    postal_code: str | None = None
    country: str | None = None

    def written(self) -> str:
        """As on one line of an envelope."""
        region = _joined(" ", [self.state, self.postal_code])
        parts = [*(self.line or []), self.city, region, self.country]
        return _joined(" ", [self.text]) or _joined(", ", parts)


class PatientContact(_Element, frozen=True):
    name: HumanName | None = None
    relationship: list[CodeableConcept] | None = None

    @property
    def is_emergency(self) -> bool:
        """HL7 v2 table 0131, code C."""
        return any("C" in concept.codes() for concept in self.relationship or [])


class Patient(_Element, frozen=True):
    """Every element apart: one that cannot be read does not cost the person."""

    name: Raw = Raw()
    telecom: Raw = Raw()
    identifier: Raw = Raw()
    gender: Raw = Raw()
    birth_date: Raw = Raw()
    contact: Raw = Raw()


class Practitioner(_Element, frozen=True):
    name: Raw = Raw()
    identifier: Raw = Raw()


class Organization(_Element, frozen=True):
    name: Raw = Raw()
    type: Raw = Raw()
    address: Raw = Raw()


class Location(_Element, frozen=True):
    name: Raw = Raw()
    mode: Raw = Raw()
    physical_type: Raw = Raw()
    address: Raw = Raw()


class Head(_Element, frozen=True):
    """What every resource begins with."""

    resource_type: str
    id: str | int | None = None


class Request(_Element, frozen=True):
    method: str | None = None


class Search(_Element, frozen=True):
    mode: str | None = None


class Entry(_Element, frozen=True):
    full_url: str | None = None
    resource: Raw = Raw()
    request: Request | None = None
    search: Search | None = None


class Bundle(_Element, frozen=True):
    type: str | None = None
    entry: list[Raw] | None = None


def _joined(separator: str, parts: list[str | None]) -> str:
    return separator.join(" ".join(part.split()) for part in parts if part and part.strip())
