"""What holds of search and lists whatever the names: all are found, none twice, none skipped."""

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyclinic.app import Polyclinic
from polyclinic.core.ids import OrganizationId, new_id
from polyclinic.core.names import search_tokens
from polyclinic.core.pages import read_cursor
from polyclinic.organizations import organization as organizations
from polyclinic.organizations.organization import CreateOrganization
from polyclinic.patients.reading import PagePosition, page
from polyclinic.settings import Settings
from polyclinic.tenancy.context import NO_ONE, OrganizationContext
from tests.conftest import acting
from tests.postgres.test_search import add, found

# Words that share beginnings, sounds and letters, so that every tier and tie is met.
WORDS = st.sampled_from(
    [
        "ana",
        "anna",
        "annabel",
        "hannah",
        "maria",
        "mario",
        "mariam",
        "lopez",
        "lopes",
        "lopezina",
        "mohammed",
        "محمد",
        "Иван",
        "ivan",
        "王小明",
        "wang",
        "jon",
        "johnson",
        "jonson",
        "o'neill",
        "neill",
        "a",
        "al",
    ]
)
NAMES = st.lists(st.lists(WORDS, min_size=1, max_size=3).map(" ".join), min_size=1, max_size=12)
QUIET = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


async def clinic_of(parts: Polyclinic, names: list[str]) -> OrganizationContext:
    command = CreateOrganization("Clinic", "ES", "Europe/Madrid")
    made = await organizations.create(
        parts.door, command, OrganizationId(new_id()), user_id=NO_ONE, request_id="test"
    )
    context = acting(made)
    for name in names:
        await add(parts, context, name)
    return context


@QUIET
@given(names=NAMES, typed=st.lists(WORDS, min_size=1, max_size=2), limit=st.integers(1, 5))
def test_pages_of_a_search_are_the_whole_search(
    settings: Settings, names: list[str], typed: list[str], limit: int
) -> None:
    async def check() -> None:
        async with Polyclinic(settings).open() as parts:
            context = await clinic_of(parts, names)
            text = " ".join(typed)
            whole = await found(parts, context, text, limit=100)
            assert await found(parts, context, text, limit=limit) == whole

    asyncio.run(check())


@QUIET
@given(names=NAMES, data=st.data())
def test_a_name_is_found_by_the_beginnings_of_its_words(
    settings: Settings, names: list[str], data: st.DataObject
) -> None:
    wanted = data.draw(st.sampled_from(names))
    tokens = data.draw(st.permutations(search_tokens(wanted)))[:2]
    text = " ".join(token[: data.draw(st.integers(1, len(token)))] for token in tokens)

    async def check() -> None:
        async with Polyclinic(settings).open() as parts:
            context = await clinic_of(parts, names)
            shown = await found(parts, context, text, limit=100)
            assert shown.count(wanted) == names.count(wanted)

    asyncio.run(check())


@QUIET
@given(names=NAMES, limit=st.integers(1, 5), extra=st.integers(0, 3))
def test_a_list_keeps_its_place_while_patients_come(
    settings: Settings, names: list[str], limit: int, extra: int
) -> None:
    async def check() -> None:
        async with Polyclinic(settings).open() as parts:
            context = await clinic_of(parts, names)
            seen: list[str] = []
            cursor: str | None = None
            while True:
                shown = await page(parts.door, context, limit=limit, cursor=cursor)
                seen += [part.split('"')[0] for part in shown.items.split('{"id":"')[1:]]
                for number in range(extra):
                    await add(parts, context, f"Late {number}")
                cursor = shown.next_cursor
                if cursor is None:
                    break
                assert str(read_cursor(cursor, PagePosition).before) == seen[-1]
            assert len(seen) == len(set(seen)) == len(names)
            assert seen == sorted(seen, reverse=True)

    asyncio.run(check())
