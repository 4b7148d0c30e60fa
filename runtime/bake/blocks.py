"""Block compression of 8-bit maps: BC7 by etcpak, BC5 and BC4."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from formats.bc4 import bc4_blocks, bc5_blocks

BLOCK = 4
"""Texels of a block's side."""
TEXELS_AT_ONCE = 1 << 18


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


BC4 = BlockFormat("BC4_UNORM", 80, 139, 8)
BC5 = BlockFormat("BC5_UNORM", 83, 141, 16)
BC7 = BlockFormat("BC7_UNORM", 98, 145, 16)
BC7_SRGB = BlockFormat("BC7_UNORM_SRGB", 99, 146, 16, is_srgb=True)


def encode_blocks(
    texels: np.ndarray, block_format: BlockFormat, progress: Callable[[int], None] | None = None
) -> bytes:
    """Compress uint8 `[H, W, 1]` or `[H, W, 3]`, the last row and column repeated up to whole blocks.

    BC4 takes the first channel, BC5 the first two; BC7 takes three, or one as grey. `progress` is called with the rows
    done since the last call.
    """
    padded = np.pad(texels, ((0, -texels.shape[0] % BLOCK), (0, -texels.shape[1] % BLOCK), (0, 0)), mode="edge")
    # etcpak does not return in between, and a large map would neither show progress nor heed Ctrl-C.
    rows_at_once = max(BLOCK, TEXELS_AT_ONCE // padded.shape[1] // BLOCK * BLOCK)
    parts = []
    for top in range(0, len(padded), rows_at_once):
        parts.append(_encode(padded[top : top + rows_at_once], block_format))
        if progress:
            progress(min(rows_at_once, len(texels) - top))
    return b"".join(parts)


def _encode(texels: np.ndarray, block_format: BlockFormat) -> bytes:
    if block_format is BC4:
        return bc4_blocks(texels[..., 0]).tobytes()
    if block_format is BC5:
        return bc5_blocks(texels).tobytes()
    import etcpak

    rows, columns = texels.shape[:2]
    rgba = np.full((rows, columns, 4), 255, np.uint8)
    rgba[..., :3] = texels
    options = etcpak.BC7CompressBlockParams()
    # The other weights favour green, which is wrong for data and costs PSNR in colour.
    options.init_linear_weights()
    return bytes(etcpak.compress_bc7(rgba.tobytes(), columns, rows, options))
