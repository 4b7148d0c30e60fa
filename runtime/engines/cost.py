"""What a decoder costs, as a table for the pages of engine packages."""

from __future__ import annotations

from formats.bc7 import bc7_bytes
from formats.reader import NeuralTextureReader
from runtime.costs import weights_read
from runtime.shaders import Shader


def cost_table(
    reader: NeuralTextureReader,
    shader: Shader,
    grid_bytes: int,
    weights_bytes: int,
    trilinear: bool = False,
    weights_are_constants: bool = False,
) -> str:
    """Return a table of costs in Markdown; `grid_bytes` and `weights_bytes` are what lies in GPU memory.

    `reader`: the export whose textures the shader reads; `trilinear`: the package samples trilinearly too, if asked to;
    `weights_are_constants`: weights are part of the code.
    """
    bc7, read = bc7_bytes(reader.manifest), weights_read(shader.weights)
    rows = [("multiply-adds a pixel, stochastic (one decode)", f"{shader.macs['texel']:,}")]
    if trilinear:
        rows.append(("multiply-adds a pixel, trilinear (two decodes)", f"{2 * shader.macs['point']:,}"))
    in_memory = grid_bytes + (0 if weights_are_constants else weights_bytes)
    rows += [
        ("read from the grids for a decode", f"{reader.manifest['bytes_per_texel']:,} bytes"),
        ("grids in GPU memory, all mips", f"{grid_bytes:,} bytes"),
        ("weights", f"{weights_bytes:,} bytes, constants in the code")
        if weights_are_constants
        else ("weights in GPU memory", f"{weights_bytes:,} bytes; a decode of a whole texel reads {read:,} of them"),
        (
            "the same maps as BC7 with mips, scalars three to a texture",
            f"{bc7:,} bytes, {bc7 / in_memory:.1f} times as much",
        ),
    ]
    return "| | |\n| --- | --- |\n" + "\n".join(f"| {name} | {value} |" for name, value in rows)
