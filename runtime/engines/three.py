"""A material for three.js: an ES module that decodes it in a fragment shader of WebGPURenderer, and a page that uses it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from formats.reader import NeuralTextureReader
from formats.repack import repack_export
from formats.words import grid_words
from runtime.engines.absent import NEUTRAL, maps_sentence, shading_maps
from runtime.engines.cost import cost_table
from runtime.engines.shader_source import WgslFunctions, with_prefix, with_resources_as_parameters
from runtime.engines.textures import weights_texture
from runtime.shaders import Shader, generate
from runtime.specialise import WEIGHTS_TEXTURE_WIDTH, Options
from runtime.texts import template
from runtime.weight_words import WORD_BYTES
from utils.files import write_bytes

VENDOR = Path(__file__).parent / "vendor" / "three"
THREE = "0.187.0"
"""Version of three.js that is vendored and that the tests run."""


def _decoder(reader: NeuralTextureReader, prefix: str) -> tuple[Shader, WgslFunctions]:
    shader = generate(reader, "wgsl", Options(weights="words", filter=False, bake=False))
    functions = with_resources_as_parameters(shader.text)
    return shader, WgslFunctions(with_prefix(functions.code, prefix), functions.resources)


def three_package(reader: NeuralTextureReader, folder: Path, name: str) -> list[Path]:
    """Write the module `<name>.js`, its textures, `<name>.html` with three.js, and a page; return the files.

    Grids lie in `<name>_grid_<g>.bin` as 32-bit words, all levels, finest first; the weights in `<name>_weights.bin`.
    Raises `UserError` where the grids cannot be packed or slangc is missing.
    """
    with tempfile.TemporaryDirectory(prefix="neural_texture_") as aside:
        repack_export(reader.folder, Path(aside), "packed")
        packed = NeuralTextureReader(aside)
        shader, functions = _decoder(packed, f"{name}_")
        words = [grid_words(packed, g) for g in range(len(packed.manifest["grids"]))]
    data = {f"{name}_grid_{g}.bin": _grid_bytes(grid.levels) for g, grid in enumerate(words)}
    weights = weights_texture(shader.weights.data, WORD_BYTES).tobytes()
    data[f"{name}_weights.bin"] = weights
    values = {
        "name": name,
        "prefix": f"{name}_",
        "present": shading_maps(reader),
        "decoded": reader.present,
        "neutral": NEUTRAL,
        "absent": maps_sentence(reader),
        "opengl": reader.manifest["normal_convention"] == "opengl",
        "grids": [
            {
                "file": f"{name}_grid_{g}.bin",
                "side": len(grid.levels[0]),
                "levels": len(grid.levels),
                "words": grid.levels[0].shape[-1],
            }
            for g, grid in enumerate(words)
        ],
        "weights_file": f"{name}_weights.bin",
        "weights_width": WEIGHTS_TEXTURE_WIDTH,
        "weights_height": len(weights) // (WEIGHTS_TEXTURE_WIDTH * WORD_BYTES),
        "decoder": functions.code,
        "resources": functions.resources,
        "three": THREE,
        "files": [{"name": file, "bytes": len(content)} for file, content in data.items()],
        "cost": cost_table(packed, shader, sum(map(len, data.values())) - len(weights), len(weights)),
        "mips": len(reader.stored_mips),
        **{key: reader.manifest[key] for key in ("width", "height", "bpp", "wrap")},
    }
    data[f"{name}.js"] = template("three/module.js.j2").render(values).encode()
    data[f"{name}.html"] = template("three/index.html.j2").render(values).encode()
    data[f"{name}_README.md"] = template("three/README.md.j2").render(values).encode()
    for file in ("three.webgpu.min.js", "three.LICENSE"):
        data[file] = (VENDOR / file).read_bytes()
    for file, content in data.items():
        write_bytes(folder / file, content)
    return [folder / file for file in data]


def _grid_bytes(levels: list[np.ndarray]) -> bytes:
    return b"".join(np.ascontiguousarray(level, "<u4").tobytes() for level in levels)
