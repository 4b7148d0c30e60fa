"""The page beside a .glb: what is in it, how to use it, what was run."""

from __future__ import annotations

from formats.reader import NeuralTextureReader
from runtime.engines.absent import absent_texts

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


def _table(rows: list[tuple[str, ...]]) -> str:
    head, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, tuple("---" for _ in head), *body])


def page_text(reader: NeuralTextureReader, name: str, texture_format: str) -> str:
    """Return the page of `<name>.glb` in Markdown."""
    manifest, (width, height) = reader.manifest, reader.mip_size(0)
    absent = absent_texts(reader.present)
    rows: list[tuple[str, ...]] = [("map", "where it is", "how")]
    for key, there in reader.present.items():
        rows.append((key, *_MAPS[key]) if there else (key, "not in the material", absent[key]))
    flipped = manifest["normal_convention"] == "directx" and reader.present["normal"]
    ktx2 = texture_format == "ktx2"
    textures = (
        f"KTX2, Basis Universal UASTC with Zstandard, {len(reader.stored_mips)} of {manifest['mips']} mips as the neural "
        "texture holds them; programs need the extension `KHR_texture_basisu`"
        if ktx2
        else "PNG, the finest mip; programs make the smaller ones themselves"
    )
    checked = "no errors" + ("; its warnings are about KTX2, which it does not know" if ktx2 else ", no warnings")
    return f"""# {name}.glb

A glTF 2.0 file with the material `{name}` baked from its neural texture: a sphere and a plane, {width} x {height} texels.
It needs no shader of its own; what runs is glTF's standard material.

## Use it

1. Copy `{name}.glb` into your project. It is one file with everything in it.
2. Open it: Blender (File, Import, glTF 2.0), Godot (drop it into the file system panel), Unreal (Import, glTF), a
   browser with three.js (`GLTFLoader`{", with `KTX2Loader` set by `setKTX2Loader`" if ktx2 else ""}) or Babylon.js.
   Unity needs a package such as glTFast.
3. Take the material `{name}` from it for meshes of your own. They need tangents, or a program that makes them as
   MikkTSpace does, and texture coordinates with v = 0 at the top of the image.

## What is in it

{_table(rows)}

- Textures: {textures}.
- Wrap: {"REPEAT, the material tiles" if manifest["wrap"] else "CLAMP_TO_EDGE, the material does not tile"}.
- Normals: OpenGL convention{", green was turned over from the material's DirectX convention" if flipped else ""}.
- `{name}_package.json` beside it says which material and export it was made of.
- Emission: left out; the neural texture holds none.

## What was run

The toolkit's tests do this with files of this kind, not with this very file:

| program | what was done |
| --- | --- |
| Khronos glTF Validator {VALIDATOR} | {checked} |
| three.js {THREE}, headless Chromium, WebGL 2 in software | loaded and drawn; colours compared with the decoded ones |
| Blender, Godot, Unity, Unreal, Babylon.js | not run |

To check this very file, drop it onto the web page of Khronos's glTF Validator.
"""
