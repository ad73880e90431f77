"""What a receptionist types finds the patient, best match first, page after page."""

from collections.abc import Callable
from datetime import date
from uuid import UUID

import msgspec
import pytest

from polyclinic.app import Polyclinic
from polyclinic.patients import consent
from polyclinic.patients.consent import GiveConsent
from polyclinic.patients.profile import Identifier, PatientItem
from polyclinic.patients.reading import search
from polyclinic.patients.registration import RegisterPatient, register
from polyclinic.tenancy.context import OrganizationContext
from polyclinic.tenancy.door import Intent

NAMES = [
    "María López García", "Mariano Lopez", "Lopezina Mar", "José Pérez", "Jon Johnson",
    "Иван Петров", "Παναγιώτης Παπαδόπουλος", "محمد الأحمد", "मोहन शर्मा", "王小明",
    "Nguyễn Văn An", "Grzegorz Brzęczyszczykiewicz", "O'Neill Sean", "Anne-Marie Dupont",
]  # fmt: skip


async def add(parts: Polyclinic, context: OrganizationContext, name: str, **more: object) -> UUID:
    async with parts.door.transaction(context, Intent.WRITE) as transaction:
        command = RegisterPatient(name=name, **more)  # type: ignore[arg-type]
        return (await register(transaction, parts.keys.ring, command)).patient_id


async def found(
    parts: Polyclinic, context: OrganizationContext, text: str, *, limit: int = 10
) -> list[str]:
    """The names found, over every page."""
    names: list[str] = []
    seen: set[UUID] = set()
    cursor: str | None = None
    while True:
        page = await search(
            parts.door, parts.keys.ring, context, text, country="ES", limit=limit, cursor=cursor
        )
        items = msgspec.json.decode(f"[{page.items}]", type=list[PatientItem])
        assert not seen & {item.id for item in items}, "shown twice"
        seen |= {item.id for item in items}
        names += [item.name for item in items]
        cursor = page.next_cursor
        if cursor is None:
            return names


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("mar", "María López García"),
        ("Lopez", "María López García"),
        ("lópez mar", "María López García"),
        ("garcia maria", "María López García"),
        ("jonson", "Jon Johnson"),
        ("peres jose", "José Pérez"),
        ("Ivan Petrov", "Иван Петров"),
        ("petrow", "Иван Петров"),
        ("Papadopoulos", "Παναγιώτης Παπαδόπουλος"),
        ("Mohammed", "محمد الأحمد"),
        ("muhammad alahmad", "محمد الأحمد"),
        ("Mohan Sharma", "मोहन शर्मा"),
        ("Wang Xiaoming", "王小明"),
        ("xiao ming wang", "王小明"),
        ("王小", "王小明"),
        ("nguyen van an", "Nguyễn Văn An"),
        ("Brzeczyszczykiewicz", "Grzegorz Brzęczyszczykiewicz"),
        ("oneill", "O'Neill Sean"),
        ("anne marie", "Anne-Marie Dupont"),
    ],
)
async def test_a_name_is_found_however_it_is_typed(
    parts: Polyclinic, filled: OrganizationContext, typed: str, name: str
) -> None:
    assert name in await found(parts, filled, typed)


@pytest.fixture
async def filled(parts: Polyclinic, context: OrganizationContext) -> OrganizationContext:
    for name in NAMES:
        await add(parts, context, name)
    return context


async def test_the_best_match_comes_first(parts: Polyclinic, context: OrganizationContext) -> None:
    for name in ["Ana Lopes", "Ana Lopezina", "Ana López", "Anna Lopez"]:
        await add(parts, context, name)
    names = await found(parts, context, "ana lopez")
    assert names == ["Ana López", "Ana Lopezina", "Ana Lopes", "Anna Lopez"]


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_pages_neither_skip_nor_repeat(
    parts: Polyclinic, filled: OrganizationContext, limit: int
) -> None:
    for text in ("lopez", "mar", "a", "jon", "johnson jon", "lopes maria"):
        whole = await found(parts, filled, text, limit=100)
        assert await found(parts, filled, text, limit=limit) == whole


async def test_a_phone_finds_those_alone_who_share_their_profile(
    parts: Polyclinic, context: OrganizationContext, new_phone: Callable[[], str]
) -> None:
    phone = new_phone()
    patient_id = await add(parts, context, "Ana Sanz", phone=phone, date_of_birth=date(1990, 1, 2))
    local = phone.removeprefix("+34")
    assert await found(parts, context, local) == []
    await consent.give(parts.door, context, patient_id, GiveConsent())  # type: ignore[arg-type]
    assert await found(parts, context, f"{local[:3]} {local[3:6]} {local[6:]}") == ["Ana Sanz"]
    await consent.withdraw(parts.door, context, patient_id)  # type: ignore[arg-type]
    assert await found(parts, context, phone) == []


async def test_a_record_number_is_found_however_it_is_written(
    parts: Polyclinic, context: OrganizationContext
) -> None:
    await add(parts, context, "Ana Sanz", identifiers=[Identifier("urn:mrn", "MRN-000123")])
    assert await found(parts, context, "mrn 000123") == ["Ana Sanz"]
    assert await found(parts, context, "mrn 000124") == []


async def test_text_without_letters_finds_nobody(
    parts: Polyclinic, filled: OrganizationContext
) -> None:
    assert await found(parts, filled, "%_'--") == []
