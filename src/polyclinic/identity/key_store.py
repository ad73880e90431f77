"""The key ring that this process uses, kept up with rotations done by another process."""

from collections.abc import Callable

from polyclinic.core.keys import KeyRing, UnknownKey


class KeyStore:
    """Opens and seals with the newest ring it knows, and reads it anew when a key is unknown."""

    def __init__(self, load: Callable[[], KeyRing]) -> None:
        self._load = load
        self.ring = load()

    def reload(self) -> None:
        """Read the ring again; called when another process has changed it."""
        self.ring = self._load()

    def open(self, sealed: bytes, *, bound_to: bytes) -> str:
        """The plaintext. Raises `UnknownKey` where even the ring on disk lacks the key."""
        try:
            return self.ring.open(sealed, bound_to=bound_to)
        except UnknownKey:
            self.reload()
            return self.ring.open(sealed, bound_to=bound_to)
