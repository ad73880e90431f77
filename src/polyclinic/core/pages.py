"""Cursors: where the next page of a list begins, as an opaque text that only this module reads.

A cursor holds the sort key of the last row shown, so a page deep in a list costs what the first
does and no row is skipped or shown twice while others come and go. It carries the list's name: one
list's cursor is refused by another.
"""

import base64
from typing import Generic, TypeVar

import msgspec

from polyclinic.core.errors import Invalid
from polyclinic.core.keys import KeyRing, SealBroken, UnknownKey

T = TypeVar("T", bound=msgspec.Struct)
Item = TypeVar("Item")
DEFAULT_LIMIT = 20
MAX_LIMIT = 100


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """The shape of every list; `next_cursor` null: the last page."""

    items: list[Item]
    next_cursor: str | None


def write_cursor(position: msgspec.Struct) -> str:
    """The text for `next_cursor`; URL-safe."""
    return _encoded(msgspec.json.encode(position))


def read_cursor(text: str, kind: type[T]) -> T:
    """The position that `write_cursor` wrote for this kind of list. Raises `Invalid`."""
    try:
        return msgspec.json.decode(_decoded(text), type=kind)
    except (ValueError, msgspec.DecodeError):
        raise Invalid("not a cursor of this list", field="cursor") from None


def seal_cursor(position: msgspec.Struct, ring: KeyRing, *, bound_to: bytes) -> str:
    """A cursor whose sort key is a name: sealed, because addresses are written to many logs."""
    return _encoded(ring.seal(msgspec.json.encode(position).decode(), bound_to=bound_to))


def open_cursor(text: str, kind: type[T], ring: KeyRing, *, bound_to: bytes) -> T:
    """The position that `seal_cursor` wrote. Raises `Invalid`."""
    try:
        return msgspec.json.decode(ring.open(_decoded(text), bound_to=bound_to), type=kind)
    except (ValueError, msgspec.DecodeError, SealBroken, UnknownKey):
        raise Invalid("not a cursor of this list", field="cursor") from None


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
