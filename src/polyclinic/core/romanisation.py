"""Latin letters for a name in any script.

anyascii writes each character by itself. What only its neighbours decide is mapped here first:
the vowels that Arabic, Hebrew and Indic scripts leave out, Greek and Armenian digraphs.
"""

# ruff: noqa: RUF001  (letters that look Latin are the matter here)

import re
from collections.abc import Callable
from typing import Final

from anyascii import anyascii


def _rules(*pairs: tuple[str, str]) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(pattern), latin) for pattern, latin in pairs)


_CONSONANT = r"[^\Waeiou]"

_GREEK: Final = _rules(
    ("ο[υύὺῦ]", "ou"),
    ("([αεΑΕ])[υύὺῦ]", r"\1v"),
    ("γ(?=[γξχ])", "n"),
    (r"\b[Μμ]π", "b"),
    (r"\b[Νν]τ", "d"),
)
_ARMENIAN: Final = _rules(("[Ոո]ւ", "u"), ("եւ", "ev"), ("ւ", "v"))
_ARABIC: Final = _rules(
    ("[\u0640\u064b-\u065f\u0670]", ""),  # tatweel and vowel points
    ("[أإآٱىة]", "ا"),
    ("ؤ", "و"),
    ("ئ", "ي"),
    ("ء", ""),
    (r"\bعبد\s+ال", "عبدال"),
    (r"الله\b", "الا"),
    (r"ه\b", "ا"),
    (r"(?<=\w)ح\b", "اح"),
    (r"\b[عا]|ا", "a"),
    ("([ستكدزجبغ])(?=[هح])", r"\1a"),  # two letters, not the digraphs sh, th, kh, dh
    (rf"(?<={_CONSONANT})و(?={_CONSONANT}|\b)", "u"),
    (rf"(?<={_CONSONANT})[يی](?={_CONSONANT}|\b)", "i"),
)
_HEBREW: Final = _rules(
    ("[\u0591-\u05c7]", ""),  # points
    (r"\b[אע]|א", "a"),
    (r"\bכ", "ק"),
    (r"\bפ", "p"),
    (r"ה\b", "a"),
    ("([קתסדזגב])(?=[הח])", r"\1a"),
    (rf"(?<={_CONSONANT})ו(?={_CONSONANT})", "o"),
    (rf"(?<={_CONSONANT})י(?={_CONSONANT}|\b)", "i"),
)
_DEVANAGARI: Final = _rules(
    ("सिंह", "singh"),
    ("ज्ञ", "ग्य"),
    ("[\u0943\u090b]", "ri"),
    ("[शष]", "sh"),
    ("ङ", "ng"),
    ("च", "ch"),
)
_BENGALI: Final = _rules(("[\u09c3\u098b]", "ri"), ("[শষ]", "sh"), ("[\u0982\u0999]", "ng"))


def _substituted(rules: tuple[tuple[re.Pattern[str], str], ...]) -> Callable[[str], str]:
    def substitute(text: str) -> str:
        for pattern, latin in rules:
            text = pattern.sub(latin, text)
        return text

    return substitute


# The scripts of India share one layout: a letter's place in its block of 128 says what it is.
_CONSONANTS = frozenset({*range(0x15, 0x3A), *range(0x58, 0x60)})
_NASALS = frozenset({0x19, 0x1E, 0x23, 0x28, 0x2E})
_NUKTA, _VIRAMA = 0x3C, 0x4D
_VOWEL_SIGNS = frozenset({_NUKTA, _VIRAMA, *range(0x3E, 0x4D), 0x62, 0x63})


def _place(text: str, index: int) -> int:
    """The letter's place in its Indic block, -1 for anything else."""
    if not 0 <= index < len(text) or not "\u0900" <= text[index] <= "\u0d7f":
        return -1
    return ord(text[index]) & 0x7F


def _ends_a_cluster(text: str, index: int) -> bool:
    return _place(text, index - 1) == _VIRAMA and _place(text, index - 2) not in _NASALS


def _with_inherent_vowels(text: str) -> str:
    """Write the 'a' that a consonant without a vowel sign carries, as Hindi says it: not at
    the end of a word, but for a final cluster ("mishra", yet "anand")."""
    written: list[str] = []
    last = -1
    for index, char in enumerate(text):
        here, following = _place(text, index), _place(text, index + 1)
        written.append(char)
        if here in _CONSONANTS:
            last = index
        elif here != _NUKTA:
            continue
        if following in _VOWEL_SIGNS:
            continue
        if following >= 0 or _ends_a_cluster(text, last):
            written.append("a")
    return "".join(written)


_devanagari_letters, _bengali_letters = _substituted(_DEVANAGARI), _substituted(_BENGALI)


def _indic(text: str) -> str:
    return _bengali_letters(_devanagari_letters(_with_inherent_vowels(text)))


_BY_SCRIPT: Final[tuple[tuple[re.Pattern[str], Callable[[str], str]], ...]] = (
    (re.compile("[\u0370-\u03ff\u1f00-\u1fff]"), _substituted(_GREEK)),
    (re.compile("[\u0531-\u0587]"), _substituted(_ARMENIAN)),
    (re.compile("[\u0591-\u05f4]"), _substituted(_HEBREW)),
    (re.compile("[\u0620-\u06ff]"), _substituted(_ARABIC)),
    (re.compile("[\u0900-\u0d7f]"), _indic),
)
_BEYOND_LATIN = re.compile("[\u0370-\u0d7f\u1f00-\u1fff]")


def romanised(text: str) -> str:
    """ASCII for `text`, letter case and punctuation as they come."""
    if _BEYOND_LATIN.search(text):
        for script, mapped in _BY_SCRIPT:
            if script.search(text):
                text = mapped(text)
    return anyascii(text)


def plain(text: str) -> str:
    """ASCII letter by letter, vowels left out as they were written; lower case."""
    return anyascii(text).lower()
