"""Answers over 1 KiB as zstd, or gzip for clients that know only that (RFC 8878, RFC 9110)."""

import gzip

import zstandard

MINIMUM_BYTES = 1024
_zstd = zstandard.ZstdCompressor(level=3)


def encoding_for(accepted: str) -> str | None:
    """The best encoding that an Accept-Encoding header names, or None."""
    offers = dict(_offer(part) for part in accepted.lower().split(","))
    return next((name for name in ("zstd", "gzip") if offers.get(name, 0) > 0), None)


def compress(body: bytes, encoding: str) -> bytes:
    return _zstd.compress(body) if encoding == "zstd" else gzip.compress(body, 5)


def _offer(part: str) -> tuple[str, float]:
    name, _, parameter = part.strip().partition(";")
    try:
        return name.strip(), float(parameter.strip().removeprefix("q=") or 1)
    except ValueError:
        return name.strip(), 0.0
