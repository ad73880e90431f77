"""Reading patients: one, a page, a search. Each is one hot function that leaves its audit record."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import msgspec

from polyclinic.core.contacts import normal_email, parse_phone
from polyclinic.core.ids import PatientId
from polyclinic.core.keys import KeyRing
from polyclinic.core.names import query_tokens, sound_key
from polyclinic.core.pages import open_cursor, read_cursor, seal_cursor, write_cursor
from polyclinic.db.sql_files import statement
from polyclinic.identity.contacts import EMAIL, IDENTIFIER, PHONE, normal_identifier
from polyclinic.patients.errors import PatientNotFound
from polyclinic.tenancy.access import Access
from polyclinic.tenancy.context import OrganizationContext
from polyclinic.tenancy.door import Door, OrganizationTransaction

_PACKAGE = "polyclinic.patients"
_READ = statement(_PACKAGE, "read")
_PAGE = statement(_PACKAGE, "page")
_SEARCH = statement(_PACKAGE, "search")


class PagePosition(msgspec.Struct, frozen=True, tag="patients"):
    """A cursor of the list: newest first."""

    before: UUID


class SearchPosition(msgspec.Struct, frozen=True, tag="patient-search"):
    """A cursor of a search: the sort key of the last match shown (`find_patients`)."""

    driver: str | None
    tier: int
    sort_a: str
    sort_b: str
    id: UUID


@dataclass(frozen=True, slots=True)
class JsonPage:
    """A page whose items are JSON already."""

    items: str
    next_cursor: str | None

    def encoded(self) -> bytes:
        cursor = "null" if self.next_cursor is None else f'"{self.next_cursor}"'
        return f'{{"items":[{self.items}],"next_cursor":{cursor}}}'.encode()


async def read(door: Door, context: OrganizationContext, patient_id: UUID) -> asyncpg.Record:
    """The patient's row, gated by consent. Raises `PatientNotFound`; either way it is audited."""
    row = await door.call(
        context,
        _READ,
        patient_id,
        access=lambda found: Access(
            "patient.read", "patient", patient_id, outcome="done" if found else "not-found"
        ),
    )
    if row is None:
        raise PatientNotFound(PatientId(patient_id))
    return row


async def read_in(transaction: OrganizationTransaction, patient_id: PatientId) -> asyncpg.Record:
    """The same within the caller's transaction, recorded in it. Raises `PatientNotFound`."""
    row = await transaction.fetchrow(
        statement(_PACKAGE, "view"), transaction.context.organization_id, patient_id
    )
    if row is None:
        raise PatientNotFound(patient_id)
    await transaction.audit("patient.read", "patient", patient_id)
    return row


async def page(
    door: Door, context: OrganizationContext, *, limit: int, cursor: str | None
) -> JsonPage:
    """The newest patients, or those before a cursor."""
    before = read_cursor(cursor, PagePosition).before if cursor else None
    row = await door.call(context, _PAGE, limit, before, access=_shown("patient.list"))
    assert row is not None
    items, last_id, has_more, _ = row
    return JsonPage(items, write_cursor(PagePosition(last_id)) if has_more else None)


async def search(
    door: Door,
    ring: KeyRing,
    context: OrganizationContext,
    text: str,
    *,
    country: str,
    limit: int,
    cursor: str | None,
) -> JsonPage:
    """The patients whose name, phone, e-mail or number `text` may mean, best match first.

    A phone or e-mail finds those alone who share their profile. `country` (ISO 3166 alpha-2) reads
    a phone written without its country code.
    """
    bound_to = b"search" + context.organization_id.bytes
    start = (
        open_cursor(cursor, SearchPosition, ring, bound_to=bound_to)
        if cursor
        else SearchPosition(None, 0, "", "", UUID(int=0))
    )
    tokens = list(query_tokens(text))
    row = await door.call(
        context, _SEARCH,
        tokens, [sound_key(token) for token in tokens], start.driver,
        _fingerprints(ring, text, country),
        limit, start.tier, start.sort_a, start.sort_b, start.id,
        access=_shown("patient.search"),
    )  # fmt: skip
    assert row is not None
    items, has_more, driver, tier, sort_a, sort_b, last_id, _ = row
    if not has_more:
        return JsonPage(items, None)
    last = SearchPosition(driver, tier, sort_a, sort_b, last_id)
    return JsonPage(items, seal_cursor(last, ring, bound_to=bound_to))


def _shown(action: str) -> Callable[[asyncpg.Record | None], Access]:
    """The access to the patients that a page shows."""

    def access(row: asyncpg.Record | None) -> Access:
        assert row is not None
        return Access(action, "patient", entity_ids=tuple(row["shown_ids"]))

    return access


def _fingerprints(ring: KeyRing, text: str, country: str) -> list[bytes]:
    """What the text would be stored as, were it a phone, an e-mail or a number."""
    prints: list[bytes] = []
    if "@" in text and (email := normal_email(text)) is not None:
        prints += ring.fingerprints(email, purpose=EMAIL)
    if any(character.isdigit() for character in text):
        prints += ring.fingerprints(normal_identifier(text), purpose=IDENTIFIER)
        phone = parse_phone(text, country=country)
        if phone.e164 is not None:
            prints += ring.fingerprints(phone.e164, purpose=PHONE)
    return prints
