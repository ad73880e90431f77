"""The shape of every list: `{"items": [...], "next_cursor": ...}`."""

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """`next_cursor` null: the last page."""

    items: list[T]
    next_cursor: str | None
