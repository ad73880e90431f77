"""Valid phone numbers of a country, made without asking the library for each."""

from dataclasses import dataclass
from random import Random

import phonenumbers

_MOST_DIGITS = 7
_PROBES = 50
_GOLDEN = 0.618033988749895


@dataclass(frozen=True, slots=True)
class PhoneRange:
    """`10 ** digits` mobile numbers in E.164 form that begin with `prefix`."""

    prefix: str
    digits: int

    @classmethod
    def of(cls, country: str) -> "PhoneRange | None":
        """The range around the library's example for `country` (ISO 3166 alpha-2); None where it
        knows no mobile numbers. Validity is tried on a sample, once."""
        example = phonenumbers.example_number_for_type(country, phonenumbers.PhoneNumberType.MOBILE)
        if example is None:
            return None
        text = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        for digits in range(_MOST_DIGITS, 2, -1):
            candidate = cls(text[:-digits], digits)
            if candidate._is_valid():
                return candidate
        return None

    def number(self, serial: int) -> str:
        """The number for a household: different for different serials, until the range is used up.

        Neighbouring serials get numbers far apart: the step is near the golden section and has no
        divisor in common with the size.
        """
        size = 10**self.digits
        step = int(size * _GOLDEN) // 10 * 10 + 3
        return f"{self.prefix}{serial * step % size:0{self.digits}d}"

    def _is_valid(self) -> bool:
        random = Random(0)  # noqa: S311
        serials = [random.randrange(10**self.digits) for _ in range(_PROBES)]
        return all(
            phonenumbers.is_valid_number(phonenumbers.parse(self.number(serial)))
            for serial in serials
        )
