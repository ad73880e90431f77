"""Files in, resources out, each with its line."""

import json
from pathlib import Path

import pytest

from polyclinic.integration.fhir import reading
from polyclinic.integration.fhir.mapping import Site
from polyclinic.integration.fhir.preparing import Refused, prepare
from polyclinic.integration.fhir.reading import Found, PassedOver, PathUnknown, files_of, read_file
from polyclinic.integration.fhir.report import Outcome


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_folders_are_searched_in_order_of_name_and_each_file_is_read_once(tmp_path: Path) -> None:
    names = ["b/2.ndjson", "a.json", "b/1.JSON", "README.md", "c/d/e.ndjson"]
    files = [write(tmp_path / name, "") for name in names]
    expected = [tmp_path / name for name in ("a.json", "b/1.JSON", "b/2.ndjson", "c/d/e.ndjson")]
    assert files_of([tmp_path, files[1]]) == expected


@pytest.mark.parametrize("name", ["absent", "absent.json", "README.md"])
def test_a_path_that_names_nothing_to_import_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path / "README.md", "")
    with pytest.raises(PathUnknown):
        files_of([tmp_path / name])


def test_lines_of_ndjson_are_counted_with_the_empty_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ndjson", b'\xef\xbb\xbf{"a":1}\r\n\n  \n{"b":2}')
    found = [item for item in read_file(path) if isinstance(item, Found)]
    assert [(item.place.line, item.body) for item in found] == [(1, b'{"a":1}'), (4, b'{"b":2}')]
    assert found[-1].bytes_read == path.stat().st_size


def test_a_line_without_end_is_passed_over_and_the_next_one_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LINE_LIMIT_MIB", 1)
    path = write(tmp_path / "a.ndjson", b"x" * 3_000_000 + b"\n{}\n")
    long, short = read_file(path)
    assert isinstance(long, PassedOver)
    assert (long.place.line, long.reason) == (1, "the line is longer than 1 MiB")
    assert isinstance(short, Found)
    assert short.place.line == 2


def test_entries_of_a_bundle_know_their_lines(tmp_path: Path) -> None:
    entries = [
        {"fullUrl": "urn:uuid:1", "resource": {"a": 1}, "request": {"method": "POST"}},
        {"fullUrl": "urn:uuid:2", "resource": {"a": 1}},
        {"resource": {"b": 1}, "request": {"method": "DELETE"}},
        {"response": {"status": "201"}},
        "no entry",
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    path = write(tmp_path / "b.json", json.dumps(bundle, indent=1))
    items = list(read_file(path))
    lines = path.read_text().splitlines()
    found = [item for item in items if isinstance(item, Found)]
    assert [lines[(item.place.line or 0) - 1] for item in found] == ['   "resource": {'] * 2
    assert [item.place.line for item in found] == [7, 16]
    passed = [item for item in items if isinstance(item, PassedOver)]
    assert [item.outcome for item in passed] == [
        Outcome.SKIPPED,
        Outcome.SKIPPED,
        Outcome.REJECTED,
    ]


def test_a_bundle_that_is_no_json_is_reported_with_line_and_column(tmp_path: Path) -> None:
    text = '{\n  "resourceType": "Bundle",\n  "text": "né", oops\n}'
    (item,) = read_file(write(tmp_path / "b.json", text))
    assert isinstance(item, PassedOver)
    assert (item.place.line, item.place.column) == (3, 17)
    assert text.splitlines()[2][16:] == "oops"


def test_a_bundle_cut_short_is_reported_at_its_end(tmp_path: Path) -> None:
    (item,) = read_file(write(tmp_path / "b.json", '{"resourceType": "Bundle",\n"entry": [\n'))
    assert isinstance(item, PassedOver)
    assert (item.place.line, item.place.column) == (2, 11)


def test_a_line_that_is_no_json_is_reported_with_line_and_column(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ndjson", '{"resourceType":"Goal"}\n{"resourceType":Goal}\n')
    second = [prepare(item, Site("ES", "Europe/Madrid")) for item in read_file(path)][1]
    assert isinstance(second, Refused)
    assert (second.place.line, second.place.column) == (2, 17)


@pytest.mark.parametrize("kind", ["history", "transaction-response", None])
def test_a_bundle_that_carries_no_records_is_rejected(tmp_path: Path, kind: str | None) -> None:
    path = write(tmp_path / "b.json", json.dumps({"resourceType": "Bundle", "type": kind}))
    (item,) = read_file(path)
    assert isinstance(item, PassedOver)
    assert item.outcome is Outcome.REJECTED


def test_a_bundle_over_the_limit_is_rejected_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BUNDLE_LIMIT_MIB", 0)
    (item,) = read_file(write(tmp_path / "b.json", "{}"))
    assert isinstance(item, PassedOver)
    assert "larger than 0 MiB" in item.reason


def test_one_resource_in_a_json_file_is_read_as_it_stands(tmp_path: Path) -> None:
    (item,) = read_file(write(tmp_path / "o.json", '{"resourceType": "Organization", "type": []}'))
    assert isinstance(item, Found)


def test_a_file_that_vanishes_is_reported_and_not_raised(tmp_path: Path) -> None:
    (item,) = read_file(tmp_path / "gone.ndjson")
    assert isinstance(item, PassedOver)
    assert item.reason == "cannot be read: No such file or directory"
