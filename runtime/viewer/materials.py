"""Which exports the viewer opens, and the images that each of them was trained on, where they are still there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from formats.manifest import MANIFEST_NAME, check_files, find_export, image_settings, read_manifest
from utils.errors import UsageError, UserError
from utils.files import read_json

if TYPE_CHECKING:
    from dataset import TextureSet
    from formats.reader import NeuralTextureReader

_RUN_NAME = re.compile(r"\d{4}(-\d\d){5}")


@dataclass
class OpenedMaterial:
    """One export that the viewer shows."""

    folder: Path
    """The exported folder."""
    run: str
    """Name of the run or folder, as the picker shows it."""
    manifest: dict
    data_dir: Path | None = None
    """The folder of images, or the material of a glTF file, that it was trained on, as far as known."""
    preset: str = ""
    """The preset it was trained with, as far as known."""

    @property
    def name(self) -> str:
        """The material's name."""
        return self.manifest.get("name") or (self.data_dir.name if self.data_dir else self.run)

    @property
    def present(self) -> dict[str, bool]:
        """Whether each map is present, in canonical order."""
        return {channel["name"]: channel["present"] for channel in self.manifest["channels"]}

    @cached_property
    def reader(self) -> NeuralTextureReader:
        """The reference decoder of this export."""
        from formats.reader import NeuralTextureReader

        return NeuralTextureReader(self.folder)

    @cached_property
    def textures(self) -> TextureSet:
        """The original images; raises `UserError` where they are gone or are not those that were trained on."""
        if self.data_dir is None:
            raise UserError(f"{self.folder} does not say where its images are; name them with --data_dir")
        if not _exists(self.data_dir):
            raise UserError(f"the images are not in {self.data_dir} any more; name their folder with --data_dir")
        from dataset import load_texture_set

        textures = load_texture_set(self.data_dir, images=image_settings(self.manifest, self.data_dir))
        if (textures.width, textures.height) != (self.manifest["width"], self.manifest["height"]) or any(
            textures.present[name] != present for name, present in self.present.items()
        ):
            raise UserError(f"{self.data_dir} holds images of another size or other maps than this run was trained on")
        if self.manifest.get("fingerprint") not in (None, textures.fingerprint):
            raise UserError(
                f"the images in {self.data_dir} are not those this run was measured on; put them back, or name their "
                "folder with --data_dir"
            )
        return textures

    @property
    def originals_missing(self) -> str:
        """ "" where the folder of images is there, else one line that says what is missing; reads no image."""
        if self.data_dir is None:
            return "where the original images are is not known; name their folder with --data_dir"
        return "" if _exists(self.data_dir) else f"the images are not in {self.data_dir} any more"


def short_labels(materials: Sequence[OpenedMaterial]) -> list[str]:
    """Return what tells opened materials apart, as short as can be: names, with presets, or with runs."""
    choices = (
        [material.name for material in materials],
        [material.preset or material.run for material in materials],
        [f"{material.name}, {material.preset or material.run}" for material in materials],
        [material.run for material in materials],
    )
    labels = next((labels for labels in choices if len(set(labels)) == len(labels)), None)
    return labels or [f"{number + 1}: {material.run}" for number, material in enumerate(materials)]


def _newest_run(folder: Path) -> Path:
    """Return `folder`, or the newest run in it where it is a folder of runs."""
    if (folder / MANIFEST_NAME).is_file() or (folder / "models").is_dir():
        return folder
    runs = sorted(path for path in folder.iterdir() if _RUN_NAME.fullmatch(path.name) and (path / "models").is_dir())
    return runs[-1] if runs else folder


def _run_settings(run_dir: Path) -> dict:
    """Return the section "run" of a run's config.json, empty where there is none."""
    path = run_dir / "config.json"
    config = read_json(path) if path.is_file() else None
    section = config.get("run") if isinstance(config, dict) else None
    return section if isinstance(section, dict) else {}


def _exists(data_dir: Path) -> bool:
    """Whether a folder of images, or a glTF file, is there."""
    from images.inputs import input_exists

    return input_exists(data_dir)


def _trained_on(name: object, run_dir: Path) -> Path | None:
    """Return the folder of images that a run's settings name, None where they name none.

    A relative one is looked for from the present folder and from those above the run, where training was started.
    """
    if not isinstance(name, str) or not name:
        return None
    candidates = [Path(name), *(parent / name for parent in run_dir.resolve().parents)]
    return next((candidate for candidate in candidates if _exists(candidate)), Path(name))


def refuse_links_outside(folder: Path, names: Sequence[str]) -> None:
    """Raise `UserError` where a listed file is a link that leads out of its folder: the viewer serves nothing else."""
    for name in names:
        if (folder / name).resolve().parent != folder.resolve():
            raise UserError(f"{folder / name} is a link that leads out of its folder; copy the file itself there")


def open_material(load_dir: Path, load_iter: int = -1, data_dir: Path | None = None) -> OpenedMaterial:
    """Open a run folder, an exported folder, or the newest run of a folder of runs, and check its files.

    Raises `UsageError` where there is no export, `UserError` where its files are damaged.
    """
    if not load_dir.is_dir():
        raise UsageError(f"load_dir {load_dir} is no folder; give a run folder, an exported folder or a folder of runs")
    run_dir = _newest_run(load_dir)
    folder = find_export(run_dir, load_iter)
    manifest = read_manifest(folder)
    refuse_links_outside(folder, [MANIFEST_NAME, *(entry["name"] for entry in manifest["files"])])
    check_files(folder, manifest)
    home = folder.parent.parent if folder.parent.name == "models" else folder
    iteration = folder.name.removeprefix("train_result_") if folder.parent.name == "models" else ""
    run = f"{home.resolve().name} @ {iteration}" if iteration else folder.resolve().name
    settings = _run_settings(home)
    preset = settings.get("preset")
    return OpenedMaterial(
        folder,
        run,
        manifest,
        data_dir or _trained_on(settings.get("data_dir"), home),
        preset if isinstance(preset, str) else "",
    )


def open_materials(
    load_dirs: Sequence[Path], load_iter: int = -1, data_dirs: Sequence[Path] = ()
) -> list[OpenedMaterial]:
    """Open one or more runs; `data_dirs` is empty, one folder of images for all, or one for each.

    Raises `UsageError` and `UserError` as `open_material` does.
    """
    if len(data_dirs) not in (0, 1, len(load_dirs)):
        raise UsageError(f"{len(data_dirs)} folders in --data_dir for {len(load_dirs)} runs; give one, or one for each")
    for path in data_dirs:
        if not _exists(path):
            raise UsageError(f"data_dir {path} is neither a folder nor a glTF file; give what the run was trained on")
    folders: list[Path | None] = [*data_dirs] * (len(load_dirs) if len(data_dirs) == 1 else 1)
    folders = folders or [None] * len(load_dirs)
    return [open_material(path, load_iter, images) for path, images in zip(load_dirs, folders)]
