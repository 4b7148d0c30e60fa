"""What the packages for engines with HLSL share: RGBA8 textures without mips, and the decoder as a struct of their own.

Engines import 8-bit textures as they are, but make mips themselves, drop the finest by their quality settings and
know neither 4-bit nor integer formats. So a grid's levels lie in one texture (`grid_atlas`), features as bit fields.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from configs import TEXTURE_CHANNELS, VERSION
from formats.dds import read_dds
from formats.reader import NeuralTextureReader
from formats.repack import repack_export
from runtime.engines.cost import cost_table
from runtime.engines.hlsl_struct import HlslStruct, hlsl_struct
from runtime.engines.textures import grid_atlas, weights_texture
from runtime.shaders import generate
from runtime.specialise import Options
from runtime.texts import template
from runtime.weights import pack_weights

MOST_CONSTANT_BYTES = 4096
"""Weights up to this size are constants in the code; larger ones are a texture."""


@dataclass(frozen=True)
class EngineTexture:
    """A texture that an engine imports."""

    resource: str
    """The struct's member that reads it."""
    label: str
    """What it is called in an engine: Grid0, Weights."""
    texels: np.ndarray
    """uint8 `[H, W, 4]`, row 0 first."""
    source: str
    """The file of the export that it holds."""


@dataclass(frozen=True)
class HlslMaterial:
    """A material's code and textures, and what its pages say."""

    struct: HlslStruct
    code: str
    """All declarations: types, then the struct."""
    textures: list[EngineTexture]
    outputs: dict[str, tuple[str, int]]
    """Of the maps that are present, but diffuse: what engines call what they hold, and how many numbers they are."""
    green: int
    """1 where the stored normal's green points up (OpenGL), -1 where it points down."""
    facts: dict
    """Figures of the material for pages."""


def hlsl_material(reader: NeuralTextureReader, name: str, in_function: bool = False) -> HlslMaterial:
    """Return an export's decoder as the struct `name`, with the textures that it reads; `in_function` as `hlsl_struct`.

    Raises `UserError` where slangc is missing or the material cannot be stored in RGBA8 textures.
    """
    with tempfile.TemporaryDirectory(prefix="neural_texture_") as folder:
        repack_export(reader.folder, Path(folder), "packed_rgba8")
        packed = NeuralTextureReader(folder)
        weights = pack_weights(packed)
        kept: Literal["constants", "texture"] = "constants" if len(weights.data) <= MOST_CONSTANT_BYTES else "texture"
        # slangc writes only what an entry calls: the entry that decodes points calls all, and is left out again.
        options = Options(grids="atlas", weights=kept, filter=False, bake=False, decode=True)
        shader = generate(packed, "hlsl", options, weights)
        textures = []
        for binding in shader.bindings:
            if binding.kind == "texture":
                is_grid = binding.name != "weights"
                label = f"Grid{binding.name.removeprefix('grid_')}" if is_grid else "Weights"
                texels = (
                    grid_atlas(read_dds(packed.folder / binding.file)[1]) if is_grid else weights_texture(weights.data)
                )
                textures.append(EngineTexture(binding.name, label, texels, binding.file if is_grid else "weights.bin"))
    struct = hlsl_struct(shader.text, name, in_function=in_function)
    manifest = reader.manifest
    width, height = reader.mip_size(0)
    more = template("sampling.hlsl.j2").render(sample=struct.sample, width=width, height=height)
    in_memory = {texture.label: texture.texels.nbytes for texture in textures}
    weights_bytes = in_memory.pop("Weights", len(weights.data))
    cost = cost_table(
        packed,
        shader,
        sum(in_memory.values()),
        weights_bytes,
        trilinear=True,
        weights_are_constants=kept == "constants",
    )
    return HlslMaterial(
        struct,
        struct.text(more),
        textures,
        {
            key: (reader.holds.get(key, key).capitalize(), count)
            for key, count in TEXTURE_CHANNELS.items()
            if key != "diffuse" and reader.present[key]
        },
        1 if manifest["normal_convention"] == "opengl" else -1,
        {
            "version": VERSION,
            "width": width,
            "height": height,
            "mips": len(reader.stored_mips),
            "wrap": manifest["wrap"],
            "cost": cost,
            "weights_bytes": len(weights.data),
            "weights_are_constants": kept == "constants",
            "plugin": manifest["ue5_plugin"],
        },
    )
