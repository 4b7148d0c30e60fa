"""What a group is trained from: its files by hash, how they are read, and the settings that matter to the result."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs import GRID_FLAGS, Config, config_to_dict, early_stop_acts, effective_early_stop_interval
from images.mask import mask_path
from images.sources import MapSource, MaterialMaps, SourceImage
from utils.errors import UserError, describe_os_error

BLOCK_BYTES = 1 << 20
_ELSEWHERE = {
    "run": {"mode", "config", "data_dir", "save_dir", "load_dir", "load_iter"},
    "train": {"device", "save_interval", "keep_checkpoints"},
    "export": {"report", "compare_astc"},
    "images": {"max_pixels"},
}
"""Settings that leave the exported files as they are, besides those of batches: where, on what, and how often saved."""
_SHOWN_LETTERS = 200
"""Values that have more letters together are not shown where they differ."""


@dataclass(frozen=True)
class Content:
    """What the result of a group depends on, as plain values."""

    files: dict[str, str]
    """SHA-256 of every file that is read, by name."""
    maps: dict[str, dict[str, object]]
    """How each map is read: its file, and what differs from taking it as it is."""
    settings: dict[str, object]
    """Settings that matter, by section.name."""


def group_content(config: Config, maps: MaterialMaps) -> Content:
    """Return what the result of a group depends on; raises `UserError` where a file cannot be read."""
    data_dir = Path(config.run.data_dir)
    return Content(
        _file_hashes(data_dir, maps, mask_path(config.images.mask, data_dir)),
        {name: _reading(source, data_dir) for name, source in maps.sources.items()},
        settings_that_matter(config),
    )


def _file_hashes(data_dir: Path, maps: MaterialMaps, mask: Path | None) -> dict[str, str]:
    # A material within a file is named after it: FILE.glb#MATERIAL.
    named = Path(str(data_dir).rpartition("#")[0] or data_dir)
    descriptions = [path for path in (named, data_dir, data_dir / "material.json") if path.is_file()]
    descriptions += [mask] if mask else []
    found = {_file_name(SourceImage(path), data_dir): _hash_file(path) for path in descriptions}
    for file in {source.file: None for source in maps.sources.values()}:
        if file.data is None:
            found[_file_name(file, data_dir)] = _hash_file(file.path)
        else:
            found[_file_name(file, data_dir)] = hashlib.sha256(file.data).hexdigest()
    return dict(sorted(found.items()))


def _file_name(file: SourceImage, data_dir: Path) -> str:
    """Return what a file is called wherever the folder of the material lies."""
    if file.data is not None:
        return f"{file.path.name}/{file.name}"
    return file.path.relative_to(data_dir).as_posix() if file.path.is_relative_to(data_dir) else file.path.name


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise UserError(describe_os_error(error, path)) from error
    return digest.hexdigest()


def _reading(source: MapSource, data_dir: Path) -> dict[str, object]:
    """Return how a map is read; what is as usual is left out, so that a field of a later version changes nothing."""
    reading: dict[str, object] = {"file": _file_name(source.file, data_dir)}
    for entry in dataclasses.fields(source):
        value = getattr(source, entry.name)
        if entry.name not in ("file", "reason", "guess") and value != entry.default:
            reading[entry.name] = list(value) if isinstance(value, tuple) else value
    return reading


def settings_that_matter(config: Config) -> dict[str, object]:
    """Return the settings on which the exported files depend, by section.name."""
    values: dict[str, Any] = config_to_dict(config)
    found = {
        f"{section}.{name}": value
        for section, fields in values.items()
        for name, value in fields.items()
        if name not in _ELSEWHERE.get(section, ()) and not (section == "run" and name.startswith("groups_"))
    }
    if early_stop_acts(config.train):
        found["train.early_stop_interval"] = effective_early_stop_interval(config)
    if config.model.target_bpp or config.model.target_psnr:
        # What was given by hand holds beside a target, and all else is chosen for it.
        chosen = {*GRID_FLAGS, *values["model"]}
        found["given"] = sorted(chosen & config.given)
    return found


def differences(before: Content, now: Content) -> list[str]:
    """Return a phrase for each thing that differs, empty where results would be the same."""
    found = [f"{name} is no longer read" for name in before.files if name not in now.files]
    for name, digest in now.files.items():
        if before.files.get(name) != digest:
            found.append(f"{name} has changed" if name in before.files else f"{name} is read now")
    for name in sorted(before.maps.keys() | now.maps.keys()):
        if before.maps.get(name) != now.maps.get(name) and not found:
            found.append(f"the {name} map is read in another way")
    return found + _setting_differences(before.settings, now.settings)


def _setting_differences(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    # A setting that one of the two versions of the toolkit does not know counts where it is not at its default.
    defaults = settings_that_matter(Config())
    found = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name, defaults.get(name)), now.get(name, defaults.get(name))
        if old != new:
            short = name.partition(".")[2] or name
            plain = all(isinstance(value, (str, int, float, bool, type(None))) for value in (old, new))
            plain = plain and len(f"{old}{new}") <= _SHOWN_LETTERS
            found.append(f"{short} is {new}, was {old}" if plain else f"{short} differs")
    return found
