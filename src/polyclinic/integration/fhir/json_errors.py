"""What the decoder says of bad JSON, as a reason and a place."""

import re
from typing import Final

import msgspec

UNREADABLE_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_BYTE: Final = re.compile(r" \(byte (\d+)\)$")


def reason_of(error: Exception) -> str:
    """The decoder's words, which name fields and types and never hold a value."""
    match error:
        case RecursionError():
            return "not JSON that can be read: nested too deeply"
        case UnicodeDecodeError():
            return "not UTF-8"
        case msgspec.ValidationError():
            return f"not the form of a FHIR resource: {error}"
        case _:
            text = str(error).removeprefix("JSON is malformed: ")
            return f"not JSON: {_BYTE.sub('', text)}"


def position_of(error: Exception, data: bytes) -> tuple[int, int | None]:
    """Line and column in `data`, from 1; the first line alone where the error has no position."""
    match error:
        case UnicodeDecodeError():
            offset = error.start
        case msgspec.ValidationError() | RecursionError():
            return 1, None
        case _:
            found = _BYTE.search(str(error))
            # Without a byte the input has ended too early.
            offset = int(found[1]) if found else len(data.rstrip())
    line_start = data.rfind(b"\n", 0, offset) + 1
    column = len(data[line_start:offset].decode("utf-8", "replace")) + 1
    return data.count(b"\n", 0, offset) + 1, column
