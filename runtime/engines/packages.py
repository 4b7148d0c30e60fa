"""The packages for engines, by the name that `--engine` takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from configs import VERSION
from formats.reader import NeuralTextureReader
from runtime.engines.gltf import TextureFormat, gltf_package
from runtime.engines.godot import godot_package
from runtime.engines.three import three_package
from runtime.engines.unity import unity_package
from runtime.engines.unreal import unreal_package
from utils.errors import UserError
from utils.files import read_json, require_writable_folder, write_json

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

    Beside each lies `<name>_package.json`: the material's own name, the SHA-256 of the export's files that it was made
    of, the toolkit's version and the package's files. `texture_format` is that of the textures in a .glb. Raises
    `UserError` where an engine cannot take the material, or a folder has a package of this name of another material.
    """
    chosen = {engine: PACKAGES[engine] for engine in engines}
    if texture_format and "gltf" in chosen:
        chosen["gltf"] = partial(gltf_package, texture_format=texture_format)
    material = reader.manifest.get("name", "")
    records = {engine: out / engine / f"{name}_package.json" for engine in chosen}
    for record in records.values():
        _require_same_material(record, material)
    written = {}
    for engine, package in chosen.items():
        folder = require_writable_folder(out / engine)
        files = package(reader, folder, name)
        content = {
            "material": material,
            "engine": engine,
            "toolkit_version": VERSION,
            "made_of": {entry["name"]: entry["sha256"] for entry in reader.manifest["files"]},
            "files": sorted(path.relative_to(folder).as_posix() for path in files),
        }
        write_json(records[engine], content)
        written[engine] = [*files, records[engine]]
    return written


def _require_same_material(record: Path, material: str) -> None:
    """Raise `UserError` where a package's record names another material, whose files would be overwritten."""
    if not record.exists():
        return
    content = read_json(record)
    other = content.get("material") if isinstance(content, dict) else None
    if other != material:
        raise UserError(
            f"{record} belongs to the material {ascii(other)}, whose files {ascii(material)} would overwrite; give this "
            "one another name with --name, or choose another --out"
        )
