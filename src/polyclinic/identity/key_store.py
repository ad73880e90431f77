"""The key ring that this process uses, kept up with rotations done by another process.

The ring (file or setting) says which keys there are; the shard's `data_keys` says which is active,
so that a rotation cut off between the two leaves nothing undecided.
"""

from collections.abc import Callable

from polyclinic.core.keys import KeyRing, UnknownKey


class KeyStore:
    """Opens and seals with the newest ring it knows, and reads it anew when a key is unknown."""

    def __init__(self, load: Callable[[], KeyRing]) -> None:
        self._load = load
        self.ring = load()

    def follow(self, active_id: str) -> None:
        """Seal with this key from now on. Raises `UnknownKey` where the ring lacks it."""
        try:
            self.ring = self.ring.with_active(active_id)
        except UnknownKey:
            self.ring = self._load().with_active(active_id)

    def open(self, sealed: bytes, *, bound_to: bytes) -> str:
        """The plaintext. Raises `UnknownKey` where even the ring on disk lacks the key."""
        try:
            return self.ring.open(sealed, bound_to=bound_to)
        except UnknownKey:
            active_id = self.ring.active_id
            self.ring = self._load().with_active(active_id)
            return self.ring.open(sealed, bound_to=bound_to)
