"""Structured logs: one JSON line an event on standard output. Ids and times, never a person's data."""

import logging
from typing import Any

import msgspec
import structlog

_encode = msgspec.json.Encoder(enc_hook=str).encode


def configure_logs(level: str) -> None:
    """Send structlog's events, and the standard library's warnings, out as JSON lines."""
    logging.basicConfig(level=logging.WARNING, format='{"level":"warning","event":"%(name)s"}')
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _as_json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.BytesLoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _as_json(_: Any, __: str, event: structlog.typing.EventDict) -> bytes:
    return _encode(event)
