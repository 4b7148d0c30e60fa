"""What a batch finds below its folder: the materials, and the folders that hold none."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from batch.names import RUN_FOLDER
from images.folders import Listing, list_folder
from images.inputs import MaterialInput, material_inputs
from images.texture_types import TextureTable
from utils.errors import UsageError, UserError


@dataclass
class Found:
    """The materials below a folder, and what is not trained of it."""

    materials: list[MaterialInput]
    notices: list[str] = field(default_factory=list)
    """Sentences on folders that could be read but are left out, such as links to others."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Folders without any material in them, by path: why."""


def find_materials(batch_dir: Path, save_dir: Path, types: TextureTable) -> Found:
    """Find all materials below `batch_dir`, without `save_dir` where that lies in it.

    Raises `UsageError` where there is no folder or no material.
    """
    if not batch_dir.is_dir():
        raise UsageError(f"groups_batch_dir {batch_dir} is no folder; give a folder with one sub-folder per material")
    notices: list[str] = []
    materials = material_inputs(batch_dir, types, [save_dir], notices)
    if not materials:
        raise UsageError(
            f"groups_batch_dir {batch_dir} has no sub-folder with images; give a folder with one sub-folder per material"
        )
    root = Path(os.path.abspath(batch_dir))
    homes = {_home(one) for one in materials}
    around = {parent for home in homes for parent in home.parents}
    skipped: dict[str, str] = {}
    _skipped_below(root, root, homes, around, os.path.realpath(save_dir), skipped)
    return Found(materials, notices, skipped)


def _home(material: MaterialInput) -> Path:
    """Return the folder of a material, also of one that lies within a file."""
    path = Path(material.data_dir)
    if not path.exists():
        # FILE.glb#MATERIAL
        path = Path(material.data_dir.rpartition("#")[0] or material.data_dir)
    return path if path.is_dir() else path.parent


def _skipped_below(
    folder: Path, root: Path, homes: set[Path], around: set[Path], save_dir: str, skipped: dict[str, str]
) -> None:
    """Add to `skipped` the topmost folders below `folder` that neither are nor hold nor lie in a material."""
    try:
        listing = list_folder(folder)
    except UserError:
        # Named in a notice.
        return
    for name in listing.folders:
        path = folder / name
        if name in listing.links or path in homes or RUN_FOLDER.fullmatch(name) or os.path.realpath(path) == save_dir:
            continue
        if path in around:
            _skipped_below(path, root, homes, around, save_dir, skipped)
        # What lies in a material is part of it.
        elif folder not in homes or folder == root:
            skipped[path.relative_to(root).as_posix()] = _why(path)


def _why(path: Path) -> str:
    """Say why a folder without a material is none."""
    try:
        listing: Listing = list_folder(path)
    except UserError as error:
        return str(error)
    if not listing.files and not listing.folders:
        return "it is empty"
    files = f"{len(listing.files)} {'file' if len(listing.files) == 1 else 'files'}"
    return "no images in it or below" if listing.folders else f"no images among its {files}"
