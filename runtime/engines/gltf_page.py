"""The page beside a .glb: what is in it, how to use it, what was run."""

from __future__ import annotations

from formats.reader import NeuralTextureReader
from runtime.engines.absent import absent_texts, shading_maps
from runtime.texts import template

VALIDATOR = "2.0.0-dev.3.10"
"""Release of Khronos's glTF Validator that the tests run."""
THREE = "r187"
"""Release of three.js that the tests run."""

_MAPS = {
    "diffuse": ("baseColorTexture", "colour, sRGB-coded"),
    "normal": ("normalTexture", "OpenGL convention (green points to the top of the image)"),
    "occlusion": ("occlusionTexture", "red of the packed map"),
    "roughness": ("metallicRoughnessTexture", "green of the packed map"),
    "metallic": ("metallicRoughnessTexture", "blue of the packed map"),
    "specular": (
        "specularColorTexture of KHR_materials_specular",
        "sRGB-coded grey with the factor 2: 0 reflects nothing, 0.5 the usual 4 %, 1 8 %, as Unreal's Specular",
    ),
    "displacement": ("not in the file", "glTF has no displacement; `export.py --bake` writes it"),
}


def page_text(reader: NeuralTextureReader, name: str, texture_format: str) -> str:
    """Return the page of `<name>.glb` in Markdown."""
    manifest, (width, height) = reader.manifest, reader.mip_size(0)
    absent = absent_texts(shading_maps(reader))
    return template("gltf/README.md.j2").render(
        name=name,
        width=width,
        height=height,
        mips=manifest["mips"],
        stored_mips=len(reader.stored_mips),
        wrap=manifest["wrap"],
        ktx2=texture_format == "ktx2",
        flipped=manifest["normal_convention"] == "directx" and reader.present["normal"],
        maps=[
            (key, *(_MAPS[key] if there else ("not in the material", absent[key])))
            for key, there in shading_maps(reader).items()
        ],
        left_out=[f"{content}: left out; `export.py --bake` writes it" for content in reader.holds.values()],
        validator=VALIDATOR,
        three=THREE,
    )
