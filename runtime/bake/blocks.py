"""Block compression of 8-bit maps: BC7, BC5 and BC4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from formats.bc4 import BC4_ENCODER_VERSION, bc4_blocks, bc5_blocks
from formats.bc7 import BLOCK, BLOCK_BYTES, bc7_blocks, bc7_encoder
from images.mips import mip_size

TEXELS_AT_ONCE = 1 << 18
"""Texels of a strip of BC4 and BC5, after which progress is shown and Ctrl-C heeded."""


@dataclass(frozen=True)
class BlockFormat:
    """A block-compressed format under its names in DXGI and Vulkan."""

    name: str
    dxgi: int
    vulkan: int
    block_bytes: int
    is_srgb: bool = False

    def level_bytes(self, width: int, height: int) -> int:
        """Bytes of a level of `width x height` texels, in whole blocks."""
        return -(-width // BLOCK) * -(-height // BLOCK) * self.block_bytes

    def check_levels(self, levels: Sequence[bytes], width: int, height: int) -> None:
        """Raise `ValueError` where levels, finest first, are not those of a texture of `width x height` texels."""
        for mip, level in enumerate(levels):
            expected = self.level_bytes(*mip_size(width, height, mip))
            if len(level) != expected:
                raise ValueError(f"level {mip} has {len(level)} bytes, expected {expected}")


BC4 = BlockFormat("BC4_UNORM", 80, 139, 8)
BC5 = BlockFormat("BC5_UNORM", 83, 141, 16)
BC7 = BlockFormat("BC7_UNORM", 98, 145, BLOCK_BYTES)
BC7_SRGB = BlockFormat("BC7_UNORM_SRGB", 99, 146, BLOCK_BYTES, is_srgb=True)


def encode_blocks(
    texels: np.ndarray, block_format: BlockFormat, progress: Callable[[int], None] | None = None
) -> bytes:
    """Compress uint8 `[H, W, 1]` or `[H, W, 3]`, the last row and column repeated up to whole blocks.

    BC4 takes the first channel, BC5 the first two; BC7 takes three, or one as grey. `progress` is called with the rows
    done since the last call.
    """
    if block_format not in (BC4, BC5):
        rgba = np.full((*texels.shape[:2], 4), 255, np.uint8)
        rgba[..., :3] = texels
        return bc7_blocks(rgba, progress=progress)
    padded = np.pad(texels, ((0, -texels.shape[0] % BLOCK), (0, -texels.shape[1] % BLOCK), (0, 0)), mode="edge")
    rows_at_once = max(BLOCK, TEXELS_AT_ONCE // padded.shape[1] // BLOCK * BLOCK)
    parts = []
    for top in range(0, len(padded), rows_at_once):
        strip = padded[top : top + rows_at_once]
        blocks = bc4_blocks(strip[..., 0]) if block_format == BC4 else bc5_blocks(strip)
        parts.append(blocks.tobytes())
        if progress:
            progress(min(rows_at_once, len(texels) - top))
    return b"".join(parts)


def encoder_of(block_format: BlockFormat) -> str:
    """Return what `encode_blocks` compresses with, and its version."""
    return f"own BC4 {BC4_ENCODER_VERSION}" if block_format in (BC4, BC5) else bc7_encoder()
