"""How a romanised name sounds, as a key that its spellings share."""

import re
from typing import Final

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
_FIRST_SOUND: Final = {**dict.fromkeys("aeiou", "a"), "y": "j", "j": "j", "w": "f"}
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
    head = _FIRST_SOUND.get(first, "")
    body = head + sound[head == "j" :].translate(_CLASSES)
    tail = _VOWEL_AT_END.get(sound[-1:], "") if len(sound) > 1 else ""
    # Only the shortest names need to know which vowel it was.
    return body + ("a" if tail and len(body) > 1 else tail)
