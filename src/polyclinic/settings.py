"""What an operator sets, by environment variable. Secrets are named here and kept elsewhere."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DATA_DIRECTORY = Path(".polyclinic")


class Settings(BaseSettings):
    """Read from `POLYCLINIC_*` (and the two conventional database variables).

    Without `DATABASE_URL` the embedded PostgreSQL of `data_dir` is used.
    """

    model_config = SettingsConfigDict(env_prefix="POLYCLINIC_", extra="ignore")

    data_dir: Path = DATA_DIRECTORY
    database_url: Annotated[
        SecretStr | None,
        Field(validation_alias=AliasChoices("DATABASE_URL", "POLYCLINIC_DATABASE_URL")),
    ] = None
    """The shard's server, as a role that may migrate it."""
    control_database_url: Annotated[
        SecretStr | None,
        Field(
            validation_alias=AliasChoices("CONTROL_DATABASE_URL", "POLYCLINIC_CONTROL_DATABASE_URL")
        ),
    ] = None
    """The control database; by default `<shard database>_control` on the same server."""
    app_password: SecretStr | None = None
    """Password of the role `polyclinic_app` on a real server; unset: made and kept in `data_dir`."""
    data_keys: SecretStr | None = None
    """`id:key,id:key`, active first; by default the file `data-keys` in `data_dir`."""

    oidc_issuer: str | None = None
    oidc_audience: str | None = None
    oidc_jwks_url: str | None = None
    oidc_subject_claim: str = "sub"
    oidc_organization_claim: str = "org_id"
    oidc_role_claim: str | None = None
    oidc_leeway_s: Annotated[int, Field(ge=0, le=300)] = 60

    reads_from: Literal["primary", "replica"] = "primary"
    """`replica`: reads of patients go to the shard's replicas, and may be a moment behind."""
    pool_size: Annotated[int, Field(ge=1, le=200)] = 16
    pool_max_waiting: Annotated[int, Field(ge=0)] = 1000
    pool_max_wait_s: Annotated[float, Field(gt=0, le=60)] = 2.0
    statement_timeout_s: Annotated[float, Field(gt=0, le=300)] = 5.0
    request_timeout_s: Annotated[float, Field(gt=0, le=300)] = 20.0
    max_body_bytes: Annotated[int, Field(ge=1024)] = 1024 * 1024
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("oidc_issuer", "oidc_audience", "oidc_role_claim", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: str | None) -> str | None:
        return value or None

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @cached_property
    def external(self) -> "ExternalServer | None":
        """The real server that is configured, or None for the embedded one."""
        if self.database_url is None:
            return None
        shard = self.database_url.get_secret_value()
        control = self.control_database_url
        return ExternalServer(shard, control.get_secret_value() if control else beside(shard))


class ExternalServer:
    """Two databases on a real server, as the migrating role and as others."""

    def __init__(self, shard: str, control: str) -> None:
        self._urls = {"shard": shard, "control": control}

    def admin(self, database: Literal["shard", "control"]) -> str:
        return self._urls[database]

    def as_role(self, database: Literal["shard", "control"], role: str, password: str) -> str:
        """The same database, signed in as another role."""
        parts = urlsplit(self._urls[database])
        address = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{role}:{quote(password, safe='')}@{address}"))


def database_name(url: str) -> str:
    return urlsplit(url).path.lstrip("/") or "postgres"


def beside(url: str) -> str:
    """The URL of the control database that belongs to a shard database."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{database_name(url)}_control"))
