"""What users name as a material: a folder of images, one material of a glTF file; and all that lie below a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from images.detection import find_maps
from images.folders import Listing, find_map_folder, largest_of_one, list_folder
from images.gltf import GLTF_SUFFIXES, gltf_maps, split_reference, textured_materials
from images.gltf_file import open_gltf
from images.material_file import MATERIAL_FILE, described_maps, read_material_file
from images.paths import unique_name
from images.search import MaterialInput, Search
from images.sources import MaterialMaps
from images.texture_types import TextureTable
from utils.errors import UserError


def material_maps(data_dir: str | Path, types: TextureTable) -> MaterialMaps:
    """Find the maps of one material: of a folder of images, or of `FILE.gltf`, `FILE.glb` or `FILE.glb#MATERIAL`.

    A folder says itself what its files are by a material.json, or the names of its images do. One without images may
    hold them in folders of its own, or as one glTF file.
    Raises `UserError` where no file, or two equal ones, could give a map, and where there are several materials.
    """
    reference = split_reference(data_dir)
    if reference:
        return gltf_maps(*reference, types)
    folder = Path(data_dir)
    listing = list_folder(folder)
    if MATERIAL_FILE not in listing.files:
        return _maps_by_name(listing, types)
    described = read_material_file(folder)
    images = [*listing.images, *listing.unread_images]
    if described.maps is not None:
        return described_maps(folder, described, types, images)
    ignored = described.ignored(images)
    files = tuple(name for name in listing.files if name not in ignored and name != MATERIAL_FILE)
    maps = _maps_by_name(replace(listing, files=files), types, ignored)
    if "normal" in maps.sources and described.normal_convention:
        directx = described.normal_convention == "directx"
        maps.sources["normal"] = replace(maps.sources["normal"], directx=directx, convention_named=True)
    return replace(maps, name=described.name or maps.name)


def input_exists(data_dir: str | Path) -> bool:
    """Whether there is a folder or a glTF file of this name; it may hold no material."""
    reference = split_reference(data_dir)
    return reference[0].is_file() if reference else Path(data_dir).is_dir()


def _maps_by_name(listing: Listing, types: TextureTable, ignored: set[str] | frozenset = frozenset()) -> MaterialMaps:
    """Find the maps of a folder by the names of its images, or of those in the folders in it."""
    folder = listing.path
    if listing.holds_maps(types):
        return find_maps(folder, types, ignored)
    name = folder.resolve().name or "material"
    beside_gltf = any(file.lower().endswith(GLTF_SUFFIXES) for file in listing.files)
    # The folders beside a glTF file hold the images that it names.
    within = None if beside_gltf else find_map_folder(listing, types)
    if within:
        if within.sources:
            return MaterialMaps(name, within.sources, notices=list(within.notices))
        maps = _moved(find_maps(within.folder, types), within.folder.relative_to(folder))
        return replace(maps, name=name, notices=[*within.notices, *maps.notices])
    own = os.path.abspath(folder)
    found = {one.name: one.data_dir for one in Search(folder, types).materials() if one.data_dir != own}
    if not found:
        return find_maps(folder, types, ignored)
    chosen = next(iter(found)) if len(found) == 1 else largest_of_one(list(found))
    if chosen is None:
        shown = ", ".join(list(found)[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        raise UserError(
            f"{folder} holds {len(found)} materials, not one ({shown}); name one of them, such as "
            f"{next(iter(found.values()))}, or train them all: --groups_batching --groups_batch_dir {folder}"
        )
    others = [other for other in found if other != chosen]
    notice = f"the maps lie in {chosen}" + (f", the largest; not used: {', '.join(others)}" if others else "")
    maps = material_maps(found[chosen], types)
    if split_reference(found[chosen]) is None:
        maps = _moved(maps, Path(found[chosen]).relative_to(own))
    return replace(maps, name=name, notices=[notice, *maps.notices])


def _moved(maps: MaterialMaps, folder: Path) -> MaterialMaps:
    """Return maps whose other files lie in a folder of the material's own."""
    return replace(maps, others={(folder / name).as_posix(): what for name, what in maps.others.items()})


def material_inputs(
    batch_dir: Path, types: TextureTable, excluded: Sequence[Path] = (), notices: list[str] | None = None
) -> list[MaterialInput]:
    """Find all materials below a folder at any depth, and those of the glTF files there, sorted by name.

    Folders `excluded`, such as the one for results, are left out with all below them, and so are hidden ones, those of
    training runs and what systems keep for themselves. Sentences on what is left out go to `notices`.
    What looks like a material but cannot be read is listed too, and so is a folder directly in `batch_dir` with no
    material in it: loading it tells what is missing.
    Raises `UserError` where `batch_dir` cannot be read.
    """
    search = Search(batch_dir, types, excluded, notices)
    taken: set[str] = set()
    return [
        replace(one, name=unique_name(one.name, taken))
        for one in sorted([*search.materials(), *search.empty()], key=lambda one: (one.name.casefold(), one.name))
    ]


def inspected_inputs(path: Path, types: TextureTable, notices: list[str]) -> dict[str, str]:
    """Return what `material_maps` takes for every material of a folder or of a glTF file, by name; else `path` itself.

    Sentences on what is left out go to `notices`. Raises `UserError` where the folder or the file cannot be read.
    """
    reference = split_reference(path)
    if reference and not reference[1] and reference[0].is_file():
        names = textured_materials(open_gltf(path))
        return {f"{path.stem}/{name}": f"{path}#{name}" for name in names} or {path.name: str(path)}
    found = material_inputs(path, types, (), notices) if path.is_dir() else []
    return {one.name: one.data_dir for one in found} or {path.name: str(path)}
