"""What users name as a material: a folder of images, and all materials that lie below a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from images.detection import find_maps
from images.folders import Listing, find_map_folder, largest_of_one, list_folder, used_folders
from images.sources import MaterialMaps
from images.texture_types import TextureType
from utils.errors import UserError


@dataclass(frozen=True)
class MaterialInput:
    """One of the materials below a folder."""

    name: str
    """Its path below that folder, with `/` on every system; unique whatever the case of its letters."""
    data_dir: str
    """What `material_maps` takes, absolute."""


def material_maps(data_dir: str | Path, types: Sequence[TextureType]) -> MaterialMaps:
    """Find the maps of one material: a folder of images, or one whose images lie in a folder of it.

    Raises `UserError` where no file, or two equal ones, could give a map, and where there are several materials.
    """
    folder = Path(data_dir)
    listing = list_folder(folder)
    if listing.holds_maps(types):
        return find_maps(folder, types)
    name = folder.resolve().name or "material"
    within = find_map_folder(listing, types)
    if within:
        if within.sources:
            return MaterialMaps(name, within.sources, notices=list(within.notices))
        maps = find_maps(within.folder, types)
        return replace(maps, name=name, notices=[*within.notices, *maps.notices])
    found = {one.name: one.data_dir for one in material_inputs(folder, types) if not _same(one.data_dir, folder)}
    if not found:
        return find_maps(folder, types)
    chosen = next(iter(found)) if len(found) == 1 else largest_of_one(list(found))
    if chosen is None:
        shown = ", ".join(list(found)[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        raise UserError(
            f"{folder} holds {len(found)} materials in its folders ({shown}); name one of them, or train them all: "
            f"--groups_batching --groups_batch_dir {folder}"
        )
    others = [other for other in found if other != chosen]
    notice = f"the maps lie in {chosen}" + (f", the largest; not used: {', '.join(others)}" if others else "")
    maps = material_maps(found[chosen], types)
    return replace(maps, name=name, notices=[notice, *maps.notices])


def material_inputs(
    batch_dir: Path, types: Sequence[TextureType], excluded: Sequence[Path] = (), notices: list[str] | None = None
) -> list[MaterialInput]:
    """Find all materials below a folder at any depth, sorted by name.

    Folders `excluded`, such as the one for results, are left out with all below them, and so are hidden ones, those of
    training runs and what systems keep for themselves. Sentences on folders that are left out go to `notices`.
    Folders of images whose names say nothing are listed too: loading them tells what is missing.
    Raises `UserError` where `batch_dir` cannot be read.
    """
    notices = notices if notices is not None else []
    found = sorted(_walk(batch_dir, types, excluded, notices), key=lambda one: (one.name.casefold(), one.name))
    taken: set[str] = set()
    unique = []
    for one in found:
        unique.append(replace(one, name=_unique(one.name, taken)))
    return unique


def _unique(name: str, taken: set[str]) -> str:
    """Return the name with the first number that makes it unique among `taken`, which it joins."""
    candidate, number = name, 2
    while candidate.casefold() in taken:
        candidate, number = f"{name}_{number}", number + 1
    taken.add(candidate.casefold())
    return candidate


def _walk(
    batch_dir: Path, types: Sequence[TextureType], excluded: Sequence[Path], notices: list[str]
) -> list[MaterialInput]:
    """Return the materials of a folder and of all folders in it, each folder once whatever links lead to it."""
    root = Path(os.path.abspath(batch_dir))
    own_name = root.resolve().name or "material"
    left_out = {_identity(path) for path in excluded if not _is_within(root, path)}
    seen: dict[tuple[int, int] | str, str] = {}
    # Links come last, so that a folder goes by its own name where it lies in the tree itself.
    waiting: list[tuple[str, Path]] = [("", root)]
    linked: list[tuple[str, Path]] = []
    named, unnamed = [], []
    while waiting or linked:
        path_name, path = waiting.pop() if waiting else linked.pop()
        try:
            path_name.encode()
        except UnicodeEncodeError:
            notices.append(f"left out {ascii(path_name)}: its name is no valid text, rename it")
            continue
        identity = _identity(path)
        if identity in left_out:
            continue
        if identity in seen:
            notices.append(f"left out {path_name}: it is the same folder as {seen[identity] or 'the one it lies in'}")
            continue
        seen[identity] = path_name
        try:
            listing = list_folder(path)
        except UserError as error:
            if path == root:
                raise
            notices.append(f"left out {path_name}: {error}")
            continue
        if listing.is_run:
            continue
        inner = set(listing.folders)
        material = listing.holds_maps(types)
        if not material:
            within = _maps_within(listing, types, left_out)
            material, inner = bool(within), inner - within
        if material:
            named.append(MaterialInput(path_name or own_name, str(path)))
        elif listing.images or listing.unread_images:
            unnamed.append(MaterialInput(path_name or own_name, str(path)))
        for name in sorted(inner, reverse=True):
            entry = f"{path_name}/{name}" if path_name else name, path / name
            (linked if name in listing.links else waiting).append(entry)
    # Pictures beside folders of maps are previews or references.
    parents = {str(parent) for one in named for parent in Path(one.data_dir).parents}
    for one in unnamed:
        if one.data_dir in parents:
            notices.append(f"no known keyword in the names of the images in {one.name}, left out beside its folders")
        else:
            named.append(one)
    return named


def _maps_within(listing: Listing, types: Sequence[TextureType], left_out: set[tuple[int, int] | str]) -> set[str]:
    """Return the folders that hold the maps of the folder they lie in, nothing where there are none."""
    if left_out:
        kept = (name for name in listing.folders if _identity(listing.path / name) not in left_out)
        listing = replace(listing, folders=tuple(kept))
    try:
        found = find_map_folder(listing, types)
    except UserError:
        # A folder that cannot be read is named when its turn comes.
        return set()
    return used_folders(listing, found) if found else set()


def _same(data_dir: str, folder: Path) -> bool:
    return os.path.abspath(folder) == data_dir


def _identity(path: Path) -> tuple[int, int] | str:
    """What tells a folder from all others, whatever path leads to it."""
    try:
        status = os.stat(path)
        if status.st_ino:
            return status.st_dev, status.st_ino
    except OSError:
        pass
    return os.path.normcase(os.path.realpath(path))


def _is_within(path: Path, folder: Path) -> bool:
    """Whether `path` is `folder` or lies below it."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
