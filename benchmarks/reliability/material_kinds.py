"""Damaged material.json and glTF files, whose materials are listed as a batch does and loaded."""

from __future__ import annotations

import base64
import json
import random
import struct
from pathlib import Path
from typing import Any

from benchmarks.reliability import image_kinds, structures
from benchmarks.reliability.caged import Kind
from benchmarks.reliability.damage import damaged_bytes, damaged_json, json_bytes

_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}
_MOST_LOADED = 3
"""Materials of one file that are loaded."""


def _png(samples: Path, number: int) -> bytes:
    return sorted((samples / "png").iterdir())[number].read_bytes()


def material_file() -> dict[str, Any]:
    """Return what a material.json may hold, with every key."""
    return {
        "name": "wet rock",
        "maps": {
            "diffuse": {"file": "maps/rock_albedo.png", "factor": [1.0, 0.5, 0.25]},
            "normal": {"file": "b.png", "convention": "directx"},
            "roughness": {"file": "b.png", "channel": "R", "inverted": True},
            "metallic": "maps/rock_albedo.png",
        },
        "normal_convention": "directx",
        "ignore": ["*_preview.*"],
    }


def gltf_document(samples: Path, buffer: dict[str, Any], sizes: list[int]) -> dict[str, Any]:
    """Return the JSON of a glTF file of two materials with three images: in the buffer, as text and as a file."""
    images: list[dict[str, Any]] = [{"bufferView": 0, "mimeType": "image/png", "name": "base"}]
    images.append({"uri": "data:image/png;base64," + base64.b64encode(_png(samples, 0)).decode(), "name": "gloss"})
    images.append({"uri": "maps/rock_albedo.png"})
    surface = {"baseColorTexture": {"index": 0}, "metallicRoughnessTexture": {"index": 1}, "roughnessFactor": 0.5}
    return {
        "asset": {"version": "2.0"},
        "buffers": [buffer],
        "bufferViews": [{"buffer": 0, "byteOffset": 0, "byteLength": sizes[0]}],
        "images": images,
        "samplers": [{"wrapS": 10497, "wrapT": 33071}],
        "textures": [{"source": 0, "sampler": 0}, {"source": 1}, {"source": 2}],
        "materials": [
            {
                "name": "rock",
                "pbrMetallicRoughness": surface,
                "normalTexture": {"index": 2, "scale": 0.5},
                "occlusionTexture": {"index": 1, "strength": 0.5},
                "extensions": {"KHR_materials_specular": {"specularFactor": 0.5, "specularTexture": {"index": 2}}},
            },
            {"name": "wood", "pbrMetallicRoughness": {"baseColorTexture": {"index": 2}, "metallicFactor": 0.0}},
        ],
    }


def glb_bytes(document: bytes, binary: bytes) -> bytes:
    """Return a .glb of a JSON and a binary chunk."""
    document += b" " * (-len(document) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = (
        struct.pack("<I4s", len(document), b"JSON") + document + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    )
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _with_maps(samples: Path, folder: Path) -> None:
    (folder / "maps").mkdir()
    (folder / "maps" / "rock_albedo.png").write_bytes(_png(samples, 1))


def make_material(samples: Path, folder: Path, chance: random.Random | None) -> None:
    """Write a folder with a material.json, damaged where there is a chance for it."""
    _with_maps(samples, folder)
    (folder / "b.png").write_bytes(_png(samples, 1))
    value = material_file()
    data = json_bytes(damaged_json(value, chance), chance) if chance else json.dumps(value).encode()
    (folder / "material.json").write_bytes(data)


def make_gltf(samples: Path, folder: Path, chance: random.Random | None) -> None:
    """Write a .gltf beside its maps, its JSON damaged where there is a chance for it."""
    _with_maps(samples, folder)
    data = _png(samples, 0)
    buffer = {"uri": "data:;base64," + base64.b64encode(data).decode(), "byteLength": len(data)}
    value = gltf_document(samples, buffer, [len(data)])
    (folder / "rock.gltf").write_bytes(
        json_bytes(damaged_json(value, chance), chance) if chance else json.dumps(value).encode()
    )


def make_glb(samples: Path, folder: Path, chance: random.Random | None) -> None:
    """Write a .glb beside its maps; where there is a chance for it, it is damaged as a file or in its JSON."""
    _with_maps(samples, folder)
    binary = _png(samples, 0)
    value: Any = gltf_document(samples, {"byteLength": len(binary)}, [len(binary)])
    if chance and chance.random() < 0.4:
        value = damaged_json(value, chance)
    data = glb_bytes(json.dumps(value).encode("utf-8", "surrogatepass"), binary)
    if chance:
        data = damaged_bytes(data, structures.GLB, chance, [_png(samples, 3)])
    (folder / "rock.glb").write_bytes(data)


def load_all(folder: Path, out: Path) -> None:
    """List the materials of a folder as a batch does, make their output folders, and load the first of them."""
    from configs import ImageConfig
    from dataset import get_texture_config, load_texture_set
    from images.inputs import material_inputs, material_maps

    types = get_texture_config()
    found = material_inputs(folder, types)
    for one in found:
        refuse_strange_name(one.name)
        (out / one.name).mkdir(parents=True)
    for data_dir in [one.data_dir for one in found[:_MOST_LOADED]] or [str(folder)]:
        material_maps(data_dir, types)
        load_texture_set(data_dir, images=ImageConfig(max_pixels=image_kinds.MAX_PIXELS))


def refuse_strange_name(name: str) -> None:
    """Raise `ValueError` for a name that no folder of another system, or none within a folder, can have."""
    for part in name.split("/"):
        stem = part.split(".")[0].strip().lower()
        if part in ("", ".", "..") or stem in _RESERVED or part != part.rstrip(" .") or set(part) & set('<>:"\\|?*'):
            raise ValueError(f"a material is called {name!r}")
        if not part.isprintable():
            raise ValueError(f"a material is called {name!r}")


def whole_material(samples: Path, folder: Path) -> None:
    """Write an undamaged folder with a material.json."""
    make_material(samples, folder, None)


def whole_gltf(samples: Path, folder: Path) -> None:
    """Write an undamaged .gltf."""
    make_gltf(samples, folder, None)


def whole_glb(samples: Path, folder: Path) -> None:
    """Write an undamaged .glb."""
    make_glb(samples, folder, None)


KINDS = [
    Kind("material.json", make_material, load_all, 400, whole_material),
    Kind("gltf", make_gltf, load_all, 350, whole_gltf),
    Kind("glb", make_glb, load_all, 350, whole_glb),
]
