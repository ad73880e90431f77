"""The configuration of an embedded PostgreSQL server: durable, silent about data, small."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from polyclinic.core.errors import Refusal

_DEFAULTS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "wal_level": "logical",
    "max_wal_senders": "16",
    "max_replication_slots": "16",
    "min_wal_size": "128MB",
    "max_wal_size": "1GB",
    # A replica that is gone for good must not fill the disk; it is made anew instead.
    "max_slot_wal_keep_size": "4GB",
    "shared_preload_libraries": "pg_stat_statements",
    # Statements are kept with their constants replaced; utility statements would keep theirs.
    "pg_stat_statements.track_utility": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_statement": "none",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    # An ERROR goes to its client. Its message quotes input ('invalid input syntax for type
    # integer: "..."'), so it stays out of the log; LOG, FATAL and PANIC remain.
    "log_min_messages": "log",
}


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What differs between nodes. `port` only names the socket file; `extra` wins over all."""

    shared_buffers_mib: int = 128
    max_connections: int = 100
    port: int = 5432
    extra: Mapping[str, str] = field(default_factory=dict)

    def render(self, socket: Path) -> str:
        """The text of a PostgreSQL configuration file."""
        settings = {
            **_DEFAULTS,
            "shared_buffers": f"{self.shared_buffers_mib}MB",
            "max_connections": str(self.max_connections),
            "port": str(self.port),
            "unix_socket_directories": _quote_list_item(socket),
            **self.extra,
        }
        lines = [_render_setting(name, value) for name, value in settings.items()]
        return "\n".join(["# Rewritten at each start. Use ALTER SYSTEM for your own.", *lines, ""])


def _render_setting(name: str, value: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_.]*", name) or "\n" in value:
        raise Refusal(f"Not a PostgreSQL setting: {name!r}")
    quoted = value.replace("\\", "\\\\").replace("'", "''")
    return f"{name} = '{quoted}'"


def _quote_list_item(path: Path) -> str:
    return '"' + str(path).replace('"', '""') + '"'
