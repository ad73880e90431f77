"""Where this installation's two databases are, and how each role gets in."""

import os
import secrets
from typing import Literal

from polyclinic.core.errors import Fault
from polyclinic.db.embedded import EmbeddedServer
from polyclinic.db.roles import APP
from polyclinic.db.secret_files import SecretFile
from polyclinic.settings import Settings

Database = Literal["control", "shard"]
EMBEDDED_NAMES: dict[Database, str] = {
    "control": "polyclinic_control",
    "shard": "polyclinic_shard",
}
SHARD_REFERENCE = "setting:shard"
"""How the directory refers to the one shard that the settings describe."""


class UnknownReference(Fault):
    """A node's DSN reference names no secret that this process can reach."""

    code = "unknown-dsn-reference"


class Databases:
    """Connection strings by database and role, from the settings or the embedded server."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server: EmbeddedServer | None = None

    def admin(self, database: Database) -> str:
        """As a role that may create roles and migrate. Raises `NotRunning`."""
        if self._settings.external is not None:
            return self._settings.external.admin(database)
        return self._embedded().dsn(EMBEDDED_NAMES[database])

    def as_role(self, database: Database, role: str) -> str:
        """As one of the roles of `db/roles.py`. Raises `NotRunning`."""
        if self._settings.external is not None:
            return self._settings.external.as_role(database, role, self.password() or "")
        return self._embedded().dsn(EMBEDDED_NAMES[database], user=role)

    def resolve(self, reference: str) -> str:
        """The application's connection string for a node's `dsn_reference`."""
        if reference == SHARD_REFERENCE:
            return self.as_role("shard", APP)
        if reference.startswith("env:") and reference[4:] in os.environ:
            return os.environ[reference[4:]]
        raise UnknownReference(f"no secret for the DSN reference {reference!r}")

    def password(self) -> str | None:
        """The application role's password; None where the embedded socket is the lock."""
        if self._settings.external is None:
            return None
        if self._settings.app_password is not None:
            return self._settings.app_password.get_secret_value()
        kept = SecretFile(self._settings.data_dir / "app-password")
        return kept.read() or kept.create_once(secrets.token_urlsafe(24))

    def _embedded(self) -> EmbeddedServer:
        if self._server is None:
            self._server = EmbeddedServer.attach(self._settings.data_dir / "postgres")
        return self._server
