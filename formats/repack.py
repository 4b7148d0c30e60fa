"""An export written again in another storage, from its own files: the codes and weights stay what they are."""

from __future__ import annotations

import copy
from pathlib import Path

from formats.export_folder import (
    export_written_aside,
    fetched_bytes,
    file_entry,
    grid_files,
    network_file,
    stored_rates,
    write_grid,
)
from formats.manifest import MANIFEST_NAME
from formats.names import file_prefix
from formats.plugin import plugin_obstacles
from formats.reader import NeuralTextureReader
from formats.storage import GridStorage, grid_storage, require_level_values, stored_as
from utils.errors import UserError, describe_os_error
from utils.files import write_bytes, write_json


def repack_export(source: Path, folder: Path, storage: str, name: str | None = None) -> dict:
    """Write the export in `source` into `folder` in another storage and return its manifest.

    Codes are read, packed anew and compared bit for bit with what the new files give back; the decoder's file, which
    also holds feature curves, is copied byte for byte. So quality figures hold and are taken over. With a `name`, file
    names begin with its `file_prefix`, so that files of several materials can lie in one folder of an engine's project.
    An older export in `folder` is replaced, which may be `source` itself.

    Raises `UserError` where the source is damaged or files cannot be written, `UsageError` where the storage cannot hold
    the features or the name gives no file name.
    """
    source, folder = Path(source), Path(folder)
    prefix = None if name is None else file_prefix(name)
    reader = NeuralTextureReader(source)
    manifest = copy.deepcopy(reader.manifest)
    for g, entry in enumerate(manifest["grids"]):
        require_level_values(entry, reader.grid(g).path)
    codes = [reader.codes(g) for g in range(len(manifest["grids"]))]
    weights = _read(source / manifest["network"]["file"])
    storages = [
        _changed_storage(entry, grid_storage(stored_as(entry).bits, storage), g, prefix)
        for g, entry in enumerate(manifest["grids"])
    ]
    (network,) = (entry for entry in manifest["files"] if entry["name"] == manifest["network"]["file"])
    network["name"] = manifest["network"]["file"] = network_file(prefix)
    if name is not None and not manifest.get("name"):
        # A name from a file system may hold what UTF-8 cannot.
        manifest["name"] = name.encode("utf-8", "replace").decode("utf-8")
    with export_written_aside(folder, source.resolve() == folder.resolve()) as aside:
        for entry, levels, stored in zip(manifest["grids"], codes, storages, strict=True):
            write_grid(aside, entry["files"], [stored.pack(level) for level in levels[::-1]], stored)
        write_bytes(aside / network["name"], weights)
        names = [file for entry in manifest["grids"] for file in entry["files"]]
        # The decoder keeps the entry that it was checked with, so a file that changed meanwhile is found below.
        manifest["files"] = [file_entry(aside / file) for file in names] + [network]
        manifest.update(stored_rates(manifest))
        if manifest["bpp"] != reader.manifest["bpp"]:
            # It compares at the rate of before.
            manifest.pop("beside_astc", None)
        manifest["bytes_per_texel"] = fetched_bytes(storages)
        manifest["ue5_plugin_obstacles"] = plugin_obstacles(manifest)
        manifest["ue5_plugin"] = not manifest["ue5_plugin_obstacles"]
        write_json(aside / MANIFEST_NAME, manifest)
        _check_codes(NeuralTextureReader(aside), codes)
    return manifest


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(describe_os_error(error, path)) from error


def _changed_storage(entry: dict, stored: GridStorage, g: int, prefix: str | None) -> GridStorage:
    """Set the keys of a manifest's grid that storage changes; other keys stay."""
    for key in ("fields", "feature_bits"):
        entry.pop(key, None)
    entry.update(stored.entry())
    entry["files"] = grid_files(g, stored.n_files, prefix)
    return stored


def _check_codes(written: NeuralTextureReader, codes: list) -> None:
    """Prove that the new files give back the codes; another answer is a fault of this code or of the disk."""
    for g, levels in enumerate(codes):
        found = written.codes(g)
        if len(found) != len(levels) or any((a != b).any() for a, b in zip(found, levels)):
            raise UserError(f"grid {g} does not read back as it was written; check the disk and try again")
