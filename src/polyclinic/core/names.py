"""Names as search and matching compare them: normal forms, tokens, likeness, masks.

All of it is pure and the same on every machine. What is stored of it (tokens, sound keys) was
made by the rules of its day: when a rule changes, it must be computed again.
"""

import re
import unicodedata
from itertools import pairwise, permutations
from typing import Final

from polyclinic.core import han
from polyclinic.core.romanisation import plain, romanised
from polyclinic.core.sound import sound_key

__all__ = [
    "LIKE_AT", "MAX_QUERY_TOKENS", "MAX_TOKENS", "MAX_TOKEN_LENGTH", "is_like", "likeness",
    "masked", "normal_form", "query_tokens", "search_tokens", "sound_key",
]  # fmt: skip

MAX_TOKENS: Final = 24
MAX_QUERY_TOKENS: Final = 6
MAX_TOKEN_LENGTH: Final = 40

_ASCII: Final = {
    code: char.lower() if (char := chr(code)).isalnum() else None if char in "'`" else " "
    for code in range(128)
}
_APOSTROPHES: Final = dict.fromkeys(
    map(ord, "\u2018\u2019\u201b\u2032\u02b9\u02bb\u02bc\u02be\u02bf\u00b4\uff07"), "'"
)


def normal_form(name: str) -> str:
    """Lower-case ASCII words of `name` with single spaces: 'Óscar  LÓPEZ-García' gives
    'oscar lopez garcia'. An unspaced Chinese or Korean name gives its surname, then its given
    name: '王小明' gives 'wang xiaoming'."""
    if not name.isascii():
        name = _latin(name)
    return " ".join(name.translate(_ASCII).split())


def _latin(name: str) -> str:
    composed = unicodedata.normalize("NFKC", name).translate(_APOSTROPHES)
    if runs := han.RUN.findall(composed):
        composed = han.RUN.sub(lambda run: f" {_han_words(run[0], len(runs))} ", composed)
    return romanised(composed)


def _han_words(run: str, runs: int) -> str:
    syllables = han.syllables(run)
    if runs > 1 or len(syllables) < 2:
        return "".join(syllables)
    cut = han.surname_length(run)
    return "".join(syllables[:cut]) + " " + "".join(syllables[cut:])


def search_tokens(name: str) -> tuple[str, ...]:
    """What an index stores so that the start of any word of `name` finds it, sorted and
    distinct: the words of the normal form, then the other spellings that its script or an
    elided particle allows. At most 24 tokens of at most 40 characters."""
    found = normal_form(name).split()
    if not name.isascii():
        name = unicodedata.normalize("NFKC", name).translate(_APOSTROPHES)
        found += _other_spellings(name)
    found += _without_particle(name, found)
    distinct = dict.fromkeys(token[:MAX_TOKEN_LENGTH] for token in found)
    return tuple(sorted(list(distinct)[:MAX_TOKENS]))


def _without_particle(name: str, words: list[str]) -> list[str]:
    """O'Neill by 'neill', and O Neill by 'oneill'."""
    found = [first + second for first, second in pairwise(words) if first in _PARTICLES]
    if "'" in name:
        found += [word for rest in _ELIDED.findall(name) for word in normal_form(rest).split()]
    return found


_PARTICLES: Final = frozenset({"o", "d", "l"})
_ELIDED = re.compile(r"\b[A-Za-zÓó]'(\w{2,})")


def _other_spellings(name: str) -> list[str]:
    found = [token for run in han.RUN.findall(name) for token in _east_asian_spellings(run)]
    for servant, word in _ARABIC_ARTICLE.findall(name):
        found += [*normal_form(word).split(), *(["abdal"] if servant else ())]
    if _WAW.search(name):
        found += plain(name).translate(_ASCII).split()
    if "ц" in name.lower():  # 'ts' in Russian, 'c' in Serbian
        found += normal_form(name.lower().replace("ц", "c")).split()
    return found


_WAW = re.compile("[\u05d5\u0648]")  # a vowel in Yusuf, a consonant in David and Nawal
# What follows the Arabic article is searched by itself, and so is the 'abdul' before it.
_ARABIC_ARTICLE = re.compile(r"\b(عبد\s*)?ال(\w{3,})")


def _east_asian_spellings(run: str) -> list[str]:
    syllables = han.syllables(run)
    cut = han.surname_length(run)
    surname, given = "".join(syllables[:cut]), "".join(syllables[cut:])
    joined = [surname + given, given + surname, given] if given else []
    return joined + syllables + han.readings(run)


def query_tokens(text: str) -> tuple[str, ...]:
    """The words of what somebody typed, in that order: at most 6 of at most 40 characters."""
    words = normal_form(text).split()[:MAX_QUERY_TOKENS]
    return tuple(word[:MAX_TOKEN_LENGTH] for word in words)


def masked(name: str) -> str:
    """'M•••• L••••' for 'María López': who knows the person recognises it, and neither letters
    nor their number tell anybody else."""
    words = unicodedata.normalize("NFC", name).split()
    return " ".join(_first_letter(word) + "••••" for word in words)


def _first_letter(word: str) -> str:
    end = 1
    while end < len(word) and unicodedata.category(word[end]).startswith("M"):
        end += 1
    return word[:end]


# Where the other word is equal, one slip in a word of four letters or two in one of seven pass,
# one in a word of three does not (Li Wei, Li Wen). On FEBRL's harder set: 75.2 % of the pairs of
# one person, 0.2 % of those of two with one surname; at 0.70 77.1 and 0.6, at 0.82 71.5 and 0.2.
LIKE_AT: Final = 0.76
_SOUNDS_ALIKE: Final = 0.9
_INITIAL: Final = 0.85
_MISSING_WORD: Final = 0.04
_ONE_WORD_ONLY: Final = 0.6


def is_like(a: str, b: str) -> bool:
    """Whether two full names may be one person's."""
    return likeness(a, b) >= LIKE_AT


def likeness(a: str, b: str) -> float:
    """How alike two full names are, from 0 to 1, whatever their order of words, script,
    diacritics, initials, missing middle names and small slips."""
    few, many = sorted((_words(a), _words(b)), key=lambda words: (len(words), words))
    if few == many:
        return 1.0 if few else 0.0
    if 0 < len(few) < len(many):
        many = _rejoined(many, few)
    return _aligned(few, many, across_scripts=_is_latin(a) != _is_latin(b)) if few else 0.0


def _words(name: str) -> list[str]:
    return sorted(normal_form(name).split())[:MAX_QUERY_TOKENS]


_BEYOND_LATIN = re.compile("[\u0370-\u1dff\u1f00-\u1fff\u2e80-\U0003ffff]")


def _is_latin(name: str) -> bool:
    return name.isascii() or not _BEYOND_LATIN.search(name)


def _rejoined(many: list[str], few: list[str]) -> list[str]:
    """`many` with the words joined that `few` writes as one ('Del Rosario', 'Xiao Ming')."""
    for count in range(2, min(3, len(many) - len(few) + 1) + 1):
        for parts in permutations(many, count):
            if "".join(parts) in few:
                rest = list(many)
                for part in parts:
                    rest.remove(part)
                return sorted([*rest, "".join(parts)])
    return many


def _aligned(few: list[str], many: list[str], *, across_scripts: bool) -> float:
    """The score of the best one-to-one pairing: its mean word, held down by its worst."""
    pairing = _best_pairing(few, many, across_scripts=across_scripts)
    score = (sum(pairing) / len(pairing) + min(pairing)) / 2
    extra = len(many) - len(few)
    if len(few) == 1 and extra:
        return score * _ONE_WORD_ONLY
    return max(0.0, score - _MISSING_WORD * extra)


def _best_pairing(few: list[str], many: list[str], *, across_scripts: bool) -> list[float]:
    """The likeness of each pair, the most alike paired first."""
    left, right = list(few), list(many)
    for word in few:
        if word in right:
            left.remove(word)
            right.remove(word)
    pairing = [1.0] * (len(few) - len(left))
    heard = {word: sound_key(word) for word in (*left, *right)}
    cells = [
        (_word_likeness(a, b, _proof(heard[a], heard[b], across_scripts)), row, column)
        for row, a in enumerate(left)
        for column, b in enumerate(right)
    ]
    rows, columns = set[int](), set[int]()
    for value, row, column in sorted(cells, reverse=True):
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            pairing.append(value)
    return pairing


def _proof(key: str, other: str, across_scripts: bool) -> float:
    """How alike two words must be typed for their equal sound to count."""
    if key != other:
        return 2.0
    # John and Jane share a key: two consonants prove little where both names write vowels.
    return 0.0 if across_scripts or len(key.replace("a", "")) >= 3 else 0.6


def _word_likeness(a: str, b: str, proof: float) -> float:
    if len(a) == 1 or len(b) == 1:
        return _INITIAL if a[0] == b[0] else 0.0
    typed = 1 - _slips(a, b) / max(len(a), len(b))
    return max(typed, _SOUNDS_ALIKE) if typed >= proof else typed


def _slips(a: str, b: str) -> int:
    """Letters added, left out, changed or swapped with their neighbour (optimal string
    alignment), by bit vectors: H. Hyyrö, 'A bit-vector algorithm for computing Levenshtein and
    Damerau edit distances', 2003."""
    places: dict[str, int] = {}
    for place, letter in enumerate(a):
        places[letter] = places.get(letter, 0) | 1 << place
    full = (1 << len(a)) - 1
    last = 1 << (len(a) - 1)
    up, down, diagonal, before = full, 0, 0, 0
    distance = len(a)
    for letter in b:
        here = places.get(letter, 0)
        swapped = (((~diagonal) & here) << 1) & before
        diagonal = (((here & up) + up) ^ up) | here | down | swapped
        right = down | ~(diagonal | up) & full
        left = diagonal & up
        if right & last:
            distance += 1
        elif left & last:
            distance -= 1
        right = (right << 1 | 1) & full
        up = (left << 1 | ~(diagonal | right)) & full
        down = diagonal & right
        before = here
    return distance
