"""White PNG images, for maps that a material gives as a number."""

from __future__ import annotations

import struct
import zlib

_MOST_TEXELS = 1 << 30
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3
"""Colour types of PNG."""


def white_image(width: int, height: int, colour: bool) -> bytes:
    """Return a PNG of white texels, one bit each: grey, or with a palette where `colour`.

    A size that no texture has, as a damaged header may claim, gives a single texel.
    """
    if width * height > _MOST_TEXELS:
        width = height = 1
    header = struct.pack(">IIBBBBB", width, height, 1, _PALETTE if colour else _GREY, 0, 0, 0)
    row = b"\0" + (b"\0" if colour else b"\xff") * ((width + 7) // 8)
    packer = zlib.compressobj(1)
    body = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    palette = [(b"PLTE", b"\xff\xff\xff")] if colour else []
    chunks = [(b"IHDR", header), *palette, (b"IDAT", body), (b"IEND", b"")]
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
