"""Folders of images: what they hold, and where in a folder without images of its own a material's maps lie."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from images.detection import IMAGE_SUFFIXES, OTHER_IMAGE_SUFFIXES, detect_maps, map_sources
from images.names import Detection
from images.sources import MapSource, SourceImage
from images.texture_types import TextureTable
from utils.errors import UserError, describe_os_error

_SYSTEM_FOLDERS = {"__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found"}
"""Lower-case names of folders that systems and network drives keep for themselves, some with copies of images."""
_MAP_FOLDERS = {"textures", "texture", "tex", "maps", "map", "texturemaps", "images", "img", "pbr"}
_MAP_FOLDERS |= {"png", "jpg", "jpeg", "exr", "tif", "tiff", "tga", "webp"}
"""Names, lower case and without separators, of folders that hold the maps of the material they lie in."""
_RESOLUTION = re.compile(
    r"(?P<stem>.*?)[_\-. ]*(?:(?P<k>\d{1,2})k|(?P<texels>\d{3,5})(?:x\d{3,5}|px)?)"
    r"(?:[_\-. ]*(?P<format>png|jpe?g|exr|tiff?|tga|webp))?",
    re.IGNORECASE,
)
_LOSSY = ("jpg", "jpeg", "webp")
_DEEPEST = 8
"""Folders within folders that are looked into for the maps of one material."""
_MOST_MAP_FOLDERS = 64
"""Folders beside each other of which some may hold one map each: a library has more, and asking takes time."""
_LONGEST_MAP_NAME = 32


@dataclass(frozen=True)
class Listing:
    """What a folder holds, without hidden files and what systems keep there; names are sorted."""

    path: Path
    files: tuple[str, ...]
    folders: tuple[str, ...]
    links: frozenset[str] = frozenset()
    """The folders that are symbolic links."""

    @property
    def images(self) -> list[str]:
        """Files that are images and can be read."""
        return [name for name in self.files if name.lower().endswith(IMAGE_SUFFIXES)]

    @property
    def unread_images(self) -> list[str]:
        """Files that are images in formats that are not read."""
        return [name for name in self.files if name.lower().endswith(OTHER_IMAGE_SUFFIXES)]

    @property
    def is_run(self) -> bool:
        """Whether this is the folder of a training run, whose pictures are no material."""
        return "config.json" in self.files and "models" in self.folders

    def holds_maps(self, types: TextureTable) -> bool:
        """Whether an image in the folder itself has the name of a map."""
        return any(map_names(name, types) for name in self.images)


@dataclass(frozen=True)
class MapFolder:
    """Where the maps of a material lie within its folder."""

    folder: Path
    sources: dict[str, MapSource] = field(default_factory=dict)
    """By type, where each map has a folder of its own; else empty."""
    notices: tuple[str, ...] = ()


def map_names(file_name: str, types: TextureTable) -> list[str]:
    """Return the types of map that a file's name promises."""
    found = detect_maps(file_name, types)
    return list(found.maps) if found else []


def list_folder(path: Path) -> Listing:
    """List a folder; raises `UserError` where there is none or it cannot be read."""
    files, folders, links = [], [], set()
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower() in _SYSTEM_FOLDERS:
                    continue
                # A link that leads nowhere is neither.
                if entry.is_dir():
                    folders.append(entry.name)
                    if entry.is_symlink():
                        links.add(entry.name)
                elif entry.is_file():
                    files.append(entry.name)
    except FileNotFoundError:
        raise UserError(f"there is no folder {path}; name a folder that holds the images of one material") from None
    except NotADirectoryError:
        raise UserError(
            f"{path} is a file; name the folder that holds the images of one material, or a .gltf or .glb file"
        ) from None
    except OSError as error:
        raise UserError(describe_os_error(error, path)) from error
    return Listing(path, tuple(sorted(files)), tuple(sorted(folders)), frozenset(links))


def find_map_folder(listing: Listing, types: TextureTable, depth: int = 0) -> MapFolder | None:
    """Find where the maps lie of a folder whose own images are no maps, None where it is no material.

    Folders count whose names say that they belong to the one they lie in, such as textures, 4K or Albedo.
    Raises `UserError` where one of these cannot be read.
    """
    by_type = _by_type(listing, types)
    if by_type:
        names = ", ".join(f"{source.file.path.parent.name} ({name})" for name, source in by_type.items())
        return MapFolder(listing.path, by_type, (f"every map has a folder of its own: {names}",))
    found: dict[str, MapFolder] = {}
    for name in listing.folders:
        if _belongs_to_parent(name):
            inner = list_folder(listing.path / name)
            if inner.is_run:
                continue
            within = MapFolder(inner.path) if inner.holds_maps(types) else None
            if within is None and depth < _DEEPEST:
                within = find_map_folder(inner, types, depth + 1)
            if within:
                found[name] = within
    chosen = next(iter(found), None) if len(found) == 1 else largest_of_one(list(found))
    if chosen is None:
        return None
    notice = f"the maps lie in {chosen}"
    if len(found) > 1:
        notice += f", the largest; not used: {', '.join(name for name in found if name != chosen)}"
    return MapFolder(found[chosen].folder, found[chosen].sources, (notice, *found[chosen].notices))


def largest_of_one(names: Sequence[str]) -> str | None:
    """Return the folder of the largest resolution where names differ in nothing else, None where they do.

    Of several of one resolution those of lossless formats come first.

    >>> largest_of_one(["1K-JPG", "4K-JPG", "4K-PNG"]), largest_of_one(["rock_512", "rock_2k"])
    ('4K-PNG', 'rock_2k')
    >>> largest_of_one(["rock_1k", "wood_2k"])
    """
    sizes = {name: size for name in names if (size := _resolution(name))}
    if not names or len(sizes) < len(names) or len({stem for stem, _, _ in sizes.values()}) > 1:
        return None
    return max(names, key=lambda name: sizes[name][1:])


def used_folders(listing: Listing, found: MapFolder) -> set[str]:
    """Return the folders of a listing that belong to the material found in it, used or left for a larger one."""
    paths = [source.file.path for source in found.sources.values()] or [found.folder]
    first = {path.relative_to(listing.path).parts[0] for path in paths}
    if any(_is_resolution(name) for name in first):
        first |= {name for name in listing.folders if _is_resolution(name)}
    return first


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _resolution(name: str) -> tuple[str, int, bool] | None:
    """What the name of a folder says of a resolution: the rest of the name, texels per side, whether lossless."""
    match = _RESOLUTION.fullmatch(name)
    if match is None:
        return None
    texels = int(match["k"]) * 1024 if match["k"] else int(match["texels"])
    return match["stem"].lower(), texels, (match["format"] or "png").lower() not in _LOSSY


def _is_resolution(name: str) -> bool:
    resolution = _resolution(name)
    return resolution is not None and not resolution[0]


def _belongs_to_parent(name: str) -> bool:
    return _letters(name) in _MAP_FOLDERS or _is_resolution(name)


def _by_type(listing: Listing, types: TextureTable) -> dict[str, MapSource]:
    """Return the source of every type where folders are named after maps and hold one image each, else nothing."""
    sources: dict[str, MapSource] = {}
    if len(listing.folders) > _MOST_MAP_FOLDERS:
        return {}
    named = {name: found for name in listing.folders if (found := _map_of_folder(name, types))}
    if len(named) < 2:
        return {}
    for name, found in named.items():
        inner = list_folder(listing.path / name)
        if not inner.images:
            continue
        type_name = next(iter(found.maps))
        own = [other for image in inner.images for other in map_names(image, types)]
        if len(inner.images) > 1 or own not in ([], [type_name]) or type_name in sources:
            return {}
        source = map_sources(SourceImage(inner.path / inner.images[0]), found)[type_name]
        sources[type_name] = replace(source, reason=f"folder {name}")
    ordered = {texture.name: sources[texture.name] for texture in types if texture.name in sources}
    return ordered if len(ordered) > 1 else {}


def _map_of_folder(name: str, types: TextureTable) -> Detection | None:
    """What a folder's name says where it is the name of one map and nothing else."""
    found = detect_maps(name, types) if len(name) <= _LONGEST_MAP_NAME else None
    if found is None or list(found.maps.values()) != [None] or _letters(found.keyword) != _letters(name):
        return None
    return found
