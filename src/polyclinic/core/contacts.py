"""Phones and emails in the one form in which they can be compared.

What cannot be read is kept as it was written and is never an identity.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

import phonenumbers


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone as somebody wrote it, and its E.164 form; None where it is no valid number."""

    written: str
    e164: str | None

    @property
    def is_valid(self) -> bool:
        return self.e164 is not None


def parse_phone(raw: str, *, country: str) -> Phone:
    """The phone in `raw`; a number without a country code is one of `country` (ISO 3166 alpha-2).
    Never raises on text; an extension is not part of the E.164 form."""
    written = raw.strip()
    try:
        number = phonenumbers.parse(written, country.upper())
    except phonenumbers.NumberParseException:
        return Phone(written=written, e164=None)
    if not phonenumbers.is_valid_number(number):
        return Phone(written=written, e164=None)
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return Phone(written=written, e164=e164)


# RFC 5321, 4.5.3.1: 64 octets before the @ and 254 in all. Quoted local parts and address
# literals are left out: they are slips more often than addresses.
_EMAIL: Final = re.compile(
    r"(?!\.)[^\s@<>()\[\],;:\"\\]{1,64}(?<!\.)@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_][\w-]*[^\W_]"
)


def normal_email(raw: str) -> str | None:
    """The address trimmed and in lower case, None where it is not plausibly one. Dots and tags
    of providers stay: they are other people elsewhere."""
    email = unicodedata.normalize("NFC", raw.strip().lower())
    if not email.isprintable() or ".." in email or len(email.encode()) > 254:
        return None
    return email if _EMAIL.fullmatch(email) else None
