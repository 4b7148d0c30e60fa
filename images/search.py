"""All materials that lie below a folder, at any depth."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from images.folders import Listing, find_map_folder, list_folder, used_folders
from images.gltf import GLTF_SUFFIXES, textured_materials
from images.gltf_file import open_gltf
from images.material_file import MATERIAL_FILE, MaterialFile, read_material_file
from images.texture_types import TextureTable
from utils.errors import UserError

_PREVIEWS = {"thumb", "thumbs", "thumbnail", "thumbnails", "preview", "previews"}
"""Names of folders that hold a material's maps again, smaller."""


@dataclass(frozen=True)
class MaterialInput:
    """One of the materials below a folder."""

    name: str
    """Its path below that folder, with `/` on every system; unique whatever the case of its letters."""
    data_dir: str
    """What `material_maps` takes, absolute."""


class Search:
    """A folder and all folders in it, each once whatever links lead to it."""

    def __init__(
        self, batch_dir: Path, types: TextureTable, excluded: Sequence[Path] = (), notices: list[str] | None = None
    ) -> None:
        """`excluded`: folders to leave out with all below them; sentences on what is left out go to `notices`."""
        self.root = Path(os.path.abspath(batch_dir))
        self.types = types
        self.notices = notices if notices is not None else []
        self.left_out = {_identity(path) for path in excluded if not _is_within(self.root, path)}
        self.seen: dict[tuple[int, int] | str, str] = {}
        self.named: list[MaterialInput] = []
        self.unnamed: list[MaterialInput] = []
        # By folder, the images that a glTF file there or further up names as its own.
        self.of_gltf: dict[str, set[str]] = {}
        # Folders in the root, and those of them that are left out with a line or as results.
        self.first: dict[str, Path] = {}
        self.accounted: set[str] = set()

    def materials(self) -> list[MaterialInput]:
        """Return the materials as they are met."""
        # Links come last, so that a folder goes by its own name where it lies in the tree itself.
        waiting: list[tuple[str, Path]] = [("", self.root)]
        linked: list[tuple[str, Path]] = []
        while waiting or linked:
            name, path = waiting.pop() if waiting else linked.pop()
            listing = self._list(name, path)
            if name and "/" not in name:
                self.first[name] = path
            if listing is None or listing.is_run:
                self.accounted.add(name.partition("/")[0])
                continue
            for inner in sorted(self._visit(name, listing), reverse=True):
                entry = f"{name}/{inner}" if name else inner, path / inner
                (linked if inner in listing.links else waiting).append(entry)
        # Pictures beside folders of maps, or in the folder of a material, are previews or references.
        folders = {one.data_dir for one in self.named}
        above = {str(parent) for one in self.named for parent in Path(one.data_dir).parents}
        for one in self.unnamed:
            if one.data_dir in above or any(str(parent) in folders for parent in Path(one.data_dir).parents):
                self.notices.append(
                    f"no known keyword in the names of the images in {one.name}, left out beside a material"
                )
            else:
                self.named.append(one)
        return self.named

    def empty(self) -> list[MaterialInput]:
        """Return the folders in the root in which nothing was found, after `materials`."""
        if any(one.data_dir == str(self.root) for one in self.named):
            # They belong to the material that the root is.
            return []
        found = {one.name.partition("/")[0] for one in self.named} | self.accounted
        return [MaterialInput(name, str(path)) for name, path in self.first.items() if name not in found]

    def _list(self, name: str, path: Path) -> Listing | None:
        """List a folder whose turn it is, None where it is left out."""
        try:
            name.encode()
        except UnicodeEncodeError:
            self.notices.append(f"left out {ascii(name)}: its name is no valid text, rename it")
            return None
        identity = _identity(path)
        if identity in self.left_out:
            return None
        if identity in self.seen:
            same = self.seen[identity] or "the one that is searched"
            self.notices.append(f"left out {name}: it is the same folder as {same}")
            return None
        self.seen[identity] = name
        try:
            return list_folder(path)
        except UserError as error:
            if path == self.root:
                raise
            self.notices.append(f"left out {name}: {error}")
            return None

    def _visit(self, name: str, listing: Listing) -> set[str]:
        """Add the materials of a folder itself; returns the folders in it that remain to be visited."""
        for file_name in listing.files:
            if file_name.lower().endswith(GLTF_SUFFIXES):
                self._add_gltf(f"{name}/{file_name}" if name else file_name, listing.path / file_name)
        claimed = self.of_gltf.get(str(listing.path))
        if claimed:
            listing = replace(listing, files=tuple(file for file in listing.files if file not in claimed))
        material = MaterialInput(name or self.root.resolve().name or "material", str(listing.path))
        inner = set(listing.folders)
        if MATERIAL_FILE in listing.files:
            self.named.append(material)
            return inner - _described(listing).folders()
        holds_maps = listing.holds_maps(self.types)
        within = set() if holds_maps else self._map_folders(listing)
        if holds_maps or within:
            self.named.append(material)
            previews = sorted(folder for folder in inner - within if folder.lower() in _PREVIEWS)
            self.notices += [f"left out {material.name}/{folder}: previews of the material" for folder in previews]
            return inner - within - set(previews)
        if listing.images or listing.unread_images:
            self.unnamed.append(material)
        return inner

    def _map_folders(self, listing: Listing) -> set[str]:
        """Return the folders that hold the maps of the folder they lie in, nothing where there are none."""
        if self.left_out:
            kept = (name for name in listing.folders if _identity(listing.path / name) not in self.left_out)
            listing = replace(listing, folders=tuple(kept))
        try:
            found = find_map_folder(listing, self.types)
        except UserError:
            # A folder that cannot be read is named when its turn comes.
            return set()
        if found is None:
            return set()
        folders = {found.folder, *(source.file.path.parent for source in found.sources.values())}
        if any(str(folder) in self.of_gltf for folder in folders):
            # What is left of them shows when their turn comes.
            return set()
        return used_folders(listing, found)

    def _add_gltf(self, name: str, path: Path) -> None:
        """Add the materials of a glTF file, the file itself where it is damaged."""
        stem = name[: -len(path.suffix)]
        try:
            file = open_gltf(path)
            found = textured_materials(file)
        except UserError:
            self.named.append(MaterialInput(stem, str(path)))
            return
        if not found:
            self.notices.append(f"left out {name}: none of its materials has an image")
            self.accounted.add(name.partition("/")[0])
        self.named += [MaterialInput(f"{stem}/{material}", f"{path}#{material}") for material in found]
        for index in range(len(file.document.images)):
            try:
                image = file.image_file(index)
            except UserError:
                # Loading the material tells.
                continue
            if image:
                folder, file_name = os.path.split(os.path.normpath(image))
                self.of_gltf.setdefault(folder, set()).add(file_name)


def _described(listing: Listing) -> MaterialFile:
    """Read a folder's material.json, an empty one where it is damaged: loading the material tells why."""
    try:
        return read_material_file(listing.path)
    except UserError:
        return MaterialFile()


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
