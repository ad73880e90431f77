"""From FHIR R4 resources to commands: what is taken over, what is left out, what is said of it."""

import json
from datetime import date
from typing import Any

import pytest

from polyclinic.integration.fhir.mapping import Site
from polyclinic.integration.fhir.preparing import Keep, Prepared, Refused, prepare
from polyclinic.integration.fhir.reading import Found
from polyclinic.integration.fhir.report import Outcome, Place
from polyclinic.organizations.branch import CreateBranch
from polyclinic.organizations.practitioner import CreatePractitioner, License
from polyclinic.patients.profile import Identifier
from polyclinic.patients.registration import RegisterPatient

SITE = Site(country="ES", timezone="Europe/Madrid")


def outcome(resource: dict[str, Any] | bytes) -> Prepared | Refused:
    body = resource if isinstance(resource, bytes) else json.dumps(resource).encode()
    return prepare(Found(Place("a.ndjson", 7), body, len(body)), SITE)


def prepared(resource: dict[str, Any]) -> Prepared:
    result = outcome(resource)
    assert isinstance(result, Prepared), result
    return result


def refused(resource: dict[str, Any] | bytes) -> Refused:
    result = outcome(resource)
    assert isinstance(result, Refused), result
    return result


def patient(**elements: Any) -> tuple[RegisterPatient, tuple[str, ...]]:
    elements = {"name": [{"text": "Ana Gil"}], **elements}
    result = prepared({"resourceType": "Patient", "id": "1", **elements})
    assert isinstance(result.action, RegisterPatient)
    return result.action, result.remarks


def branch(resource: dict[str, Any]) -> CreateBranch:
    action = prepared({"id": "1", **resource}).action
    assert isinstance(action, CreateBranch)
    return action


def test_a_whole_patient_is_taken_over_without_remarks() -> None:
    command, remarks = patient(
        name=[
            {"use": "maiden", "family": "Otero", "given": ["Donya787"]},
            {"use": "official", "family": "Yundt842", "given": ["Donya787", None, "Mikaela660"]},
        ],
        telecom=[
            {"system": "phone", "value": "915 55 00 11", "use": "home"},
            {"system": "phone", "value": "612345678", "use": "mobile"},
            {"system": "email", "value": "donya@example.org"},
        ],
        gender="female",
        birthDate="1949-11-14",
        identifier=[
            {"system": "urn:ssn", "value": "999-81-5679"},
            {"type": {"coding": [{"code": "MR"}]}, "value": 4711},
        ],
        contact=[
            {"name": {"text": "A Neighbour"}},
            {"relationship": [{"coding": [{"code": "C"}]}], "name": {"text": "Her Son"}},
        ],
    )
    assert remarks == ()
    assert command == RegisterPatient(
        name="Donya787 Mikaela660 Yundt842",
        date_of_birth=date(1949, 11, 14),
        sex="female",
        phone="612345678",
        email="donya@example.org",
        emergency_contact_name="Her Son",
        identifiers=[Identifier("urn:ssn", "999-81-5679"), Identifier("MR", "4711")],
    )


@pytest.mark.parametrize(
    ("phones", "chosen"),
    [
        (["555-907-9875"], "555-907-9875"),
        (["none", "+34 612 345 678"], "+34 612 345 678"),
        ([6123], "6123"),
    ],
)
def test_a_phone_that_is_not_valid_is_kept_as_written_and_flagged(
    phones: list[str | int], chosen: str
) -> None:
    command, remarks = patient(telecom=[{"system": "phone", "value": phone} for phone in phones])
    assert command.phone == chosen
    flag = ("telecom: the phone is no valid number, kept as written",)
    assert remarks == (() if chosen.startswith("+34") else flag)


@pytest.mark.parametrize(
    ("elements", "remark"),
    [
        ({"birthDate": "1949"}, "birthDate: a year or month alone, left out"),
        ({"birthDate": "1949-11"}, "birthDate: a year or month alone, left out"),
        ({"birthDate": "1949-02-30"}, "birthDate: no possible date, left out"),
        ({"birthDate": "2999-01-01"}, "birthDate: no possible date, left out"),
        ({"birthDate": 1949}, "birthDate: not the form of FHIR R4, left out"),
        ({"gender": "f"}, "gender: no code of administrative-gender, left out"),
        ({"telecom": {"system": "phone"}}, "telecom: not the form of FHIR R4, left out"),
        ({"telecom": ["612"]}, "telecom: not the form of FHIR R4, left out"),
        (
            {"telecom": [{"system": "email", "value": "at home"}]},
            "telecom: the e-mail is not valid, kept as written",
        ),
        ({"name": [{"text": "x" * 300}]}, "name: cut to 200 characters"),
        (
            {"identifier": [{"system": "s", "value": "9" * 201}]},
            "identifier: longer than 200 characters, left out",
        ),
        (
            {"identifier": [{"system": "s", "value": str(n)} for n in range(21)]},
            "identifier: more than 20, the others left out",
        ),
    ],
)
def test_a_field_that_cannot_be_taken_over_never_costs_the_person(
    elements: dict[str, Any], remark: str
) -> None:
    command, remarks = patient(**elements)
    assert remarks == (remark,)
    assert 0 < len(command.name) <= 200
    assert len(command.identifiers) <= 20


@pytest.mark.parametrize("name", [None, [], [{}], [{"text": " "}], [{"given": [None]}], "Ana"])
def test_a_patient_without_a_name_is_rejected(name: Any) -> None:
    assert refused({"resourceType": "Patient", "id": "1", "name": name}).reason == "name: missing"


def test_a_practitioner_keeps_the_licences() -> None:
    result = prepared(
        {
            "resourceType": "Practitioner",
            "id": "p",
            "name": [{"family": "Stark", "given": ["Antonia"], "prefix": ["Dr."]}],
            "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "60"}],
        }
    )
    licenses = [License("http://hl7.org/fhir/sid/us-npi", "60")]
    assert result.action == CreatePractitioner("Antonia Stark", identifiers=licenses)


def test_an_organization_and_a_location_become_branches_in_the_clinics_time_zone() -> None:
    address = {
        "line": ["30 Locust St"],
        "city": "Northampton",
        "state": "MA",
        "postalCode": "01060",
    }
    expected = CreateBranch("Cooley", "Europe/Madrid", "30 Locust St, Northampton, MA 01060")
    of_organization = {"resourceType": "Organization", "name": "Cooley", "address": [address]}
    of_location = {"resourceType": "Location", "name": "Cooley", "address": address}
    assert branch(of_organization) == expected
    assert branch(of_location) == expected


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Organization", "type": [{"coding": [{"code": "ins"}]}], "name": "Payer"},
        {"resourceType": "Location", "mode": "kind", "description": "Patient's Home"},
        {"resourceType": "Location", "physicalType": {"coding": [{"code": "ro"}]}, "name": "12"},
        {"resourceType": "Observation", "status": "final"},
    ],
)
def test_what_is_no_place_of_care_or_has_no_part_yet_is_kept_whole(
    resource: dict[str, Any],
) -> None:
    resource = {"id": "1", **resource}
    assert prepared(resource).action == Keep(json.dumps(resource))


def test_a_record_without_an_id_is_the_same_when_it_comes_again() -> None:
    body = b'{"resourceType":"Goal"}'
    in_bundle = Found(Place("b.json", 1), body, 1, full_url="urn:uuid:54c4-8934")
    by_address = Found(Place("b.json", 1), body, 1, full_url="https://h.example/fhir/Goal/9")
    references = [
        getattr(prepare(found, SITE), "reference", None) for found in (in_bundle, by_address)
    ]
    assert references == ["Goal/54c4-8934", "Goal/9"]
    first, second = outcome(body), outcome(body)
    assert first == second
    assert (first.reference or "").startswith("Goal/sha256:")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"resourceType":"Goal","id":"1",}', "not JSON: trailing comma in object"),
        (b'{"resourceType":"Goal","id":"1"', "not JSON: Input data was truncated"),
        (b'{"resourceType":"Goal","text":"\xff"}', "not UTF-8"),
        (b'{"a":' + b"[" * 200_000, "not JSON that can be read: nested too deeply"),
        (b"[1]", "not the form of a FHIR resource: Expected `object`, got `array`"),
        (b'{"id":"1"}', "not the form of a FHIR resource: Object missing required field"),
        (b'{"resourceType":"<script>"}', "resourceType: no type of FHIR"),
        (b'{"resourceType":"Goal","id":"a b"}', "id: no id of FHIR"),
        (b'{"resourceType":"Goal","a":"x\\u0000"}', "holds a NUL character"),
        (b'{"resourceType":"Bundle"}', "a Bundle inside"),
        (b'{"resourceType":"Goal","a":"' + b"x" * 1024 * 1024 + b'"}', "larger than 1 MiB"),
    ],
)
def test_what_cannot_be_read_or_stored_is_rejected_with_its_reason(
    body: bytes, reason: str
) -> None:
    result = refused(body)
    assert result.reason.startswith(reason)
    assert (result.outcome, result.place.line) == (Outcome.REJECTED, 7)


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert isinstance(outcome(b'{"resourceType":"Goal","a":"x\\\\u0000"}'), Prepared)
