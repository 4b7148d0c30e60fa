"""Grids and weights as textures without mips, for engines that make mips of their own and know no buffers."""

from __future__ import annotations

import numpy as np

from runtime.specialise import WEIGHTS_TEXTURE_WIDTH


def grid_atlas(levels: list[np.ndarray]) -> np.ndarray:
    """Return a grid's levels `[r, r, 4]`, finest first, in one texture: level 0 left, the others in a column beside it.

    >>> grid_atlas([np.zeros((4, 4, 4), np.uint8), np.ones((2, 2, 4), np.uint8)]).shape
    (4, 6, 4)
    """
    side = len(levels[0])
    atlas = np.zeros((side, side + (len(levels[1]) if len(levels) > 1 else 0), 4), np.uint8)
    atlas[:, :side] = levels[0]
    row = 0
    for level in levels[1:]:
        atlas[row : row + len(level), side : side + len(level)] = level
        row += len(level)
    return atlas


def weights_texture(data: bytes, texel_bytes: int = 4) -> np.ndarray:
    """Return `weights.bin` row after row, padded with zeros: uint8 `[H, 256, texel_bytes]`.

    `texel_bytes`: 4 for RGBA8, 16 for a word a texel.

    >>> weights_texture(bytes(1500)).shape
    (2, 256, 4)
    """
    padded = data + bytes(-len(data) % (WEIGHTS_TEXTURE_WIDTH * texel_bytes))
    return np.frombuffer(padded, np.uint8).reshape(-1, WEIGHTS_TEXTURE_WIDTH, texel_bytes)
