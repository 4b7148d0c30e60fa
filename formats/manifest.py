"""Reading, checking and updating manifest.json, the description of an exported material."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from configs import ImageConfig
from formats.manifest_schema import check_manifest
from utils.errors import UsageError, UserError, describe_os_error
from utils.files import read_json, write_json

FORMAT = "neural-texture"
VERSION = 1
VERSIONS = (1, 2)
"""Versions that are read; the second has feature curves or a linear decoder."""
MANIFEST_NAME = "manifest.json"
_MOST_BYTES = 1 << 24
"""Largest manifest; those of exports have some thousand bytes."""
_EXPORT_NAME = re.compile(r"train_result_(\d+)")


def read_manifest(folder: Path) -> dict:
    """Read the manifest in `folder`; raises `UserError` where it is missing or not a valid manifest of a known version.

    Keys that this release does not know are allowed and kept.
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        exports = _exports(folder)
        raise UserError(
            f"{folder} has no {MANIFEST_NAME}; "
            + (
                f"it is a run folder, name the export in it: {exports[max(exports)]}"
                if exports
                else "name a folder that an export has written"
            )
        )
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserError(describe_os_error(error, path)) from error
    if size > _MOST_BYTES:
        raise UserError(f"{path} has {size} bytes, too many for a manifest; export the material again")
    try:
        manifest = read_json(path)
    except RecursionError:
        manifest = None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UserError(
            f'{path} does not describe a neural texture (its format is not "{FORMAT}"); '
            "name a folder that an export has written"
        )
    if type(manifest.get("version")) is not int or manifest["version"] not in VERSIONS:
        raise UserError(
            f"{path} has version {str(manifest.get('version'))[:40]!r}, expected {' or '.join(map(str, VERSIONS))}; "
            "use a matching release of this toolkit or export again"
        )
    try:
        check_manifest(manifest)
    except ValueError as error:
        raise UserError(f"{path} is not a valid manifest: {error}; export the material again") from error
    return manifest


def manifest_version(manifest: Mapping) -> int:
    """Return the version that a manifest has to bear: 2 with a grid's curves or a linear decoder, else 1."""
    curves = any("curve_offset" in grid for grid in manifest["grids"])
    return 2 if curves or "linear" in manifest["network"] else 1


def image_settings(manifest: Mapping, data_dir: str | Path) -> ImageConfig:
    """How the images that an export was made of were read, so that those in `data_dir` are read alike to compare with it.

    A mask that lay elsewhere is not looked for.
    """
    mask = (manifest.get("mask") or {}).get("file")
    holders = [entry["name"] for entry in manifest["channels"] if entry["present"] and entry.get("holds") == "opacity"]
    return ImageConfig(
        normal_convention=manifest["normal_convention"],
        mask=mask if mask and Path(mask).name == mask and (Path(data_dir) / mask).is_file() else ImageConfig.mask,
        opacity_as=holders[0] if holders else "none",
        max_pixels=max(ImageConfig.max_pixels, manifest["width"] * manifest["height"]),
    )


def update_manifest(folder: Path, changes: Mapping[str, object]) -> dict:
    """Set top-level keys of the manifest in `folder`, whole or not at all, and return the new manifest.

    Raises `UserError` where it cannot be read or written, `ValueError` where the changes make it invalid.
    """
    manifest = {**read_manifest(folder), **changes}
    check_manifest(manifest)
    write_json(folder / MANIFEST_NAME, manifest)
    return manifest


def check_files(folder: Path, manifest: dict) -> None:
    """Check size and SHA-256 of every listed file; raises `UserError` naming the first that differs."""
    for entry in manifest["files"]:
        path = folder / entry["name"]
        digest = hashlib.sha256()
        try:
            found = path.stat()
            # A pipe or a device could be read for ever.
            if not stat.S_ISREG(found.st_mode):
                raise UserError(f"{path} is no plain file; copy or export it again")
            if found.st_size != entry["bytes"]:
                raise UserError(
                    f"{path} has {found.st_size} bytes, its manifest says {entry['bytes']}; copy or export it again"
                )
            with path.open("rb") as file:
                for chunk in iter(lambda: file.read(1 << 20), b""):
                    digest.update(chunk)
        except OSError as error:
            raise UserError(describe_os_error(error, path)) from error
        if digest.hexdigest() != entry["sha256"]:
            raise UserError(f"{path} does not match the SHA-256 in its manifest; copy or export it again")


def _exports(run_dir: Path) -> dict[int, Path]:
    """Return a run's exported folders by iteration."""
    return {
        int(match[1]): path
        for path in (run_dir / "models").glob("train_result_*")
        if (match := _EXPORT_NAME.fullmatch(path.name)) and (path / MANIFEST_NAME).is_file()
    }


def find_export(run_dir: Path, load_iter: int = -1) -> Path:
    """Return the exported folder of a run (-1: of the newest iteration), or `run_dir` where it is an export itself.

    Raises `UsageError` where there is none.
    """
    if (run_dir / MANIFEST_NAME).is_file():
        return run_dir
    exports = _exports(run_dir)
    if not exports:
        raise UsageError(
            f"{run_dir} holds no export (models/train_result_<iter>/manifest.json); give a run folder, or "
            "export its checkpoint with export.py"
        )
    if load_iter != -1 and load_iter not in exports:
        raise UsageError(
            f"iteration {load_iter} of {run_dir} has no export; choose one of {', '.join(map(str, sorted(exports)))}"
        )
    return exports[max(exports) if load_iter == -1 else load_iter]
