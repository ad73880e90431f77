"""Secrets of an installation that are kept in files which only their owner reads."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from polyclinic.core.keys import InvalidKeyRing, KeyRing


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A small text file of mode 0600 that is always either absent or whole."""

    path: Path

    def read(self) -> str | None:
        """The content, or `None` where there is no file."""
        try:
            return self.path.read_text("utf-8")
        except FileNotFoundError:
            return None

    def replace(self, text: str) -> None:
        """Put `text` in place of what is there; after a crash the file is the old or the new."""
        with self._temporary(text) as temporary:
            temporary.replace(self.path)

    def create_once(self, text: str) -> str:
        """The content after creation: `text`, or that of the process that came first."""
        # A link, unlike a rename, fails when the name is taken, and the file it shows is whole.
        with self._temporary(text) as temporary, contextlib.suppress(FileExistsError):
            os.link(temporary, self.path)
        return self.path.read_text("utf-8")

    @contextlib.contextmanager
    def _temporary(self, text: str) -> Iterator[Path]:
        directory = self.path.parent
        directory.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=directory, prefix=f".{self.path.name}.")
        temporary = Path(name)  # mkstemp made it with mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
            _fsync_directory(directory)
        finally:
            temporary.unlink(missing_ok=True)


def _fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class KeyFile:
    """A key ring kept in a file that only its owner reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = SecretFile(path)

    def load(self) -> KeyRing:
        """The ring in the file. Raises `InvalidKeyRing`, also where there is no file."""
        text = self._file.read()
        if text is None:
            raise InvalidKeyRing(f"{self.path}: no key file here; restore it from its backup")
        return self._parse(text)

    def save(self, ring: KeyRing) -> None:
        """Replace the file. The last of two simultaneous callers wins."""
        self._file.replace(ring.dump() + "\n")

    def load_or_create(self) -> KeyRing:
        """The ring in the file, made now if there is none; processes that race get one ring."""
        text = self._file.read()
        return self._parse(text or self._file.create_once(KeyRing.generate().dump() + "\n"))

    def _parse(self, text: str) -> KeyRing:
        try:
            return KeyRing.parse(text)
        except InvalidKeyRing as error:
            raise InvalidKeyRing(f"{self.path}: {error}") from None
