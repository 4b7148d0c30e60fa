"""material.json: which file of a folder is which map, said by hand instead of by names."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from configs import TEXTURE_CHANNELS
from images.detection import IMAGE_SUFFIXES
from images.names import read_name
from images.paths import file_within
from images.sources import MapSource, MaterialMaps, SourceImage
from images.texture_types import TextureTable
from utils.errors import UserError, describe_os_error
from utils.invalid_values import dotted, error_message, shown

MATERIAL_FILE = "material.json"
MOST_BYTES = 1 << 20
"""Largest material.json that is read."""

Convention = Literal["opengl", "directx"]
FileName = Annotated[str, Field(min_length=1, max_length=1024)]
Factor = Annotated[float, Field(ge=0, le=100)]


def _as_object(value: Any) -> Any:
    """The name of a file alone stands for an object that names it."""
    return {"file": value} if isinstance(value, str) else value


def _readable(name: str) -> str:
    if not name.isprintable() or not name.strip():
        raise ValueError("a text that can be shown on one line")
    return name


class MapEntry(BaseModel):
    """One map: the name of a file, or an object that says more."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    file: FileName
    """Beside material.json or in a folder below, with `/` between folders."""
    channel: Literal["R", "G", "B", "A"] | None = None
    """The channel of a packed file; by default the whole file."""
    inverted: bool = False
    """Whether the file holds 1 minus the map: glossiness for roughness, depth for displacement."""
    factor: Factor | Annotated[list[Factor], Field(min_length=3, max_length=3)] | None = None
    """What values are multiplied by: one number, or one each for red, green and blue in linear light."""
    convention: Convention | None = None
    """Of a normal map: whether green points up (opengl) or down (directx)."""


class MaterialFile(BaseModel):
    """What material.json may hold; every key may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    name: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_readable)] | None = None
    """The material's name; by default that of its folder."""
    maps: dict[str, Annotated[MapEntry, BeforeValidator(_as_object)]] | None = None
    """By type; where it is given, no file is looked for by its name."""
    normal_convention: Convention | None = None
    """Of the normal map, also where that is found by its name."""
    ignore: Annotated[list[FileName], Field(max_length=1000)] = []
    """Files in the folder that are no maps, as names or patterns such as `*_preview.*`."""

    def ignored(self, names: Sequence[str]) -> set[str]:
        """Return those of some file names that are to be ignored."""
        return {name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in self.ignore)}

    def folders(self) -> set[str]:
        """Return the folders in the material's own that its maps lie in."""
        paths = [Path(entry.file) for entry in (self.maps or {}).values()]
        return {path.parts[0] for path in paths if len(path.parts) > 1}


def read_material_file(folder: Path) -> MaterialFile:
    """Read a folder's material.json; raises `UserError` with one line on what is wrong in it."""
    path = folder / MATERIAL_FILE
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(describe_os_error(error, path)) from error
    if len(data) > MOST_BYTES:
        raise UserError(f"{path} is larger than {MOST_BYTES >> 10} KiB; it only has to name the maps, make it shorter")
    try:
        # Editors on Windows may begin a file with the mark of its coding.
        described = MaterialFile.model_validate_json(data.removeprefix(b"\xef\xbb\xbf"))
    except ValidationError as error:
        raise UserError(f"{path}: {_message(error.errors(include_url=False)[0])}") from error
    for type_name, entry in (described.maps or {}).items():
        problem = _contradiction(type_name, entry, described)
        if problem:
            raise UserError(f"{path}: {problem}")
    if described.maps == {}:
        raise UserError(f"{path}: maps is empty; name at least one of {', '.join(TEXTURE_CHANNELS)}, or leave it out")
    return described


def _message(error: Mapping) -> str:
    """Say in one line which key is wrong, what was found and what is allowed there."""
    if error["type"] == "json_invalid":
        return f"not valid JSON ({error['ctx']['error']}); mend it at that place"
    # A union of types has an entry of its own, which no file has.
    place = [part for part in error["loc"] if "constrained" not in str(part)]
    if error["type"] == "extra_forbidden":
        model = MapEntry if len(error["loc"]) > 1 else MaterialFile
        return f"unknown key {dotted(place)}; allowed: {', '.join(model.model_fields)}"
    return error_message({**error, "loc": place})


def _contradiction(type_name: str, entry: MapEntry, described: MaterialFile) -> str:
    """Say what in the entry of a map cannot be, "" where all can."""
    if type_name not in TEXTURE_CHANNELS:
        return f"unknown key maps.{shown(type_name).strip(chr(39))}; allowed: {', '.join(TEXTURE_CHANNELS)}"
    where = f"maps.{type_name}"
    if not entry.file.lower().endswith(IMAGE_SUFFIXES):
        return f"{where}.file is {shown(entry.file)}; formats that are read: {', '.join(IMAGE_SUFFIXES)}"
    if type_name != "normal" and entry.convention:
        return f"{where}.convention is for the normal map alone; remove it"
    if type_name == "normal":
        if entry.channel or entry.inverted or entry.factor is not None:
            return f"{where} has a channel, an inversion or a factor, which normals cannot have; see convention"
        if (
            None not in (entry.convention, described.normal_convention)
            and entry.convention != described.normal_convention
        ):
            return (
                f"{where}.convention is {entry.convention}, normal_convention {described.normal_convention}; keep one"
            )
    if TEXTURE_CHANNELS[type_name] == 1 and isinstance(entry.factor, list):
        return f"{where}.factor has three numbers for a map of one channel; give one number"
    return ""


def described_maps(folder: Path, described: MaterialFile, types: TextureTable, names: Sequence[str]) -> MaterialMaps:
    """Return the maps that a folder's material.json names; `names` are those of all images in the folder.

    Raises `UserError` where a file is missing or does not lie within the folder.
    """
    entries, sources = described.maps or {}, {}
    for texture in types:
        entry = entries.get(texture.name)
        if entry is None:
            continue
        path = file_within(folder, entry.file, str(folder / MATERIAL_FILE))
        convention = entry.convention or (described.normal_convention if texture.name == "normal" else None)
        factor = entry.factor if isinstance(entry.factor, list) else [entry.factor] * texture.count
        sources[texture.name] = MapSource(
            SourceImage(path),
            None if entry.channel is None else "RGBA".index(entry.channel),
            directx=convention == "directx",
            convention_named=convention is not None,
            inverted=entry.inverted,
            factor=tuple(value for value in factor if value is not None),
            reason=MATERIAL_FILE,
            # Where green points is then left to the pixels.
            stated=texture.name != "normal" or convention is not None,
        )
    used = {source.file.path for source in sources.values()} | {folder / name for name in described.ignored(names)}
    others = {}
    for name in names:
        if folder / name not in used:
            found = read_name(name, types)
            others[name] = found.other if found and found.other else f"not named in {MATERIAL_FILE}"
    return MaterialMaps(described.name or folder.resolve().name or "material", sources, others)
