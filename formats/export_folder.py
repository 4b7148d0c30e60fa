"""The folder of an export: names of its files, written aside and moved into place, and what the manifest counts."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from formats.dds import write_dds
from formats.manifest import MANIFEST_NAME
from formats.storage import GridStorage, stored_as
from utils.errors import UsageError, UserError, describe_os_error

NETWORK_NAME = "network_data.npz"
_EXPORTED = re.compile(r"(?:\w+_)?(?:hash_grid_\d+(?:_\d+)?\.dds|network_data\.npz)", re.ASCII)


def _prefixed(name: str, prefix: str | None) -> str:
    return f"{prefix}_{name}" if prefix else name


def network_file(prefix: str | None) -> str:
    """Return the name of the decoder's file."""
    return _prefixed(NETWORK_NAME, prefix)


def grid_files(g: int, n_files: int, prefix: str | None) -> list[str]:
    """Return the names of grid `g`'s files.

    >>> grid_files(1, 3, None), grid_files(0, 1, "rust")
    (['hash_grid_1.dds', 'hash_grid_1_1.dds', 'hash_grid_1_2.dds'], ['rust_hash_grid_0.dds'])
    """
    return [_prefixed(f"hash_grid_{g}{f'_{j}' if j else ''}.dds", prefix) for j in range(n_files)]


def file_prefix_of(manifest: Mapping) -> str:
    """Return what an export's file names begin with, its underscore included; empty where they have no prefix.

    >>> file_prefix_of({"network": {"file": "rust_network_data.npz"}})
    'rust_'
    """
    return manifest["network"]["file"].removesuffix(NETWORK_NAME)


def write_grid(folder: Path, names: Sequence[str], levels: Sequence[Sequence], storage: GridStorage) -> None:
    """Write a grid's files; `levels`, finest first, hold the level array of each file as `GridStorage.pack` gives it."""
    side = levels[0][0].shape[0]
    for name, of_file in zip(names, zip(*levels, strict=True), strict=True):
        write_dds(folder / name, of_file, side, side, storage.format.dxgi)


def file_entry(path: Path) -> dict[str, object]:
    """Return a file's entry of the manifest: name, bytes and SHA-256."""
    data = path.read_bytes()
    return {"name": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def stored_rates(manifest: Mapping) -> dict[str, float]:
    """Return bits per texel: `bpp_mips` of all bytes on disk, `bpp` as if only the finest levels were stored."""
    texels = manifest["width"] * manifest["height"]
    sizes = {entry["name"]: entry["bytes"] for entry in manifest["files"]}
    finest = sizes[manifest["network"]["file"]]
    finest += sum(stored_as(grid).finest_bytes(grid["max_resolution"]) for grid in manifest["grids"])
    return {"bpp": 8 * finest / texels, "bpp_mips": 8 * sum(sizes.values()) / texels}


def fetched_bytes(storages: Sequence[GridStorage]) -> int:
    """Return the bytes that one decoded texel touches: four taps of every texture of every grid, as they are stored."""
    return sum(4 * storage.texel_bytes for storage in storages)


@contextmanager
def export_written_aside(folder: Path, in_place: bool = False) -> Iterator[Path]:
    """Yield a new folder inside `folder` to write an export into; on success its files are moved into `folder`.

    The manifest is moved last, and what an older export in `folder` has left is removed; on failure nothing changes.
    `in_place`: the export in `folder` is the one that is written anew. Raises `UserError` where files cannot be written,
    `UsageError` where `folder` holds the export of another material.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder, prefix=".export."))
    except OSError as error:
        raise UserError(describe_os_error(error, folder)) from error
    try:
        yield aside
        if not in_place:
            _refuse_another_material(folder, aside)
        _move_into_place(aside, folder)
    except OSError as error:
        raise UserError(describe_os_error(error, folder)) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _refuse_another_material(folder: Path, aside: Path) -> None:
    """Refuse to replace an export that has another material's name, or whose files have a prefix of their own."""
    try:
        old, new = (json.loads((place / MANIFEST_NAME).read_text(encoding="utf-8")) for place in (folder, aside))
        names = old.get("name") or "", new.get("name") or ""
        prefixes = file_prefix_of(old), file_prefix_of(new)
    # There may be none, or anything at all.
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    if (all(names) and names[0] != names[1]) or (prefixes[0] and prefixes[0] != prefixes[1]):
        other = ascii(names[0] if names[0] != names[1] else prefixes[0].rstrip("_"))[:60]
        raise UsageError(f"{folder} holds the export of {other}; choose another folder, each material needs its own")


def _move_into_place(aside: Path, folder: Path) -> None:
    names = [path.name for path in aside.iterdir() if path.name != MANIFEST_NAME]
    stale = {path.name for path in folder.glob("hash_grid_*.dds")} | _listed_files(folder / MANIFEST_NAME)
    (folder / MANIFEST_NAME).unlink(missing_ok=True)
    for name in stale.difference(names):
        (folder / name).unlink(missing_ok=True)
    for name in [*names, MANIFEST_NAME]:
        os.replace(aside / name, folder / name)


def _listed_files(manifest: Path) -> set[str]:
    """Return the names among an older manifest's files that an export may have written, and so may remove."""
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        return {name for entry in entries if isinstance(name := entry["name"], str) and _EXPORTED.fullmatch(name)}
    # It may be missing, or anything at all.
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()
