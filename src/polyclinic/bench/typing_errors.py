"""What people type who look for a name: its beginning, or all of it with slips."""

from random import Random
from string import ascii_lowercase

from polyclinic.core.names import normal_form


def beginning(name: str, random: Random) -> str:
    """Two to five letters of a word of the name."""
    words = _shuffled(name, random)
    return words[0][: random.randint(2, 5)] if words else name


def word_and_beginning(name: str, random: Random) -> str:
    """A word of the name, and one to three letters of another."""
    words = _shuffled(name, random)
    if len(words) < 2:
        return beginning(name, random)
    return f"{words[0]} {words[1][: random.randint(1, 3)]}"


def misspelt(name: str, random: Random) -> str:
    """The name in Latin letters, however it is written, with a slip in its longest word; every
    other time with its words in another order."""
    words = normal_form(name).split()
    longest = max(range(len(words)), key=lambda place: len(words[place]), default=None)
    if longest is None:
        return name
    words[longest] = _with_slip(words[longest], random)
    if random.random() < 0.5:
        words.reverse()
    return " ".join(words)


def _shuffled(name: str, random: Random) -> list[str]:
    words = [word for word in normal_form(name).split() if len(word) > 1]
    random.shuffle(words)
    return words


def _with_slip(word: str, random: Random) -> str:
    """One letter left out, doubled, changed, or swapped with its neighbour; not the first."""
    if len(word) < 4:
        return word + random.choice(ascii_lowercase)
    at = random.randrange(1, len(word) - 1)
    head, letter, tail = word[:at], word[at], word[at + 1 :]
    return random.choice(
        (
            head + tail,
            head + letter * 2 + tail,
            head + random.choice(ascii_lowercase) + tail,
            head + tail[0] + letter + tail[1:],
        )
    )
