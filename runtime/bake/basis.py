"""KTX2 files with Basis Universal's UASTC blocks, which glTF's KHR_texture_basisu asks for; encoded by alktx2."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

import numpy as np

from utils.errors import UserError

EFFORT = 3
"""Of 0 to 10: higher ones take several times as long for hundredths of a decibel."""
ZSTD_LEVEL = 15
_DESCRIPTOR_AT = 48
"""Where the header has the byte offset of the data format descriptor."""
_PRIMARIES_AT = 13
_PRIMARIES_UNSPECIFIED = 0


def basis_obstacle(width: int, height: int) -> str | None:
    """Return why a texture of this size cannot be a Basis Universal texture of glTF, or `None` where it can."""
    if width % 4 or height % 4:
        return f"glTF takes KTX2 textures whose sides are multiples of 4, and these are {width} x {height}"
    return None


def basis_ktx2(levels: Sequence[np.ndarray], is_colour: bool) -> bytes:
    """Return a KTX2 file with the levels, finest first, uint8 `[H, W, 1]` (as grey) or `[H, W, 3]`, sRGB or data.

    Raises `UserError` where the encoder is not installed.
    """
    try:
        import alktx2
    except ImportError as error:
        raise UserError(
            "KTX2 textures in glTF need the Basis Universal encoder: pip install alktx2; or use --texture_format png"
        ) from error
    raw = []
    for level in levels:
        rgba = np.full((*level.shape[:2], 4), 255, np.uint8)
        rgba[..., :3] = level
        raw.append((rgba.tobytes(), level.shape[1], level.shape[0]))
    data = bytearray(
        alktx2.encode_raw_mips_to_ktx2(
            raw,
            has_alpha=False,
            check_for_alpha=False,
            codec="uastc",
            quality=100,
            effort=EFFORT,
            srgb=is_colour,
            linear=not is_colour,
            zstd_supercompression_level=ZSTD_LEVEL,
            threads=os.cpu_count() or 1,
        )
    )
    if not is_colour:
        # The encoder names BT.709 for all textures, and glTF asks data not to name any.
        (descriptor,) = struct.unpack_from("<I", data, _DESCRIPTOR_AT)
        data[descriptor + _PRIMARIES_AT] = _PRIMARIES_UNSPECIFIED
    return bytes(data)
