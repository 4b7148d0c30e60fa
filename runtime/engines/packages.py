"""The packages for engines, by the name that `--engine` takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from formats.reader import NeuralTextureReader
from runtime.engines.gltf import TextureFormat, gltf_package
from runtime.engines.godot import godot_package
from runtime.engines.three import three_package
from runtime.engines.unity import unity_package
from runtime.engines.unreal import unreal_package
from utils.files import require_writable_folder

Package = Callable[[NeuralTextureReader, Path, str], list[Path]]
"""Takes the material, the folder to write into and the prefix of its files; returns the files that it wrote."""
PACKAGES: dict[str, Package] = {
    "unreal": unreal_package,
    "unity": unity_package,
    "godot": godot_package,
    "three": three_package,
    "gltf": gltf_package,
}


def write_packages(
    reader: NeuralTextureReader,
    out: Path,
    engines: Sequence[str],
    name: str,
    texture_format: TextureFormat | None = None,
) -> dict[str, list[Path]]:
    """Write the packages of `engines`, keys of `PACKAGES`, into the folders `out/<engine>`; returns the files of each.

    `texture_format` is that of the textures in a .glb. Raises `UserError` where an engine cannot take the material.
    """
    chosen = {engine: PACKAGES[engine] for engine in engines}
    if texture_format and "gltf" in chosen:
        chosen["gltf"] = partial(gltf_package, texture_format=texture_format)
    folders = {engine: require_writable_folder(out / engine) for engine in chosen}
    return {engine: package(reader, folders[engine], name) for engine, package in chosen.items()}
