"""Block compression of 8-bit maps: BC7, BC5 and BC4, by etcpak."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK = 4
"""Texels of a block's side."""


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


def encode_blocks(texels: np.ndarray, block_format: BlockFormat) -> bytes:
    """Compress uint8 `[H, W, 1]` or `[H, W, 3]`, the last row and column repeated up to whole blocks.

    BC4 takes the first channel, BC5 the first two; BC7 takes three, or one as grey.
    """
    import etcpak

    height, width, count = texels.shape
    rgba = np.empty((height, width, 4), np.uint8)
    rgba[..., :3] = texels
    rgba[..., 3] = 255
    rgba = np.pad(rgba, ((0, -height % BLOCK), (0, -width % BLOCK), (0, 0)), mode="edge")
    rows, columns = rgba.shape[:2]
    if block_format.name.startswith("BC7"):
        options = etcpak.BC7CompressBlockParams()
        # The other weights favour green, which is wrong for data and costs PSNR in colour.
        options.init_linear_weights()
        payload = etcpak.compress_bc7(rgba.tobytes(), columns, rows, options)
    else:
        compress = etcpak.compress_bc4 if block_format is BC4 else etcpak.compress_bc5
        payload = compress(rgba.tobytes(), columns, rows)
    return bytes(payload)
