"""FHIR files into a real installation: repeated, cut off, at once, and with bad input between."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polyclinic.app import Polyclinic
from polyclinic.integration.fhir import (
    ImportOptions,
    ImportReport,
    Progress,
    import_fhir,
    importing,
    writing,
)
from polyclinic.integration.fhir.report import Outcome
from polyclinic.integration.fhir.writing import OTHER_NAME, POSSIBLE_MATCH
from polyclinic.patients.registration import Registered, register
from polyclinic.tenancy.context import OrganizationContext
from polyclinic.tenancy.door import Intent
from tests.conftest import FoundOrganization, acting, shared_data

Json = dict[str, Any]


class Importing:
    """Imports into one organization, and what is in its tables then."""

    def __init__(self, parts: Polyclinic, context: OrganizationContext, folder: Path) -> None:
        self.parts = parts
        self.context = context
        self.folder = folder

    def write(self, *resources: Json | str, name: str = "a.ndjson") -> Path:
        path = self.folder / name
        lines = [item if isinstance(item, str) else json.dumps(item) for item in resources]
        path.write_text("\n".join(lines))
        return path

    async def run(
        self,
        *paths: Path,
        is_consented: bool = False,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> ImportReport:
        return await import_fhir(
            self.parts.door,
            self.parts.keys,
            self.context,
            paths or [self.folder],
            options=ImportOptions(is_consented=is_consented),
            on_progress=on_progress,
        )

    async def count(self, table: str) -> int:
        return len(await self.rows(f"SELECT FROM {table} WHERE organization_id = $1"))

    async def rows(self, query: str) -> list[Any]:
        async with self.parts.door.transaction(self.context, Intent.READ) as transaction:
            return await transaction.fetch(query, self.context.organization_id)


@pytest.fixture
def importing_here(parts: Polyclinic, context: OrganizationContext, tmp_path: Path) -> Importing:
    return Importing(parts, context, tmp_path)


def patient(reference: str, name: str = "Ana Gil", **elements: Any) -> Json:
    return {"resourceType": "Patient", "id": reference, "name": [{"text": name}], **elements}


def born(reference: str, name: str, day: str, phone: str) -> Json:
    telecom = [{"system": "phone", "value": phone}]
    return patient(reference, name, birthDate=day, telecom=telecom)


@pytest.mark.parametrize(
    ("data", "resources", "patients", "branches", "practitioners"),
    [("synthea-r4", 2161, 16, 20, 102), ("synthea-bulk-r4", 3098, 120, 271, 271)],
)
async def test_real_exports_load_whole_and_a_second_time_all_is_already_there(
    importing_here: Importing,
    data: str,
    resources: int,
    patients: int,
    branches: int,
    practitioners: int,
) -> None:
    here = importing_here
    first = await here.run(shared_data(data))
    assert (first.total.rejected, first.total.skipped) == (0, 0)
    assert first.total.imported == patients + branches + practitioners
    assert first.total.imported + first.total.already_there + first.total.kept == resources
    counts = [await here.count(t) for t in ("patients", "branches", "practitioners")]
    assert counts == [patients, branches, practitioners]
    assert await here.count("kept_resources") == first.total.kept
    second = await here.run(shared_data(data))
    assert second.total.already_there == resources
    assert (second.total.imported, second.total.kept, second.problems) == (0, 0, [])
    assert [await here.count(t) for t in ("patients", "branches", "practitioners")] == counts


async def test_bad_lines_and_bundles_are_reported_and_the_rest_comes_in(
    importing_here: Importing,
) -> None:
    here = importing_here
    here.write(
        patient("1"),
        '{"resourceType":"Patient",',
        '{"resourceType":"Observation","id":"big","valueDecimal":1e999999}',
        '{"resourceType":"Observation","id":"nul","text":"\\u0000"}',
        '{"resourceType":"Observation","id":"fine"}',
        patient("2"),
    )
    here.write("{\n]", name="b.json")
    report = await here.run()
    assert (report.total.imported, report.total.kept, report.total.rejected) == (2, 1, 4)
    places = {(Path(p.file).name, p.line, p.column, p.reference) for p in report.problems}
    assert places == {
        ("a.ndjson", 2, 27, None),
        ("a.ndjson", 3, None, "Observation/big"),
        ("a.ndjson", 4, None, "Observation/nul"),
        ("b.json", 2, 1, None),
    }
    assert {p.outcome for p in report.problems} == {Outcome.REJECTED}
    again = await here.run()
    assert (again.total.already_there, again.total.rejected) == (3, 4)


async def test_an_import_that_was_cut_off_goes_on_where_it_stopped(
    importing_here: Importing, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = importing_here
    monkeypatch.setattr(importing, "_BATCH_RECORDS", 3)
    here.write(*[patient(str(number)) for number in range(10)])

    def cut(_: Progress) -> None:
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await here.run(on_progress=cut)
    assert await here.count("patients") == 3
    report = await here.run()
    assert (report.total.already_there, report.total.imported) == (3, 7)
    assert await here.count("patients") == 10


async def test_a_cancelled_import_leaves_no_half_of_a_batch(
    importing_here: Importing, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = importing_here
    here.write(*[patient(str(number)) for number in range(100)])
    registered: list[str] = []
    is_half_done = asyncio.Event()

    async def register_half(*args: Any) -> Registered:
        if len(registered) == 50:
            is_half_done.set()
            await asyncio.Event().wait()
        registered.append(args[-1].name)
        return await register(*args)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "register", register_half)
        running = asyncio.create_task(here.run())
        await is_half_done.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert await here.count("patients") == await here.count("imported_records") == 0
    assert (await here.run()).total.imported == 100


async def test_two_imports_at_once_bring_each_record_in_once(
    importing_here: Importing, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = importing_here
    monkeypatch.setattr(importing, "_BATCH_RECORDS", 5)
    observations = [{"resourceType": "Observation", "id": str(n)} for n in range(40)]
    here.write(*[patient(str(number)) for number in range(40)], *observations)
    reports = await asyncio.gather(here.run(), here.run(), here.run())
    assert sum(report.total.imported for report in reports) == 40
    assert sum(report.total.kept for report in reports) == 40
    assert sum(report.total.already_there for report in reports) == 160
    assert await here.count("patients") == 40


async def test_a_phone_that_is_not_valid_never_makes_two_people_one(
    importing_here: Importing,
) -> None:
    here = importing_here
    here.write(*[born(n, "Ana Gil", "1980-05-05", "555-907-9875") for n in "12"])
    report = await here.run(is_consented=True)
    assert (report.total.imported, report.total.flagged) == (2, 2)
    rows = await here.rows(
        "SELECT phone_is_valid, phone_fingerprint FROM patient_persons p JOIN patients l"
        " ON l.person_id = p.id WHERE l.organization_id = $1"
    )
    assert [tuple(row) for row in rows] == [(False, None)] * 2


async def test_a_person_who_is_here_already_is_linked_and_an_unclear_one_is_new_and_flagged(
    importing_here: Importing, new_phone: Callable[[], str]
) -> None:
    here, phone = importing_here, new_phone()
    here.write(
        born("1", "Ana Gil Soto", "1980-05-05", phone),
        born("same", "Ana Gil Soto", "1980-05-05", phone),
        born("twin", "Eva Gil Soto", "1980-05-05", phone),
    )
    report = await here.run()
    assert (report.total.imported, report.total.already_there) == (2, 1)
    assert [(p.reference, p.reason) for p in report.problems] == [("Patient/twin", POSSIBLE_MATCH)]
    assert await here.count("imported_records") == 3
    assert (await here.run()).total.already_there == 3


async def test_a_person_of_another_clinic_is_linked_and_stays_one_person(
    importing_here: Importing,
    found_organization: FoundOrganization,
    new_phone: Callable[[], str],
) -> None:
    here = importing_here
    there = Importing(here.parts, acting(await found_organization()), here.folder)
    here.write(born("1", "Ana Gil Soto", "1980-05-05", new_phone()))
    assert (await here.run()).total.imported == 1
    assert (await there.run()).total.imported == 1
    query = "SELECT person_id, profile_shared FROM patients WHERE organization_id = $1"
    assert await here.rows(query) == await there.rows(query)


async def test_consent_is_recorded_only_where_it_was_asked_for(importing_here: Importing) -> None:
    here = importing_here
    await here.run(here.write(patient("1"), name="1.ndjson"))
    await here.run(here.write(patient("2"), name="2.ndjson"), is_consented=True)
    assert await here.count("consents") == 1


async def test_another_person_under_a_known_id_is_flagged(importing_here: Importing) -> None:
    here = importing_here
    here.write(patient("1", "Ana Gil"))
    await here.run()
    here.write(patient("1", "Ludwig Obermaier"))
    report = await here.run()
    assert (report.total.already_there, report.total.flagged) == (1, 1)
    assert [problem.reason for problem in report.problems] == [OTHER_NAME]


async def test_an_organization_and_its_location_are_one_branch_in_either_order(
    importing_here: Importing,
) -> None:
    here = importing_here
    places: list[Json] = [
        {"resourceType": "Location", "id": "1", "name": "North", "address": {"text": "A 1"}},
        {"resourceType": "Organization", "id": "1", "name": "North", "address": [{"text": "A 1"}]},
        {"resourceType": "Organization", "id": "2", "name": "South"},
        {"resourceType": "Location", "id": "2", "name": "South", "address": {"text": "B 2"}},
        {"resourceType": "Location", "id": "3", "name": "South", "address": {"text": "C 3"}},
    ]
    for number, place in enumerate(places):
        await here.run(here.write(place, name=f"{number}.ndjson"))
    assert await here.count("branches") == 3
    assert await here.count("imported_records") == 5


async def test_one_licence_under_two_names_is_two_practitioners(importing_here: Importing) -> None:
    here = importing_here
    npi = [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "60"}]
    here.write(
        *[
            {"resourceType": "Practitioner", "id": n, "name": [{"text": t}], "identifier": npi}
            for n, t in (("1", "Noe Dibbert"), ("2", "Noe Dibbert"), ("3", "Mariam Gleason"))
        ]
    )
    report = await here.run()
    assert (report.total.imported, report.total.already_there) == (2, 1)


async def test_every_written_batch_leaves_an_audit_record_without_a_persons_data(
    importing_here: Importing,
) -> None:
    here = importing_here
    here.write(patient("1"), {"resourceType": "Goal", "id": "1"})
    await here.run()
    await here.run()
    rows = await here.rows(
        "SELECT details::text FROM audit_log WHERE organization_id = $1 AND action = 'import.fhir'"
    )
    assert [json.loads(row["details"]) for row in rows] == [{"records": 1, "kept": 1}]
