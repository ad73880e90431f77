"""Names as search and matching compare them: normal forms, tokens, sound keys, likeness.

Everything here is pure and gives the same answer on every machine: stored tokens and keys must
be computed again (`polyclinic migrate` does not) when a rule changes.
"""

import re
import unicodedata
from itertools import pairwise, permutations
from typing import Final

from polyclinic.core import han
from polyclinic.core.romanisation import plain, romanised

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


# --- how a token sounds -----------------------------------------------------------------------

_DOUBLED = re.compile(r"([a-z])\1+")
_SOUNDS: Final = (
    ("ee", "i"), ("oo", "u"), ("sch", "s"), ("tch", "C"), ("cz", "C"), ("ch", "C"), ("sh", "s"),
    ("zh", "s"), ("ph", "f"), ("kh", "h"), ("gh", "g"), ("th", "t"), ("dh", "t"), ("bh", "b"),
    ("jh", "j"), ("dj", "j"), ("ts", "s"), ("tz", "s"), ("dz", "s"), ("ck", "k"), ("x", "ks"),
    ("ce", "se"), ("ci", "si"), ("owsk", "ovsk"), ("ewsk", "evsk"), ("owic", "ovic"),
    ("ewic", "evic"), ("vic", "viC"), ("john", "jon"), ("cohn", "con"),
    ("kohn", "kon"), ("kowal", "koval"),
)  # fmt: skip
_INITIAL_S = re.compile("^(?:x|hs)")  # pinyin, Wade-Giles
_HARD_CH = re.compile("C(?=[bdfgklmnprstvz])")
# Voice is not told apart: Ahmet is Ahmed, Gim is Kim, and Japanese joins voice their second part.
_CLASSES: Final = str.maketrans("Ccqgdbzv", "ckkktpsf", "aeiouwy")
_VOWEL_AT_START: Final = {**dict.fromkeys("aeiou", "a"), "y": "j", "j": "j", "w": "f"}
_VOWEL_AT_END: Final = {**dict.fromkeys("iy", "i"), **dict.fromkeys("ouw", "u"), "a": "a"}


def sound_key(token: str) -> str:
    """One key for the spellings of one name, from a token of the normal form: its consonants
    by class of sound, and marks for a vowel at either end. '' only for a token without letters
    and digits.

    Vowels inside are dropped because Arabic does not write them; y and w there are vowels.
    """
    sound = _INITIAL_S.sub("s", token)
    for written, heard in _SOUNDS:
        if written in sound:
            sound = sound.replace(written, heard)
    sound = _DOUBLED.sub(r"\1", _HARD_CH.sub("k", sound))
    if len(sound) > 1 and sound[-1] == "h":
        sound = sound[:-1]
    return _marked(sound) or token


def _marked(sound: str) -> str:
    first = sound[:1]
    if sound[:2] in {"ye", "yi"}:  # Yelena is Elena, Yi is I
        first = "e"
    head = _VOWEL_AT_START.get(first, "")
    body = head + sound[head == "j" :].translate(_CLASSES)
    tail = _VOWEL_AT_END.get(sound[-1:], "") if len(sound) > 1 else ""
    # Only the shortest names need to know which vowel it was.
    return body + ("a" if tail and len(body) > 1 else tail)


# --- likeness ---------------------------------------------------------------------------------

LIKE_AT: Final = 0.8
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
    return sorted(normal_form(name).split()[:MAX_QUERY_TOKENS])


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
        (_word_likeness(a, b, alike=heard[a] == heard[b], lenient=across_scripts), row, column)
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


def _word_likeness(a: str, b: str, *, alike: bool, lenient: bool) -> float:
    """`alike` says that they sound so; `lenient`, that one of them had no Latin vowels to show."""
    if len(a) == 1 or len(b) == 1:
        return _INITIAL if a[0] == b[0] else 0.0
    typed = 1 - SLIP * _slips(a, b) / max(len(a), len(b))
    if alike and typed < _SOUNDS_ALIKE:
        # John and Jane have one key: two consonants prove little where vowels are written.
        if lenient or typed >= 0.6 or len(sound_key(a).replace("a", "")) >= 3:
            return _SOUNDS_ALIKE
    return max(0.0, typed)

SLIP=1.0

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
