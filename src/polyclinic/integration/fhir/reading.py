"""Files in, resources out, each with its line; what cannot be read is told and passed over.

Memory: NDJSON is read line by line, a bundle whole.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from polyclinic.core.errors import Refusal
from polyclinic.integration.fhir.elements import Bundle, Entry, Head
from polyclinic.integration.fhir.json_errors import UNREADABLE_JSON, position_of, reason_of
from polyclinic.integration.fhir.report import Outcome, Place

BUNDLE_LIMIT_MIB: Final = 256
LINE_LIMIT_MIB: Final = 16
_MIB: Final = 1024 * 1024
_SUFFIXES: Final = {".json", ".ndjson"}
_BRINGING_IN: Final = {None, "POST", "PUT"}
# A history repeats resources in older versions; a response carries none.
_BUNDLES: Final = {"transaction", "batch", "collection", "searchset", "document", "message"}
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_decode_bundle = msgspec.json.Decoder(Bundle).decode
_decode_head = msgspec.json.Decoder(Head).decode
_decode_entry = msgspec.json.Decoder(Entry).decode


class PathUnknown(Refusal):
    """A path to import from does not exist, or is neither a folder nor .json nor .ndjson."""

    code = "path-unknown"


@dataclass(frozen=True, slots=True)
class Found:
    """A resource as its bytes; `bytes_read` of its file so far."""

    place: Place
    body: bytes
    bytes_read: int
    full_url: str | None = None
    is_inside_bundle: bool = False


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Something that brings nothing in, and why."""

    place: Place
    outcome: Outcome
    reason: str


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The .json and .ndjson files that the paths name or hold, each once, folders in order of name.
    Raises `PathUnknown`."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(path.rglob("*"))
            found.update((file, None) for file in inside if _is_readable_kind(file))
        elif _is_readable_kind(path):
            found[path] = None
        else:
            raise PathUnknown(f"{path}: no folder and no .json or .ndjson file")
    return list(found)


def _is_readable_kind(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and path.is_file()


def read_file(path: Path) -> Iterator[Found | PassedOver]:
    """The resources of one file, in its order."""
    try:
        with path.open("rb") as file:
            if path.suffix.lower() == ".ndjson":
                yield from _lines(file, str(path))
            else:
                yield from _document(file, str(path))
    except OSError as error:
        reason = f"cannot be read: {error.strerror or type(error).__name__}"
        yield PassedOver(Place(str(path)), Outcome.REJECTED, reason)


def _lines(file: BinaryIO, name: str) -> Iterator[Found | PassedOver]:
    number = 0
    while line := file.readline(LINE_LIMIT_MIB * _MIB):
        number += 1
        place = Place(name, number)
        if len(line) == LINE_LIMIT_MIB * _MIB and not line.endswith(b"\n"):
            _skip_line(file)
            reason = f"the line is longer than {LINE_LIMIT_MIB} MiB"
            yield PassedOver(place, Outcome.REJECTED, reason)
            continue
        body = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
        if body.strip():
            yield Found(place, body.rstrip(b"\r\n"), file.tell())


def _skip_line(file: BinaryIO) -> None:
    while rest := file.readline(_MIB):
        if rest.endswith(b"\n"):
            return


def _document(file: BinaryIO, name: str) -> Iterator[Found | PassedOver]:
    data = file.read(BUNDLE_LIMIT_MIB * _MIB + 1).removeprefix(_BYTE_ORDER_MARK)
    if len(data) > BUNDLE_LIMIT_MIB * _MIB:
        reason = f"the file is larger than {BUNDLE_LIMIT_MIB} MiB; give it as NDJSON"
        yield PassedOver(Place(name), Outcome.REJECTED, reason)
        return
    try:
        # Other resources have a `type` of another form: only a Bundle is read as one.
        bundle = _decode_bundle(data) if _decode_head(data).resource_type == "Bundle" else None
    except UNREADABLE_JSON as error:
        line, column = position_of(error, data)
        yield PassedOver(Place(name, line, column), Outcome.REJECTED, reason_of(error))
        return
    if bundle is None:
        yield Found(Place(name, 1), data, len(data))
    elif bundle.type not in _BUNDLES:
        yield PassedOver(
            Place(name, 1), Outcome.REJECTED, "Bundle.type: holds no records to import"
        )
    else:
        yield from _entries(data, name, bundle.entry or [])


def _entries(data: bytes, name: str, entries: list[msgspec.Raw]) -> Iterator[Found | PassedOver]:
    """Entries in their order, so that each is found where the one before ended."""
    line, end = 1, 0
    for raw in entries:
        entry = bytes(raw)
        start = data.find(entry, end)
        line += data.count(b"\n", end, start)
        yield _opened(entry, Place(name, line), bytes_read=start + len(entry))
        line += entry.count(b"\n")
        end = start + len(entry)


def _opened(raw: bytes, place: Place, *, bytes_read: int) -> Found | PassedOver:
    try:
        entry = _decode_entry(raw)
    except UNREADABLE_JSON as error:
        return PassedOver(place, Outcome.REJECTED, f"Bundle.entry: {reason_of(error)}")
    body = bytes(entry.resource)
    method = entry.request.method if entry.request else None
    if method not in _BRINGING_IN:
        return PassedOver(place, Outcome.SKIPPED, "the entry's request is not POST or PUT")
    if not body or (entry.search and entry.search.mode == "outcome"):
        return PassedOver(place, Outcome.SKIPPED, "the entry holds no record")
    start = Place(place.file, (place.line or 1) + raw.count(b"\n", 0, raw.find(body)))
    return Found(start, body, bytes_read, entry.full_url, is_inside_bundle=True)
