"""Identifiers: UUIDv7, so that keys sort by time and never need renumbering in a move (RFC 9562)."""

import os
import time
from typing import NewType
from uuid import UUID

OrganizationId = NewType("OrganizationId", UUID)
BranchId = NewType("BranchId", UUID)
PatientId = NewType("PatientId", UUID)
PractitionerId = NewType("PractitionerId", UUID)
UserId = NewType("UserId", UUID)


def new_id(*, at_ms: int | None = None) -> UUID:
    """A fresh UUIDv7; `at_ms` (Unix milliseconds) places it in time, for imports and seeds."""
    millis = time.time_ns() // 1_000_000 if at_ms is None else at_ms
    random = int.from_bytes(os.urandom(10), "big")
    rand_a, rand_b = random >> 68, random & ((1 << 62) - 1)
    value = (millis & ((1 << 48) - 1)) << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b
    return UUID(int=value)
