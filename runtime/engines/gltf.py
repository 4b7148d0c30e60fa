"""A material as glTF: one .glb with a sphere and a plane that wear the baked maps, and a page about it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from configs import VERSION
from formats.reader import NeuralTextureReader
from images.depth import to_uint8
from images.resampling import encode
from reporting.pictures import map_image, png_bytes
from runtime.bake.basis import basis_ktx2, basis_obstacle
from runtime.bake.maps import BakedMap, bake_maps, contiguous_mips, decoding_bar
from runtime.engines.glb import GlbBuffer, glb_bytes
from runtime.engines.gltf_page import page_text
from runtime.engines.meshes import Mesh, plane, sphere
from utils.errors import UserError
from utils.files import write_bytes

TextureFormat = Literal["png", "ktx2"]
TEXTURE_FORMATS = ("png", "ktx2")
_LINEAR, _LINEAR_MIPMAP_LINEAR = 9729, 9987
_REPEAT, _CLAMP_TO_EDGE = 10497, 33071
SPECULAR_FACTOR = 2.0
"""glTF's dielectrics reflect 4 % at factor 1; a specular map, as Unreal has it, 8 % at white."""


def _grey_as_colour(baked: BakedMap) -> BakedMap:
    """Code a grey data map as sRGB, in three channels: the extension for specular colour takes no other."""
    coded = to_uint8(encode(np.arange(256, dtype=np.float32) / 255, "srgb"))
    return BakedMap(baked.name, "colour", {mip: coded[texels].repeat(3, axis=2) for mip, texels in baked.mips.items()})


def _material(name: str, maps: dict[str, BakedMap], texture: dict[str, int]) -> dict:
    """Return the glTF material; `texture` is the index of each map's texture."""
    filled = maps["orm"].filled if "orm" in maps else ("occlusion", "roughness", "metallic")
    rough: dict[str, object] = {"metallicFactor": 0.0 if "metallic" in filled else 1.0, "roughnessFactor": 1.0}
    material: dict[str, object] = {"name": name, "pbrMetallicRoughness": rough}
    if "basecolor" in maps:
        rough["baseColorTexture"] = {"index": texture["basecolor"]}
    if not {"roughness", "metallic"} <= set(filled):
        rough["metallicRoughnessTexture"] = {"index": texture["orm"]}
    if "occlusion" not in filled:
        material["occlusionTexture"] = {"index": texture["orm"]}
    if "normal" in maps:
        material["normalTexture"] = {"index": texture["normal"]}
    if "specular" in maps:
        material["extensions"] = {
            "KHR_materials_specular": {
                "specularColorFactor": [SPECULAR_FACTOR] * 3,
                "specularColorTexture": {"index": texture["specular"]},
            }
        }
    return material


def _add_mesh(buffer: GlbBuffer, name: str, mesh: Mesh, with_tangents: bool) -> dict:
    attributes = {
        "POSITION": buffer.add_vertices(mesh.positions, with_bounds=True),
        "NORMAL": buffer.add_vertices(mesh.normals),
        "TEXCOORD_0": buffer.add_vertices(mesh.uvs),
    }
    if with_tangents:
        attributes["TANGENT"] = buffer.add_vertices(mesh.tangents)
    primitive = {"attributes": attributes, "indices": buffer.add_indices(mesh.indices), "material": 0}
    return {"name": name, "primitives": [primitive]}


def material_glb(reader: NeuralTextureReader, name: str, texture_format: TextureFormat = "png") -> bytes:
    """Return a GLB file with the material on a sphere and on a plane.

    PNG holds the finest mip, and programs make the others; KTX2 all stored mips in Basis Universal's UASTC. Raises
    `UserError` where KTX2 cannot hold this size or its encoder is not installed.
    """
    width, height = reader.mip_size(0)
    if texture_format == "ktx2" and (obstacle := basis_obstacle(width, height)):
        raise UserError(f"{obstacle}; use --texture_format png")
    mips = [0] if texture_format == "png" else contiguous_mips(reader)
    with decoding_bar(reader, mips) as bar:
        baked_maps = bake_maps(reader, mips, "opengl", bar.update)
    maps = {baked.name: baked for baked in baked_maps if baked.name not in ("displacement", "opacity")}
    if "specular" in maps:
        maps["specular"] = _grey_as_colour(maps["specular"])
    buffer = GlbBuffer()
    images: list[dict] = []
    textures: list[dict] = []
    for baked in maps.values():
        levels = list(baked.mips.values())
        if texture_format == "png":
            data = png_bytes(map_image(levels[0]))
            textures.append({"sampler": 0, "source": len(images)})
        else:
            data = basis_ktx2(levels, baked.content == "colour")
            textures.append({"sampler": 0, "extensions": {"KHR_texture_basisu": {"source": len(images)}}})
        images.append(
            {"name": f"{name}_{baked.name}", "mimeType": f"image/{texture_format}", "bufferView": buffer.add_view(data)}
        )
    wrap = reader.manifest["wrap"]
    mode = _REPEAT if wrap else _CLAMP_TO_EDGE
    longest = max(width, height)
    # Texels of the sphere are about square at its equator, which is twice as long as the way from pole to pole.
    repeats = max(1, round(2 * height / width)) if wrap else 1
    shapes = {"sphere": sphere(1.0, repeats), "plane": plane(2 * width / longest, 2 * height / longest)}
    meshes = [_add_mesh(buffer, f"{name}_{key}", mesh, "normal" in maps) for key, mesh in shapes.items()]
    used = [extension for extension in ("KHR_texture_basisu",) if texture_format == "ktx2"]
    required = list(used)
    if "specular" in maps:
        used.append("KHR_materials_specular")
    document: dict[str, object] = {
        "asset": {"version": "2.0", "generator": f"neural-texture {VERSION}", "extras": {"material": name}},
        "scene": 0,
        "scenes": [{"name": name, "nodes": [0, 1]}],
        "nodes": [
            {"name": "sphere", "mesh": 0, "translation": [-1.25, 0, 0]},
            {"name": "plane", "mesh": 1, "translation": [1.25, 0, 0]},
        ],
        "meshes": meshes,
        "materials": [_material(name, maps, {key: index for index, key in enumerate(maps)})],
        "textures": textures,
        "images": images,
        "samplers": [{"magFilter": _LINEAR, "minFilter": _LINEAR_MIPMAP_LINEAR, "wrapS": mode, "wrapT": mode}],
    }
    if not maps:
        # No list of glTF may be empty.
        for key in ("textures", "images", "samplers"):
            del document[key]
    if used:
        document["extensionsUsed"] = used
    if required:
        document["extensionsRequired"] = required
    return glb_bytes(document, buffer)


def gltf_package(
    reader: NeuralTextureReader, folder: Path, name: str, texture_format: TextureFormat = "png"
) -> list[Path]:
    """Write `<name>.glb` and the page `<name>_README.md` into `folder`, and return them; see `material_glb`."""
    glb, page = folder / f"{name}.glb", folder / f"{name}_README.md"
    write_bytes(glb, material_glb(reader, name, texture_format))
    write_bytes(page, page_text(reader, name, texture_format).encode("utf-8"))
    return [glb, page]
