"""Answers over 1 KiB as zstd, or gzip for clients that know only that (RFC 8878, RFC 9110)."""

from io import BytesIO
from typing import ClassVar

import zstandard
from litestar.config.compression import CompressionConfig
from litestar.middleware.compression.facade import CompressionFacade

_FAST = zstandard.ZstdCompressor(level=3)


class ZstdCompression(CompressionFacade):
    """Litestar's interface to a compressor, for zstd."""

    encoding: ClassVar[str] = "zstd"

    def __init__(
        self, buffer: BytesIO, compression_encoding: str, config: CompressionConfig
    ) -> None:
        self._writer = _FAST.stream_writer(buffer, closefd=False)

    def write(self, body: bytes) -> None:
        self._writer.write(body)
        self._writer.flush(zstandard.FLUSH_BLOCK)

    def close(self) -> None:
        self._writer.close()  # type: ignore[no-untyped-call]


compression = CompressionConfig(
    backend="zstd", compression_facade=ZstdCompression, minimum_size=1024, gzip_compress_level=5
)
