"""What a decoder costs, for the pages of engine packages."""

from __future__ import annotations

from formats.reader import NeuralTextureReader
from runtime.shader_page import bc7_bytes
from runtime.shaders import Shader


def cost_rows(
    reader: NeuralTextureReader, shader: Shader, grid_bytes: int, weights_bytes: int
) -> list[tuple[str, str]]:
    """Return the rows of a table of costs; `grid_bytes` and `weights_bytes` are what lies in GPU memory."""
    bc7 = bc7_bytes(reader)
    return [
        ("multiply-adds a pixel", f"{shader.macs['texel']:,}"),
        ("bytes fetched from the grids a pixel", f"{reader.manifest['bytes_per_texel']:,}"),
        ("grids in GPU memory, all mips", f"{grid_bytes:,} bytes"),
        ("weights in GPU memory", f"{weights_bytes:,} bytes"),
        ("the same maps as BC7 with mips", f"{bc7:,} bytes, {bc7 / (grid_bytes + weights_bytes):.1f} times as much"),
    ]
