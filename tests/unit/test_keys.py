import base64
import hmac
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from polyclinic.core.keys import (
    InvalidKeyRing,
    KeyRing,
    SealBroken,
    UnknownKey,
)
from polyclinic.db.secret_files import KeyFile, SecretFile

RING = KeyRing.generate(key_id="k1")
PHONE = b"patient-1/phone"


def encoded_key(fill: int) -> str:
    return base64.urlsafe_b64encode(bytes([fill]) * 32).rstrip(b"=").decode()


@given(text=st.text(), bound_to=st.binary())
def test_a_sealed_value_opens_to_what_was_sealed(text: str, bound_to: bytes) -> None:
    assert RING.open(RING.seal(text, bound_to=bound_to), bound_to=bound_to) == text


@given(sealed_for=st.binary(), opened_for=st.binary())
def test_a_value_moved_to_another_row_or_field_does_not_open(
    sealed_for: bytes, opened_for: bytes
) -> None:
    sealed = RING.seal("+40721234567", bound_to=sealed_for)
    if sealed_for == opened_for:
        assert RING.open(sealed, bound_to=opened_for) == "+40721234567"
    else:
        with pytest.raises(SealBroken):
            RING.open(sealed, bound_to=opened_for)


@given(data=st.data(), flip=st.integers(1, 255))
def test_a_change_of_any_byte_is_noticed(data: st.DataObject, flip: int) -> None:
    sealed = bytearray(RING.seal("+40721234567", bound_to=PHONE))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= flip
    with pytest.raises((SealBroken, UnknownKey)):
        RING.open(bytes(sealed), bound_to=PHONE)


@given(cut=st.integers(0, 100), noise=st.binary(max_size=80))
def test_a_cut_or_foreign_value_never_opens(cut: int, noise: bytes) -> None:
    sealed = RING.seal("+40721234567", bound_to=PHONE)
    for broken in (sealed[: min(cut, len(sealed) - 1)], noise):
        with pytest.raises((SealBroken, UnknownKey)):
            RING.open(broken, bound_to=PHONE)


def test_equal_values_are_sealed_differently() -> None:
    assert RING.seal("a", bound_to=PHONE) != RING.seal("a", bound_to=PHONE)


@given(text=st.text())
def test_a_rotated_ring_opens_what_the_old_one_sealed(text: str) -> None:
    sealed = RING.seal(text, bound_to=PHONE)
    rotated = RING.with_new_active(key_id="k2")
    assert rotated.key_ids == ("k2", "k1")
    assert rotated.open(sealed, bound_to=PHONE) == text
    assert KeyRing.key_id_of(rotated.seal(text, bound_to=PHONE)) == "k2"


def test_a_key_that_is_not_in_the_ring_is_named() -> None:
    rotated = RING.with_new_active(key_id="k2")
    with pytest.raises(UnknownKey, match="'k2'") as refused:
        RING.open(rotated.seal("a", bound_to=PHONE), bound_to=PHONE)
    assert refused.value.key_id == "k2"
    assert refused.value.facts() == {"key_id": "k2"}


def test_a_different_key_under_the_same_id_does_not_open() -> None:
    with pytest.raises(SealBroken):
        KeyRing.generate(key_id="k1").open(RING.seal("a", bound_to=PHONE), bound_to=PHONE)


def test_generated_ids_differ_so_that_a_lost_ring_is_not_mistaken_for_its_successor() -> None:
    first, second = KeyRing.generate(), KeyRing.generate()
    assert first.active_id != second.active_id
    with pytest.raises(UnknownKey):
        second.open(first.seal("a", bound_to=PHONE), bound_to=PHONE)


@given(value=st.text(), other=st.text())
def test_fingerprints_are_equal_exactly_for_equal_values(value: str, other: str) -> None:
    found = RING.fingerprint(value, purpose="phone")
    assert len(found) == 32
    assert (found == RING.fingerprint(other, purpose="phone")) is (value == other)


@given(text=st.text(min_size=1, max_size=20), at=st.integers(0, 20), to=st.integers(0, 20))
def test_a_purpose_and_a_value_never_run_together(text: str, at: int, to: int) -> None:
    one = RING.fingerprint(text[at:], purpose=text[:at])
    other = RING.fingerprint(text[to:], purpose=text[:to])
    assert (one == other) is (text[:at] == text[:to])


def expected_derivation(master: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 of one block, written out from RFC 5869."""
    extracted = hmac.digest(bytes(32), master, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def test_stored_values_stay_readable_and_findable_in_every_later_version() -> None:
    ring = KeyRing.parse(f"k1:{encoded_key(7)}")
    seal_key = expected_derivation(b"\x07" * 32, b"polyclinic/contact/seal/v1")
    header, nonce = b"\x01\x02k1", b"n" * 12
    stored = header + nonce + AESGCM(seal_key).encrypt(nonce, "Ω1".encode(), header + PHONE)
    assert ring.open(stored, bound_to=PHONE) == "Ω1"
    find_key = expected_derivation(b"\x07" * 32, b"polyclinic/contact/fingerprint/v1")
    indexed = hmac.digest(find_key, b"\x05phone" + "Ω1".encode(), "sha256")
    assert ring.fingerprint("Ω1", purpose="phone") == indexed


def test_fingerprints_cover_every_key_active_first() -> None:
    rotated = RING.with_new_active()
    old, new = (ring.fingerprint("a", purpose="phone") for ring in (RING, rotated))
    assert rotated.fingerprints("a", purpose="phone") == [new, old]
    assert old != new


def test_a_dumped_ring_is_parsed_back() -> None:
    rotated = RING.with_new_active(key_id="k2")
    again = KeyRing.parse(rotated.dump())
    assert again.key_ids == rotated.key_ids
    assert again.open(RING.seal("a", bound_to=PHONE), bound_to=PHONE) == "a"


def test_a_ring_may_be_written_with_spaces_lines_and_padding() -> None:
    text = f" k2 : {encoded_key(2)}= ,\n k1:{encoded_key(1)}\n"
    assert KeyRing.parse(text).key_ids == ("k2", "k1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "key 1 of 1: expected `id:key`"),
        ("SECRET", "key 1 of 1: expected `id:key`"),
        ("k1:SECRET", "key 1 of 1: a key is 32 bytes in base64url"),
        (f"k1:{encoded_key(1)},k0:SECRET", "key 2 of 2: a key is 32 bytes"),
        (f"{'SECRET' * 7}:k1", "key 1 of 1: an id is"),
        (f":{encoded_key(1)}", "key 1 of 1: an id is"),
        (f"k1:{encoded_key(1)}SECRET", "key 1 of 1: a key is 32 bytes"),
        (f"k1:{encoded_key(1)},", "key 2 of 2: expected `id:key`"),
        (f"k1:{encoded_key(1)},k1:{encoded_key(2)}", "key 2 of 2: its id is taken"),
        (f"k1:{encoded_key(1)},k2:{encoded_key(1)}", "key 2 of 2: the same key"),
    ],
)
def test_a_bad_ring_is_refused_by_place_and_never_echoed(text: str, message: str) -> None:
    with pytest.raises(InvalidKeyRing, match=message) as refused:
        KeyRing.parse(text)
    assert "SECRET" not in str(refused.value)
    assert encoded_key(1) not in str(refused.value)


def test_a_bad_or_taken_id_is_refused_for_a_new_key() -> None:
    for key_id in ("", "k:1", "k,1", "k" * 25, "ключ"):
        with pytest.raises(InvalidKeyRing):
            KeyRing.generate(key_id=key_id)
    with pytest.raises(InvalidKeyRing, match="taken"):
        RING.with_new_active(key_id="k1")


def test_no_representation_shows_key_material() -> None:
    secret = RING.dump().removeprefix("k1:")
    raw = base64.urlsafe_b64decode(secret + "=")
    shown = f"{RING!r} {RING} {RING._keys!r} {RING._active}"
    assert "KeyRing(k1)" in shown
    assert secret not in shown
    assert repr(raw)[2:-1] not in shown


def test_a_key_file_is_private_and_keeps_the_ring(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "made" / "keys")
    ring = file.load_or_create()
    assert file.load_or_create().dump() == ring.dump()
    rotated = ring.with_new_active()
    file.save(rotated)
    assert file.load().dump() == rotated.dump()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert [entry.name for entry in file.path.parent.iterdir()] == ["keys"]


def test_a_missing_or_damaged_key_file_is_never_replaced(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys")
    with pytest.raises(InvalidKeyRing, match="no key file"):
        file.load()
    for damaged in ("", "k1:SECRET"):
        file.path.write_text(damaged)
        with pytest.raises(InvalidKeyRing, match="keys: key 1 of 1") as refused:
            file.load_or_create()
        assert "SECRET" not in str(refused.value)
        assert file.path.read_text() == damaged


def test_a_failed_save_leaves_the_old_ring_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = KeyFile(tmp_path / "keys")
    ring = file.load_or_create()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        file.save(ring.with_new_active())
    assert file.load().dump() == ring.dump()
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys"]


def test_the_second_creator_gets_what_the_first_created(tmp_path: Path) -> None:
    file = SecretFile(tmp_path / "secret")
    assert file.create_once("first") == "first"
    assert file.create_once("second") == "first"


RACER = """
import sys
from pathlib import Path
from polyclinic.db.secret_files import KeyFile
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    print(KeyFile(Path(sys.argv[1]) / str(number)).load_or_create().active_id)
"""


def test_processes_that_race_to_create_a_key_file_get_one_ring(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:  # all are waiting at the line now
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    answers = {racer.communicate(timeout=60)[0] for racer in racers}
    assert len(answers) == 1
    assert len(answers.pop().split()) == 20
