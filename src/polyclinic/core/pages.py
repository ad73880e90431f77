"""Cursors: where the next page of a list begins, as an opaque text that only this module reads.

A cursor holds the sort key of the last row shown, so a page deep in a list costs what the first
does and no row is skipped or shown twice while others come and go. It carries the list's name: one
list's cursor is refused by another.
"""

import base64
from typing import TypeVar

import msgspec

from polyclinic.core.errors import Invalid

T = TypeVar("T", bound=msgspec.Struct)
DEFAULT_LIMIT = 20
MAX_LIMIT = 100


def write_cursor(position: msgspec.Struct) -> str:
    """The text for `next_cursor`; URL-safe."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def read_cursor(text: str, kind: type[T]) -> T:
    """The position that `write_cursor` wrote for this kind of list. Raises `Invalid`."""
    try:
        raw = base64.b64decode(
            text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True
        )
        return msgspec.json.decode(raw, type=kind)
    except (ValueError, msgspec.DecodeError):
        raise Invalid("not a cursor of this list", field="cursor") from None
