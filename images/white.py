"""White PNG images, for maps that a material gives as a number, and whether an image has alpha."""

from __future__ import annotations

import struct
import zlib

from images.sources import SourceImage

_MOST_TEXELS = 1 << 30
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE, _GREY_ALPHA, _RGB_ALPHA = 0, 3, 4, 6
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


def has_alpha(image: SourceImage) -> bool:
    """Whether a PNG, JPEG or WebP image says in its header that it has alpha."""
    if image.data is None:
        with image.path.open("rb") as file:
            start = file.read(1 << 16)
    else:
        start = image.data[: 1 << 16]
    if start.startswith(_SIGNATURE) and len(start) > 25:
        colour_type = start[25]
        return colour_type in (_GREY_ALPHA, _RGB_ALPHA) or (
            colour_type == _PALETTE and b"tRNS" in start.partition(b"IDAT")[0]
        )
    if start[:4] == b"RIFF" and len(start) > 24:
        # A bit of the extended header, or of the lossless one.
        return bool(start[12:16] == b"VP8X" and start[20] & 0x10 or start[12:16] == b"VP8L" and start[24] & 0x10)
    return False
