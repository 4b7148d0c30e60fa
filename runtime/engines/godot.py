"""A material for Godot 4: a shader with its include, textures as DDS, a ShaderMaterial, and a page."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import numpy as np

from formats.dds import read_dds
from formats.reader import NeuralTextureReader
from formats.repack import repack_export
from runtime.engines.absent import NEUTRAL, maps_sentence, shading_maps
from runtime.engines.cost import cost_table
from runtime.engines.gdshader import gdshader_decoder
from runtime.engines.textures import weights_texture
from runtime.texts import template
from utils.files import write_bytes

_CAPS_HEIGHT_WIDTH_PITCH_FORMAT, _MIPMAP_COUNT = 0x100F, 0x20000
_RGB_WITH_ALPHA = 0x41
_HEADER_BYTES = 128
_TEXTURE, _MIPMAPS = 0x1000, 0x400008


def dds_rgba8(levels: list[np.ndarray]) -> bytes:
    """Return a DDS file of uint8 `[H, W, 4]` levels, finest first, as all releases of Godot 4 read it.

    Levels are square where there are several. The header is the one without DX10. Godot takes either one level or all
    down to a single texel, and counts sides as powers of two: levels lie in the upper left corner of such ones, and those
    that are missing are 0.
    """
    height, width = levels[0].shape[:2]
    if len(levels) > 1:
        height = width = 1 << (width - 1).bit_length()
    count = width.bit_length() if len(levels) > 1 else 1
    flags = _CAPS_HEIGHT_WIDTH_PITCH_FORMAT | (_MIPMAP_COUNT if count > 1 else 0)
    masks = (0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    header = struct.pack(
        "<4s7I44x8I5I",
        *(b"DDS ", 124, flags, height, width, 4 * width, 0, count),
        *(32, _RGB_WITH_ALPHA, 0, 32, *masks),
        *(_TEXTURE | (_MIPMAPS if count > 1 else 0), 0, 0, 0, 0),
    )
    parts = [header]
    for mip in range(count):
        padded = np.zeros((max(height >> mip, 1), max(width >> mip, 1), 4), np.uint8)
        if mip < len(levels):
            padded[: len(levels[mip]), : levels[mip].shape[1]] = levels[mip]
        parts.append(padded.tobytes())
    return b"".join(parts)


def godot_package(reader: NeuralTextureReader, folder: Path, name: str) -> list[Path]:
    """Write `<name>.gdshader`, `.gdshaderinc`, `.tres`, the textures as DDS and a page; return the files.

    Raises `UserError` where the grids cannot be packed or slangc is missing.
    """
    prefix = f"{name}_"
    with tempfile.TemporaryDirectory(prefix="neural_texture_") as aside:
        repack_export(reader.folder, Path(aside), "packed_rgba8")
        packed = NeuralTextureReader(aside)
        shader, decoder = gdshader_decoder(packed, prefix)
        textures = {
            binding.name: dds_rgba8(read_dds(packed.folder / binding.file)[1])
            for binding in shader.bindings
            if binding.name.startswith("grid_")
        }
    textures["weights"] = dds_rgba8([weights_texture(shader.weights.data)])
    *grid_bytes, weights_bytes = (len(data) - _HEADER_BYTES for data in textures.values())
    manifest = reader.manifest
    values = {
        "name": name,
        "prefix": prefix,
        "decoder": decoder,
        "textures": [{"name": f"{prefix}{part}", "bytes": len(data)} for part, data in textures.items()],
        "present": shading_maps(reader),
        "neutral": NEUTRAL,
        "absent": maps_sentence(reader),
        "opengl": manifest["normal_convention"] == "opengl",
        "cost": cost_table(packed, shader, sum(grid_bytes), weights_bytes),
        "mips": len(reader.stored_mips),
        **{key: manifest[key] for key in ("width", "height", "bpp", "wrap")},
    }
    data = {
        f"{name}{suffix}": template(f"godot/{source}").render(values).encode()
        for suffix, source in (
            (".gdshader", "material.gdshader.j2"),
            (".gdshaderinc", "decoder.gdshaderinc.j2"),
            (".tres", "material.tres.j2"),
            ("_README.md", "README.md.j2"),
        )
    }
    data |= {f"{prefix}{part}.dds": content for part, content in textures.items()}
    for file, content in data.items():
        write_bytes(folder / file, content)
    return [folder / file for file in data]
