"""A material for Unity: HLSL for a Custom Function node, a shader for URP, and an importer that makes the assets."""

from __future__ import annotations

from pathlib import Path

from formats.reader import NeuralTextureReader
from runtime.engines.absent import NEUTRAL, maps_sentence, shading_maps
from runtime.engines.hlsl_material import HlslMaterial, hlsl_material
from runtime.texts import template
from utils.files import require_writable_folder, write_bytes


def unity_package(reader: NeuralTextureReader, folder: Path, name: str) -> list[Path]:
    """Write a material for Unity into `folder`, file names made of `name`, and return the files.

    Textures as raw bytes, the include file, a shader for URP, `Editor/<name>NeuralTextureImporter.cs`, and a page.
    Raises `UserError` where slangc is missing or files cannot be written.
    """
    material = hlsl_material(reader, f"{name}NeuralTexture")
    values = _values(reader, material, name)
    files = {folder / f"{name}_{t.label}.bytes": t.texels.tobytes() for t in material.textures}
    texts = {
        folder / f"{name}NeuralTexture.hlsl": "unity/NeuralTexture.hlsl.j2",
        folder / f"{name}NeuralTexture.shader": "unity/NeuralTexture.shader.j2",
        require_writable_folder(folder / "Editor") / f"{name}NeuralTextureImporter.cs": "unity/Importer.cs.j2",
        folder / f"{name}_README.md": "unity/README.md.j2",
    }
    files |= {path: template(source).render(**values).encode() for path, source in texts.items()}
    for path, data in files.items():
        write_bytes(path, data)
    return list(files)


def _values(reader: NeuralTextureReader, material: HlslMaterial, name: str) -> dict:
    return {
        "name": name,
        "code": material.code,
        "struct": material.struct.name,
        "sample": material.struct.sample,
        "textures": material.textures,
        "green": material.green,
        "present": shading_maps(reader),
        "neutral": NEUTRAL,
        "absent": maps_sentence(reader),
        **material.facts,
    }
