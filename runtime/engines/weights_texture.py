"""The weights as a texture, for engines whose materials read nothing else."""

from __future__ import annotations

import numpy as np

from runtime.specialise import WEIGHTS_TEXTURE_WIDTH


def weights_texture(data: bytes, texel_bytes: int = 4) -> np.ndarray:
    """Return `weights.bin` row after row, padded with zeros: uint8 `[H, 256, texel_bytes]`.

    `texel_bytes`: 4 for RGBA8, 16 for a word a texel.

    >>> weights_texture(bytes(1500)).shape
    (2, 256, 4)
    """
    padded = data + bytes(-len(data) % (WEIGHTS_TEXTURE_WIDTH * texel_bytes))
    return np.frombuffer(padded, np.uint8).reshape(-1, WEIGHTS_TEXTURE_WIDTH, texel_bytes)
