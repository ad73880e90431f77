# ruff: noqa: RUF001  (letters that look Latin are the matter here)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyclinic.core.contacts import Phone, normal_email, parse_phone

COUNTRIES = st.sampled_from(["US", "GB", "AU", "IN", "DE", "RU", "CN", "EG", "ZZ", ""])
DIALLED = st.text(alphabet="0123456789+-() ./x#*٠١٢٣", max_size=20)


@pytest.mark.parametrize(
    ("raw", "country", "e164"),
    [
        ("(02) 9374 4000", "AU", "+61293744000"),
        ("+61 2 9374 4000", "US", "+61293744000"),
        ("0061 2 9374 4000", "GB", "+61293744000"),
        ("020 7183 8750", "gb", "+442071838750"),
        ("+49 (0)30 123456", "DE", "+4930123456"),
        ("٠١٠٠ ١٢٣ ٤٥٦٧", "EG", "+201001234567"),
    ],
)
def test_spellings_of_one_number_have_one_e164_form(raw: str, country: str, e164: str) -> None:
    phone = parse_phone(raw, country=country)
    assert phone.e164 == e164
    assert phone.is_valid


@pytest.mark.parametrize("raw", ["", "555-1234-555-99999", "call the daughter", "000000", "+", "7"])
def test_a_phone_that_is_not_valid_is_kept_as_written_and_has_no_e164(raw: str) -> None:
    phone = parse_phone(f" {raw} ", country="US")
    assert phone == Phone(written=raw, e164=None)
    assert not phone.is_valid


def test_a_local_number_of_an_unknown_country_is_not_valid() -> None:
    assert parse_phone("02 9374 4000", country="ZZ").e164 is None


@given(raw=st.one_of(st.text(max_size=64), DIALLED), country=COUNTRIES)
def test_parsing_a_phone_never_raises_and_its_e164_form_parses_to_itself(
    raw: str, country: str
) -> None:
    phone = parse_phone(raw, country=country)
    assert phone.written == raw.strip()
    if phone.e164 is not None:
        assert parse_phone(phone.e164, country="US").e164 == phone.e164


@given(st.integers(min_value=200_000_000, max_value=499_999_999), COUNTRIES)
def test_valid_numbers_parse_to_themselves_from_any_country(number: int, country: str) -> None:
    phone = parse_phone(f"+61{number}", country=country)
    if phone.e164 is not None:
        assert parse_phone(phone.e164, country=country).e164 == phone.e164


@pytest.mark.parametrize(
    ("raw", "email"),
    [
        ("  Ana.Lopez@Example.ORG ", "ana.lopez@example.org"),
        ("ana+clinic@mail.example.org", "ana+clinic@mail.example.org"),
        ("ána@exämple.de", "ána@exämple.de"),
        ("o'neill@example.ie", "o'neill@example.ie"),
    ],
)
def test_an_email_is_trimmed_and_in_lower_case(raw: str, email: str) -> None:
    assert normal_email(raw) == email


@pytest.mark.parametrize(
    "raw",
    [
        "", "none", "@", "ana@", "@example.org", "ana@example", "ana@@example.org",
        "ana@b@example.org", "ana lopez@example.org", ".ana@example.org", "ana.@example.org",
        "a..na@example.org", "ana@-example.org", "ana@example..org", "ana@example.org\n.x",
        "ana@10.0.0.1", "a\x00na@example.org", "\ud800@example.org",
        "a" * 65 + "@example.org", "ana@" + "a" * 64 + ".org",
        "ana@" + "a." * 130 + "org",
    ],
)  # fmt: skip
def test_what_is_not_plausibly_an_email_is_none(raw: str) -> None:
    assert normal_email(raw) is None


@given(st.one_of(st.text(max_size=80), st.emails()))
def test_a_normal_email_is_its_own_normal_form(raw: str) -> None:
    email = normal_email(raw)
    if email is not None:
        assert email.count("@") == 1
        assert normal_email(email) == email


@given(st.from_regex(r"[a-z0-9_+-]{1,20}@[a-z]{2,12}\.(org|com|de)", fullmatch=True))
def test_plain_addresses_are_kept(address: str) -> None:
    assert normal_email(address.upper()) == address
