"""The files that the page's shader decodes from: generated WGSL, its bindings, and grids and weights for the GPU."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from formats.manifest import read_manifest
from formats.reader import NeuralTextureReader
from formats.repack import repack_export
from runtime.shader_files import shader_storage
from runtime.shaders import generate
from runtime.specialise import Options

SHADER, BINDINGS, WEIGHTS = "decoder.wgsl", "bindings.json", "weights.bin"
OPTIONS = Options(group=1, bake=False)
"""Group 0 is the frame's; the page bakes by itself."""


def decoder_files(folder: Path) -> dict[str, bytes]:
    """Return the decoder of an export as files: `SHADER`, `BINDINGS` and every file that the bindings name.

    `BINDINGS` holds "bindings", a list of {"binding", "name", "kind": "texture" | "sampler" | "buffer", "format",
    "file"}, and "macs_per_texel", what one exact texel costs. Grids whose containers WebGPU lacks are packed into words;
    their codes stay the same. Raises `UserError` where the shader's compiler is missing, with what to install.
    """
    with tempfile.TemporaryDirectory(prefix="viewer-", ignore_cleanup_errors=True) as packed:
        repack_export(folder, Path(packed), shader_storage(read_manifest(folder)))
        shader = generate(NeuralTextureReader(packed), "wgsl", OPTIONS)
        grids = {each.file for each in shader.bindings if each.kind == "texture"}
        files = {name: (Path(packed) / name).read_bytes() for name in sorted(grids)}
    bindings = [
        {"binding": each.number, "name": each.name, "kind": each.kind, "format": each.format, "file": each.file}
        for each in shader.bindings
    ]
    description = {"bindings": bindings, "macs_per_texel": shader.macs["texel"]}
    return files | {
        SHADER: shader.code,
        BINDINGS: json.dumps(description).encode("utf-8"),
        WEIGHTS: shader.weights.data,
    }
