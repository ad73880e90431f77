"""Invented people: reproducible, plausible, and valid where validity is checked."""

import unicodedata
from collections import Counter
from itertools import pairwise
from random import Random
from uuid import UUID

import msgspec
import pytest

from polyclinic.core.contacts import normal_email, parse_phone
from polyclinic.core.names import search_tokens
from polyclinic.demo.batch import marker
from polyclinic.demo.loading import spread
from polyclinic.demo.names import languages
from polyclinic.demo.people import Person, people
from polyclinic.demo.phones import PhoneRange
from polyclinic.patients.registration import RegisterPatient, require_possible_birth

COUNTRIES = (
    "ES",
    "US",
    "DE",
    "IN",
    "BR",
    "PL",
    "GR",
    "TR",
    "VN",
    "EG",
    "FR",
    "PT",
    "RU",
    "CN",
    "SA",
)


@pytest.fixture(scope="module")
def spanish() -> list[Person]:
    return list(people(seed=1, count=20_000, country="ES"))


def test_one_seed_gives_the_same_people_each_time() -> None:
    again = [list(people(seed=7, count=500, country="US")) for _ in range(2)]
    assert again[0] == again[1]
    assert marker(again[0]) == marker(again[1])


def test_another_seed_or_country_gives_other_people() -> None:
    first = list(people(seed=7, count=500, country="US"))
    for other in (people(seed=8, count=500, country="US"), people(seed=7, count=500, country="CA")):
        same = sum(a.name == b.name for a, b in zip(first, other, strict=True))
        assert same < 25


@pytest.mark.parametrize("count", [0, 1, 2, 999])
def test_as_many_people_come_as_are_asked_for(count: int) -> None:
    assert len(list(people(seed=3, count=count, country="DE"))) == count


@pytest.mark.parametrize("country", COUNTRIES)
def test_every_phone_is_valid_and_in_its_stored_form(country: str) -> None:
    for person in people(seed=5, count=200, country=country):
        assert person.phone is not None
        assert parse_phone(person.phone, country=country).e164 == person.phone


def test_a_country_without_mobile_numbers_gives_people_without_phones() -> None:
    assert all(person.phone is None for person in people(seed=5, count=50, country="AQ"))


def test_a_range_repeats_no_number_before_it_is_used_up() -> None:
    numbers = PhoneRange("+3461234", 5)
    assert len({numbers.number(serial) for serial in range(10**5)}) == 10**5


def test_some_fifteen_percent_share_a_phone_with_their_family(spanish: list[Person]) -> None:
    holders = Counter(person.phone for person in spanish)
    sharing = sum(count for count in holders.values() if count > 1) / len(spanish)
    assert 0.12 < sharing < 0.18
    assert max(holders.values()) <= 5


def test_no_two_people_have_both_phone_and_name_in_common(spanish: list[Person]) -> None:
    assert len({(person.phone, person.name) for person in spanish}) == len(spanish)


def test_emails_are_of_reserved_domains_and_in_normal_form(spanish: list[Person]) -> None:
    emails = [person.email for person in spanish if person.email is not None]
    assert 0.45 < len(emails) / len(spanish) < 0.55
    assert len(set(emails)) == len(emails)
    for email in emails:
        assert email.partition("@")[2] in {"example.com", "example.org", "example.net"}
        assert normal_email(email) == email


def test_everybody_registers_in_order_and_after_their_birth(spanish: list[Person]) -> None:
    for earlier, later in pairwise(spanish):
        assert earlier.registered_at_ms <= later.registered_at_ms
    for person in spanish:
        require_possible_birth(person.date_of_birth)
        assert person.date_of_birth.toordinal() <= person.registered_at_ms // 86_400_000 + 719_163


def test_ages_have_the_shape_of_a_population(spanish: list[Person]) -> None:
    births = Counter(person.date_of_birth.year // 20 for person in spanish)
    assert all(births[period // 20] > len(spanish) / 20 for period in (1940, 1960, 1980, 2000))


def test_names_come_in_many_scripts(spanish: list[Person]) -> None:
    scripts = Counter(unicodedata.name(person.name[0]).split()[0] for person in spanish)
    expected = {"LATIN", "ARABIC", "CYRILLIC", "GREEK", "DEVANAGARI", "CJK"}
    assert expected <= {script for script, count in scripts.items() if count > 100}
    assert all(unicodedata.is_normalized("NFC", person.name) for person in spanish)


def test_some_words_are_common_and_most_are_rare(spanish: list[Person]) -> None:
    words = Counter(word for person in spanish for word in search_tokens(person.name))
    assert words.most_common(1)[0][1] > 0.02 * len(spanish)
    assert len(words) > 5_000
    assert sum(count <= 3 for count in words.values()) > len(words) / 3


@pytest.mark.parametrize(
    ("language", "masculine", "feminine"),
    [("ru", "Иванов", "Иванова"), ("pl", "Kowalski", "Kowalska"), ("el", "Βλάχος", "Βλάχου")],
)
def test_a_woman_bears_the_feminine_form_of_her_surname(
    language: str, masculine: str, feminine: str
) -> None:
    spoken = languages()[language]
    assert spoken.full_name(Random(1), "male", masculine).endswith(f" {masculine}")
    assert spoken.full_name(Random(1), "female", masculine).endswith(f" {feminine}")


def test_no_language_repeats_a_name() -> None:
    for language in languages().values():
        for pool in (*language.given.values(), language.family):
            assert len(set(pool.names)) == len(pool.names) >= 20


def test_a_person_is_a_registration_that_the_api_takes(spanish: list[Person]) -> None:
    for person in spanish[:2000]:
        command = person.as_registration()
        assert msgspec.json.decode(msgspec.json.encode(command), type=RegisterPatient) == command


@pytest.mark.parametrize("share", [0.0, 0.25, 0.8, 1.0])
def test_a_share_is_exact_and_evenly_spread(share: float) -> None:
    ids = [UUID(int=place) for place in range(1000)]
    chosen = spread(ids, share)
    assert len(chosen) == 1000 * share
    assert len(spread(ids[:100], share)) == 100 * share
