"""Invented people, the same for the same seed on every machine.

Distinct by construction: each household has a phone number of its own (until the country's range
is used up: a million in most) and no two of its members bear one name, so no two people can be
taken for one another by phone, date of birth and name.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate, pairwise
from random import Random

import msgspec

from polyclinic.core.names import normal_form
from polyclinic.demo.names import Gender, Language, languages
from polyclinic.demo.phones import PhoneRange
from polyclinic.patients.profile import BloodType, Identifier, Insurance
from polyclinic.patients.registration import RegisterPatient

RECORD_NUMBERS = "urn:polyclinic:mrn"

# Fixed, so that a seed gives the same people whenever it is used.
_UNTIL = datetime(2026, 1, 1, tzinfo=UTC)
_YEARS = 6
_YEAR_MS = 31_556_952_000

_LANGUAGES_OF: dict[str, str] = {
    "ES": "es", "MX": "es", "AR": "es", "CO": "es", "CL": "es", "PE": "es",
    "US": "en", "GB": "en", "IE": "en", "AU": "en", "CA": "en", "NZ": "en",
    "EG": "ar", "MA": "ar", "SA": "ar", "AE": "ar", "JO": "ar", "TN": "ar",
    "RU": "ru", "BY": "ru", "KZ": "ru", "GR": "el", "CY": "el", "IN": "hi", "CN": "zh", "TW": "zh",
    "SG": "zh", "VN": "vi", "PL": "pl", "DE": "de", "AT": "de", "CH": "de", "TR": "tr", "PT": "pt",
    "BR": "pt", "FR": "fr", "BE": "fr",
}  # fmt: skip
_LOCAL_SHARE = 0.6
_FAMILY_SHARE = 0.055  # of households; some 15 % of the people
_EMAIL_DOMAINS = ("example.com", "example.org", "example.net")

# Upper age and the share of patients below it: the pyramid of an ageing country.
_AGES = ((0, 0.0), (15, 0.15), (30, 0.32), (45, 0.53), (60, 0.74), (75, 0.91), (98, 1.0))

_BLOOD_TYPES: tuple[BloodType, ...] = ("O+", "A+", "B+", "AB+", "O-", "A-", "B-", "AB-")
_BLOOD_BOUNDS = list(accumulate((38, 34, 9, 3, 7, 6, 2, 1)))
_ALLERGIES = (
    "Penicillin", "Pollen", "House dust mite", "Peanut", "Latex", "Ibuprofen", "Shellfish",
    "Cat dander", "Egg", "Cow's milk", "Bee venom", "Iodinated contrast", "Sulfonamides",
)  # fmt: skip
_CONDITIONS = (
    "Hypertension", "Type 2 diabetes mellitus", "Hyperlipidaemia", "Asthma", "Hypothyroidism",
    "Osteoarthritis", "Migraine", "Chronic kidney disease", "Atrial fibrillation", "COPD",
    "Depressive disorder", "Gout", "Psoriasis", "Glaucoma", "Rheumatoid arthritis",
)  # fmt: skip
_INSURERS = ("Meridian Health", "Salvia Mutual", "Northlight Care", "Alba Salud", "Cedar & Stone")


class Person(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An invented person: `phone` is valid and in E.164 form, `email` in its normal form.

    `registered_at_ms` (Unix milliseconds) never falls from one person to the next.
    """

    name: str
    date_of_birth: date
    sex: Gender
    phone: str | None
    email: str | None
    blood_type: BloodType | None
    allergies: list[str]
    chronic_conditions: list[str]
    emergency_contact_name: str | None
    insurance_entries: list[Insurance]
    record_number: str
    registered_at_ms: int

    def as_registration(self) -> RegisterPatient:
        """What reception would send for this person."""
        return RegisterPatient(
            name=self.name,
            date_of_birth=self.date_of_birth,
            sex=self.sex,
            phone=self.phone,
            email=self.email,
            blood_type=self.blood_type,
            allergies=self.allergies,
            chronic_conditions=self.chronic_conditions,
            emergency_contact_name=self.emergency_contact_name,
            insurance_entries=self.insurance_entries,
            identifiers=[Identifier(RECORD_NUMBERS, self.record_number)],
        )


def people(*, seed: int, count: int, country: str) -> Iterator[Person]:
    """`count` people as clinics of `country` (ISO 3166 alpha-2) meet them, in the order in which
    they registered over six years; members of a household follow each other."""
    inventor = _Inventor(seed, count, country)
    while inventor.made < count:
        yield from inventor.household()


class _Inventor:
    """Draws households one after another; all of its state is its own."""

    def __init__(self, seed: int, count: int, country: str) -> None:
        self.made = 0
        self._count = count
        self._random = Random(f"{seed}/{country}")  # noqa: S311
        self._phones = PhoneRange.of(country)
        self._serial = self._random.randrange(10**7)
        self._spoken = list(languages())
        self._local = _LANGUAGES_OF.get(country)
        self._romanised: dict[str, str] = {}

    def household(self) -> Iterator[Person]:
        """One person, or a family that shares its phone and surname."""
        random = self._random
        self._serial += 1
        language = self._language()
        family = language.family_name(random)
        phone = None if self._phones is None else self._phones.number(self._serial)
        is_family = random.random() < _FAMILY_SHARE
        names: set[str] = set()
        for age_days in self._family_ages() if is_family else [self._age_days()]:
            if self.made == self._count:
                return
            sex: Gender = "female" if random.random() < 0.53 else "male"
            name = language.full_name(random, sex, family)
            while name in names:
                name = language.full_name(random, sex, family)
            names.add(name)
            yield self._person(name, sex, age_days, phone, language)

    def _person(
        self, name: str, sex: Gender, age_days: int, phone: str | None, language: Language
    ) -> Person:
        self.made += 1
        random, serial = self._random, self.made
        span_ms = _YEARS * _YEAR_MS
        registered_at = _UNTIL - timedelta(milliseconds=span_ms - span_ms * serial // self._count)
        return Person(
            name=name,
            date_of_birth=(registered_at - timedelta(days=age_days)).date(),
            sex=sex,
            phone=phone,
            email=self._email(name, serial) if random.random() < 0.5 else None,
            blood_type=self._blood_type() if random.random() < 0.7 else None,
            allergies=self._some(_ALLERGIES) if random.random() < 0.2 else [],
            chronic_conditions=self._some(_CONDITIONS)
            if random.random() < age_days / 40_000
            else [],
            emergency_contact_name=self._somebody(language) if random.random() < 0.6 else None,
            insurance_entries=[self._insurance()] if random.random() < 0.55 else [],
            record_number=f"MRN-{serial:06d}",
            registered_at_ms=int(registered_at.timestamp() * 1000),
        )

    def _language(self) -> Language:
        random = self._random
        if self._local is not None and random.random() < _LOCAL_SHARE:
            return languages()[self._local]
        return languages()[random.choice(self._spoken)]

    def _age_days(self) -> int:
        """Linear within each band of the pyramid."""
        drawn = self._random.random()
        for (young, below), (old, up_to) in pairwise(_AGES):
            if drawn < up_to:
                years = young + (old - young) * (drawn - below) / (up_to - below)
                return int(years * 365.25)
        return _AGES[-1][0] * 365

    def _family_ages(self) -> list[int]:
        """A parent, sometimes both, and one to three children."""
        random = self._random
        parent = random.randrange(24 * 365, 50 * 365)
        parents = [parent, parent + random.randrange(-900, 1800)][: random.choice((1, 1, 2))]
        oldest = min(parent - 20 * 365, 17 * 365)
        children = [random.randrange(oldest) for _ in range(random.choice((1, 1, 2, 2, 3)))]
        return parents + sorted(children, reverse=True)

    def _email(self, name: str, serial: int) -> str:
        words = [self._roman(word) for word in name.split()]
        return f"{'.'.join(words[:2])}{serial}@{_EMAIL_DOMAINS[serial % 3]}"

    def _roman(self, word: str) -> str:
        roman = self._romanised.get(word)
        if roman is None:
            roman = self._romanised[word] = normal_form(word).replace(" ", "")
        return roman

    def _blood_type(self) -> BloodType:
        return self._random.choices(_BLOOD_TYPES, cum_weights=_BLOOD_BOUNDS)[0]

    def _some(self, choices: tuple[str, ...]) -> list[str]:
        return self._random.sample(choices, self._random.choice((1, 1, 1, 2, 3)))

    def _somebody(self, language: Language) -> str:
        sex: Gender = self._random.choice(("female", "male"))
        return language.full_name(self._random, sex, language.family_name(self._random))

    def _insurance(self) -> Insurance:
        random = self._random
        return Insurance(
            provider=random.choice(_INSURERS),
            policy_number=f"P{random.randrange(10**9):09d}",
            valid_until=date(2026 + random.randrange(4), 12, 31),
        )
