"""Reading and checking manifest.json, the description of an exported material."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from configs import ACTIVATION_NAMES, N_CHANNELS
from images.mips import mip_count
from utils.errors import UsageError, UserError, describe_os_error
from utils.files import read_json

FORMAT = "neural-texture"
VERSION = 1
MANIFEST_NAME = "manifest.json"
_EXPORT_NAME = re.compile(r"train_result_(\d+)")
INTERPOLATIONS = ("bilinear", "gather")
"""Ways to read a grid's four taps."""
PRECISIONS = ("float32", "float16", "int8")
"""Types that the decoder's weights can be stored in."""


def read_manifest(folder: Path) -> dict:
    """Read the manifest in `folder`; raises `UserError` where it is missing or not a valid version 1 manifest."""
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise UserError(f"{folder} has no {MANIFEST_NAME}; name a folder that an export has written")
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UserError(f"{path} does not describe a neural texture (its format is not \"{FORMAT}\"); "
                        "name a folder that an export has written")
    if manifest.get("version") != VERSION:
        raise UserError(f"{path} has version {manifest.get('version')}, expected {VERSION}; "
                        "use a matching release of this toolkit or export again")
    try:
        _check(manifest)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        cause = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path} is not a valid manifest: {cause}; export the material again") from error
    return manifest


def check_files(folder: Path, manifest: dict) -> None:
    """Check size and SHA-256 of every listed file; raises `UserError` naming the first that differs."""
    for entry in manifest["files"]:
        path = folder / entry["name"]
        digest = hashlib.sha256()
        try:
            size = path.stat().st_size
            if size != entry["bytes"]:
                raise UserError(f"{path} has {size} bytes, its manifest says {entry['bytes']}; copy or export it again")
            with path.open("rb") as file:
                for chunk in iter(lambda: file.read(1 << 20), b""):
                    digest.update(chunk)
        except OSError as error:
            raise UserError(describe_os_error(error, path)) from error
        if digest.hexdigest() != entry["sha256"]:
            raise UserError(f"{path} does not match the SHA-256 in its manifest; copy or export it again")


def _whole(mapping: dict, key: str, least: int) -> int:
    value = mapping[key]
    if type(value) is not int or value < least:
        raise ValueError(f"{key} is {value!r}, expected a whole number from {least}")
    return value


def _one_of(mapping: dict, key: str, choices: tuple) -> object:
    value = mapping[key]
    if type(value) is not type(choices[0]) or value not in choices:
        raise ValueError(f"{key} is {value!r}, expected one of {', '.join(map(str, choices))}")
    return value


def _check(manifest: dict) -> None:
    """Check every value that decoding relies on; raises what a missing key or a wrong type or value raises."""
    for key in ("width", "height", "mips"):
        _whole(manifest, key, 1)
    if manifest["mips"] != mip_count(manifest["width"], manifest["height"]):
        raise ValueError(f"mips is {manifest['mips']}, which does not fit the texture's size")
    _one_of(manifest, "wrap", (True, False))
    _check_channels(manifest["channels"])
    order = _whole(manifest, "position_order", 0) if "position_order" in manifest else 0
    per_grid = [_check_grid(grid) for grid in manifest["grids"]]
    gathered = sum(n for n, grid in zip(per_grid, manifest["grids"]) if grid["interpolation"] == "gather")
    inputs = 1 + sum(per_grid) + ((order + 1) ** 2 - 1) * gathered
    _check_levels(manifest)
    encoding = manifest["positional_encoding"]
    inputs += 2 * _whole(encoding, "n_frequencies", 0) * _whole(encoding, "phases", 1)
    _whole(encoding, "period_cells", 0)
    _check_network(manifest["network"], inputs)
    listed = set()
    for entry in manifest["files"]:
        name = entry["name"]
        if not isinstance(name, str) or Path(name).name != name or "\\" in name or ":" in name:
            raise ValueError(f"the file name {name!r} is not a plain name")
        _whole(entry, "bytes", 0)
        entry["sha256"]
        listed.add(name)
    for name in [manifest["network"]["file"], *(name for grid in manifest["grids"] for name in grid["files"])]:
        if name not in listed:
            raise ValueError(f"{name} is not listed under files")


def _check_channels(channels: list[dict]) -> None:
    end = 0
    for channel in channels:
        if _whole(channel, "first", 0) != end:
            raise ValueError(f"the channels of {channel['name']} do not follow those of the map before")
        end += _whole(channel, "count", 1)
        _one_of(channel, "present", (True, False))
        if channel["name"] == "diffuse":
            _one_of(channel, "space", ("linear", "srgb"))
    if end != N_CHANNELS:
        raise ValueError(f"the channels add up to {end}, expected {N_CHANNELS}")


def _check_grid(grid: dict) -> int:
    """Check one grid; returns the network inputs that it gives."""
    features = _whole(grid, "n_features", 1)
    if _whole(grid, "base_resolution", 1) * 2 ** min(_whole(grid, "n_levels", 1) - 1, 32) != grid["max_resolution"]:
        raise ValueError("a grid's base_resolution, n_levels and max_resolution disagree")
    _one_of(grid, "quantize_bits", (2, 4, 8, 16))
    if len(grid["files"]) != -(-features // 4):
        raise ValueError(f"a grid of {features} features has {len(grid['files'])} files")
    for key in ("scale", "offset"):
        if type(grid[key]) not in (int, float):
            raise ValueError(f"{key} is {grid[key]!r}, expected a number")
    return features * (4 if _one_of(grid, "interpolation", INTERPOLATIONS) == "gather" else 1)


def _check_levels(manifest: dict) -> None:
    if len(manifest["mip_levels"]) != manifest["mips"]:
        raise ValueError("mip_levels has not one entry per mip")
    for levels in manifest["mip_levels"]:
        if len(levels) != len(manifest["grids"]) or not all(
                type(level) is int and 0 <= level < grid["n_levels"] for level, grid in zip(levels, manifest["grids"])):
            raise ValueError(f"mip_levels has {levels}, which does not name one level of each grid")


def _check_network(network: dict, inputs: int) -> None:
    if network["inputs"] != inputs or network["outputs"] != N_CHANNELS:
        raise ValueError(f"the network has {network['inputs']} inputs and {network['outputs']} outputs, "
                         f"expected {inputs} and {N_CHANNELS}")
    _one_of(network, "precision", PRECISIONS)
    width = -(-inputs // 16) * 16
    for layer in network["layers"]:
        if layer["cols"] != width:
            raise ValueError(f"a layer of {layer['cols']} columns cannot follow {width} values")
        _one_of(layer, "activation", ACTIVATION_NAMES)
        _whole(layer, "offset", 0)
        if network["precision"] == "int8":
            _whole(layer, "scale_offset", 0)
        if layer["bias_offset"] is not None:
            _whole(layer, "bias_offset", 0)
        width = _whole(layer, "rows", 1)
    if width < N_CHANNELS:
        raise ValueError(f"the last layer has {width} rows, expected at least {N_CHANNELS}")


def find_export(run_dir: Path, load_iter: int = -1) -> Path:
    """Return the exported folder of a run (-1: of the newest iteration), or `run_dir` where it is an export itself.

    Raises `UsageError` where there is none.
    """
    if (run_dir / MANIFEST_NAME).is_file():
        return run_dir
    exports = {int(match[1]): path for path in (run_dir / "models").glob("train_result_*")
               if (match := _EXPORT_NAME.fullmatch(path.name)) and (path / MANIFEST_NAME).is_file()}
    if not exports:
        raise UsageError(f"{run_dir} holds no export (models/train_result_<iter>/manifest.json); give a run folder, or "
                         "export its checkpoint with export.py")
    if load_iter != -1 and load_iter not in exports:
        raise UsageError(f"iteration {load_iter} of {run_dir} has no export; choose one of "
                         f"{', '.join(map(str, sorted(exports)))}")
    return exports[max(exports) if load_iter == -1 else load_iter]
