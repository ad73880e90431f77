"""Data keys: how a patient's contact fields are sealed at rest and found without being read.

Invariants:
1. A master key encrypts nothing itself. HKDF-SHA256 derives one key that seals and one that
   fingerprints, so neither can stand in for the other (RFC 5869).
2. A sealed value opens only where it was sealed: `bound_to` (row id and field name) and the
   value's own header are authenticated with it (AES-256-GCM, NIST SP 800-38D).
3. Key ids are random, never counted: after the loss of a key file a new ring raises
   `UnknownKey` instead of trying a different key under an old id.
4. Key material appears in no message and no repr.

Nonces are random, so one key seals at most 2**32 values (SP 800-38D, 8.3); rotate long before.
"""

import base64
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from typing import Any, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from polyclinic.core.errors import Fault

KEY_BYTES: Final = 32
_VERSION: Final = 1
_HEADER_BYTES: Final = 2  # version, length of the key id
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
# An id is shorter than a key in base64url: a key written in the id's place is refused.
_KEY_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,23}")
_KEY_TEXT: Final = re.compile(r"[A-Za-z0-9_-]{43}=?")


class InvalidKeyRing(Fault):
    """The text or file that should hold data keys does not; the message says where and why."""

    code = "invalid-key-ring"


class UnknownKey(Fault):
    """A value was sealed under a key that this ring does not hold."""

    code = "unknown-key"

    def __init__(self, key_id: str) -> None:
        super().__init__(f"no data key {key_id!r} in the key ring")
        self.key_id = key_id

    def facts(self) -> dict[str, Any]:
        return {"key_id": self.key_id}


class SealBroken(Fault):
    """A sealed value was changed, cut short, or belongs to another row or field."""

    code = "seal-broken"

    def __init__(self) -> None:
        super().__init__("a sealed value does not open: it was changed or belongs elsewhere")


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class DataKey:
    """A master key with what is derived from it, ready for use."""

    key_id: str
    master: bytes
    header: bytes
    aead: AESGCM
    fingerprint_key: bytes

    @classmethod
    def derive(cls, key_id: str, master: bytes) -> Self:
        encoded_id = key_id.encode("ascii")
        return cls(
            key_id=key_id,
            master=master,
            header=bytes((_VERSION, len(encoded_id))) + encoded_id,
            aead=AESGCM(_hkdf(master, b"polyclinic/contact/seal/v1")),
            fingerprint_key=_hkdf(master, b"polyclinic/contact/fingerprint/v1"),
        )

    def __repr__(self) -> str:
        return f"DataKey({self.key_id!r})"


def _hkdf(master: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(master)


class KeyRing:
    """The data keys of an installation, immutable; the first one is active.

    The active key seals and fingerprints; all of them open.
    """

    __slots__ = ("_active", "_by_id", "_keys")

    def __init__(self, keys: tuple[DataKey, ...]) -> None:
        if not keys:
            raise InvalidKeyRing("a key ring needs at least one key")
        self._keys = keys
        self._active = keys[0]
        self._by_id = {key.key_id.encode("ascii"): key for key in keys}

    @classmethod
    def parse(cls, text: str) -> Self:
        """The ring written as `id:key,id:key`, active first; keys are 32 bytes in base64url.

        Raises `InvalidKeyRing`, which names the entry's place and never its content.
        """
        entries = [entry.strip() for entry in text.strip().split(",")]
        keys: list[DataKey] = []
        for place, entry in enumerate(entries, 1):
            where = f"key {place} of {len(entries)}"
            key = _parse_entry(entry, where)
            _require_distinct(key, keys, where)
            keys.append(key)
        return cls(tuple(keys))

    @classmethod
    def generate(cls, *, key_id: str | None = None) -> Self:
        """A ring of one new random key; without `key_id` its id is random too."""
        return cls((_new_key(key_id),))

    def with_new_active(self, *, key_id: str | None = None) -> "KeyRing":
        """This ring with a new random key in front; the older keys still open."""
        new = _new_key(key_id)
        _require_distinct(new, list(self._keys), "the new key")
        return KeyRing((new, *self._keys))

    def with_active(self, key_id: str) -> "KeyRing":
        """This ring with one of its keys in front. Raises `UnknownKey`."""
        chosen = self._by_id.get(key_id.encode("ascii", "replace"))
        if chosen is None:
            raise UnknownKey(key_id)
        return KeyRing((chosen, *(key for key in self._keys if key is not chosen)))

    def dump(self) -> str:
        """The text that `parse` reads. It holds the keys themselves."""
        return ",".join(f"{key.key_id}:{_encode(key.master)}" for key in self._keys)

    @property
    def active_id(self) -> str:
        return self._active.key_id

    @property
    def key_ids(self) -> tuple[str, ...]:
        return tuple(key.key_id for key in self._keys)

    def seal(self, plaintext: str, *, bound_to: bytes) -> bytes:
        """Version, key id, nonce and ciphertext; opens only with the same `bound_to`."""
        key = self._active
        nonce = os.urandom(_NONCE_BYTES)
        body = key.aead.encrypt(nonce, plaintext.encode(), key.header + bound_to)
        return key.header + nonce + body

    def open(self, sealed: bytes, *, bound_to: bytes) -> str:
        """The plaintext. Raises `UnknownKey`, `SealBroken`."""
        start = _nonce_start(sealed)
        key = self._by_id.get(sealed[_HEADER_BYTES:start])
        if key is None:
            raise UnknownKey(self.key_id_of(sealed))
        body = start + _NONCE_BYTES
        try:
            plain = key.aead.decrypt(sealed[start:body], sealed[body:], key.header + bound_to)
        except InvalidTag:
            raise SealBroken from None
        return plain.decode()

    def fingerprint(self, value: str, *, purpose: str) -> bytes:
        """HMAC-SHA-256 of the value under the active key: 32 bytes, equal for equal values.

        The caller normalises the value; different purposes never give the same fingerprint.
        """
        return hmac.digest(self._active.fingerprint_key, _labelled(value, purpose), "sha256")

    def fingerprints(self, value: str, *, purpose: str) -> list[bytes]:
        """The fingerprint under every key, active first: what to look for during a rotation."""
        message = _labelled(value, purpose)
        return [hmac.digest(key.fingerprint_key, message, "sha256") for key in self._keys]

    @staticmethod
    def key_id_of(sealed: bytes) -> str:
        """The id of the key that a value was sealed under. Raises `SealBroken`."""
        key_id = sealed[_HEADER_BYTES : _nonce_start(sealed)].decode("ascii", "replace")
        if _KEY_ID.fullmatch(key_id) is None:
            raise SealBroken
        return key_id

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self.key_ids)})"


def _nonce_start(sealed: bytes) -> int:
    if len(sealed) < _HEADER_BYTES or sealed[0] != _VERSION:
        raise SealBroken
    start = _HEADER_BYTES + sealed[1]
    if len(sealed) < start + _NONCE_BYTES + _TAG_BYTES:
        raise SealBroken
    return start


def _labelled(value: str, purpose: str) -> bytes:
    # The length in front keeps ("ab", "c") and ("a", "bc") apart.
    label = purpose.encode()
    return bytes((len(label),)) + label + value.encode()


def _new_key(key_id: str | None) -> DataKey:
    name = f"k{secrets.token_hex(4)}" if key_id is None else key_id
    if _KEY_ID.fullmatch(name) is None:
        raise InvalidKeyRing("a key id is 1 to 24 letters, digits, '-' or '_'")
    return DataKey.derive(name, secrets.token_bytes(KEY_BYTES))


def _parse_entry(entry: str, where: str) -> DataKey:
    key_id, colon, encoded = (part.strip() for part in entry.partition(":"))
    if not colon:
        raise InvalidKeyRing(f"{where}: expected `id:key`, found no colon")
    if _KEY_ID.fullmatch(key_id) is None:
        raise InvalidKeyRing(f"{where}: an id is 1 to 24 letters, digits, '-' or '_'")
    if _KEY_TEXT.fullmatch(encoded) is None:
        raise InvalidKeyRing(f"{where}: a key is 32 bytes in base64url (43 characters)")
    return DataKey.derive(key_id, base64.urlsafe_b64decode(encoded.rstrip("=") + "="))


def _require_distinct(key: DataKey, others: list[DataKey], where: str) -> None:
    for other in others:
        if other.key_id == key.key_id:
            raise InvalidKeyRing(f"{where}: its id is taken by an earlier key")
        if hmac.compare_digest(other.master, key.master):
            raise InvalidKeyRing(f"{where}: the same key stands under an earlier id")


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
