"""Texts that several of this folder's records share."""

from typing import Annotated
from zoneinfo import available_timezones

from msgspec import Meta
from phonenumbers import SUPPORTED_REGIONS

from polyclinic.core.errors import Invalid

Title = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\S")]
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2")]
Timezone = Annotated[str, Meta(min_length=1, max_length=64, description="IANA name: Europe/Madrid")]

_TIMEZONES = available_timezones()


def require_country(code: str) -> None:
    """Raises `Invalid` for a code without a telephone plan, by which its phones are read."""
    if code not in SUPPORTED_REGIONS:
        raise Invalid(f"{code!r} is no country; try 'ES' (ISO 3166-1)", field="country")


def require_timezone(name: str) -> None:
    """Raises `Invalid` for a name that the IANA database does not list."""
    if name not in _TIMEZONES:
        raise Invalid(f"{name!r} is no IANA time zone; try 'Europe/Madrid'", field="timezone")
