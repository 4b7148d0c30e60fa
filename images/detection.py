"""Which file of a folder holds which map, by the keywords in file names."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from images.names import Detection, name_words, read_name
from images.sources import MapSource, MaterialMaps, SourceImage
from images.texture_types import UNUSED, TextureTable
from images.words import SHORTEST_JOINED
from utils.errors import UserError, describe_os_error

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tga", ".bmp", ".tif", ".tiff", ".webp", ".exr", ".hdr")
OTHER_IMAGE_SUFFIXES = (
    ".dds",
    ".ktx",
    ".ktx2",
    ".psd",
    ".psb",
    ".gif",
    ".jp2",
    ".jfif",
    ".jxl",
    ".avif",
    ".heic",
    ".svg",
    ".ppm",
    ".pgm",
    ".xcf",
    ".kra",
)


_UDIM = re.compile(r"\.(1(?:00[1-9]|0[1-9]\d|[1-9]\d\d))$|[_.](u\d+_v\d+)$|(<UDIM>)|(%\(UDIM\)d)", re.IGNORECASE)
"""The tile at the end of a stem, as painting programs write it: rock_albedo.1001, rock_albedo_u1_v1."""
_TILE_NUMBER = re.compile(r"(?<!\d)1(?:00[1-9]|0[1-9]\d|[1-9]\d\d)(?!\d)")


@dataclass(frozen=True)
class _Candidate:
    """A file that could give a map."""

    source: MapSource
    name: Detection

    @property
    def order(self) -> tuple[int, ...]:
        """What decides between files for one map: the lower is taken."""
        packed, unnamed = bool(self.name.packed), not self.source.convention_named
        return packed, self.source.directx, self.name.rank, unnamed, -self.name.bits

    def reason_against(self, best: _Candidate) -> str:
        """Say why `best` is taken in the place of this one."""
        if self.name.packed and not best.name.packed:
            return "a packed file comes after one of the map's own"
        if self.source.directx and not best.source.directx:
            return "DirectX comes last"
        if self.name.rank != best.name.rank:
            return f"{self.name.keyword} comes after {best.name.keyword}"
        if not self.source.convention_named and best.source.convention_named:
            return "the other one names its convention"
        return f"the other one has {best.name.bits} bits"


def detect_maps(file_name: str, types: TextureTable) -> Detection | None:
    """Find the maps a file holds by the rightmost keyword of its name, None where there is none.

    Of keywords that end at one place the longest wins.
    """
    found = read_name(file_name, types)
    return found if found and found.maps else None


def _file_names(folder: Path) -> list[str]:
    """Sorted names of a folder's files, hidden ones left out; raises `UserError` where it cannot be read."""
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except FileNotFoundError:
        raise UserError(f"there is no folder {folder}; name a folder that holds the images of one material") from None
    except NotADirectoryError:
        raise UserError(f"{folder} is a file; name the folder that holds the images of one material") from None
    except OSError as error:
        raise UserError(describe_os_error(error, folder)) from error


def find_maps(folder: Path, types: TextureTable, ignored: Collection[str] = ()) -> MaterialMaps:
    """Decide which file of a folder gives which map; files of the names `ignored` are as if they were not there.

    Raises `UserError` where no file, or two equal ones, could give a map, and for the tiles of a UDIM set.
    """
    names, others = [name for name in _file_names(folder) if name not in ignored], {}
    notices: list[str] = []
    read = _read_names([name for name in names if name.lower().endswith(IMAGE_SUFFIXES)], types, notices)
    read = _without_pictures(read, types)
    candidates: dict[str, list[_Candidate]] = {texture.name: [] for texture in types}
    for name in names:
        if name.lower().endswith(OTHER_IMAGE_SUFFIXES):
            notices.append(f"skipped {name}: this format is not read, save it as PNG")
        elif name.lower().endswith(IMAGE_SUFFIXES):
            found = read[name]
            if found is None:
                notices.append(f"skipped {name}: no known keyword in its name")
            elif found.maps:
                _refuse_udim(name)
                for type_name, source in map_sources(SourceImage(folder / name), found).items():
                    candidates[type_name].append(_Candidate(source, found))
            elif found.other:
                others[name] = found.other
                notices.append(f"skipped {name}: known as {found.other}, which is none of the {len(types)} maps")
            else:
                notices.append(f"skipped {name}: {found.keyword} in its name is none of the maps")
    if not any(candidates.values()):
        listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        known = ", ".join(texture.keywords[0] for texture in types)
        raise UserError(
            f"no map found in {folder} ({listed or 'it is empty'}); name the images after their maps, "
            f"for example rock_albedo.png (known: {known}; get_texture_config() in dataset.py has all)"
        )
    chosen = {name: _best(name, sources, notices) for name, sources in candidates.items() if sources}
    notices += _name_notices(chosen)
    sources = {name: candidate.source for name, candidate in chosen.items()}
    return MaterialMaps(folder.resolve().name or "material", sources, others, notices)


def _read_names(names: Sequence[str], types: TextureTable, notices: list[str]) -> dict[str, Detection | None]:
    """Read the names of a folder's images; words that all of them begin with name the material, and no other map.

    So fur_coat_roughness.png is roughness beside fur_coat_albedo.png, which no parameter of a coat is called.
    """
    read = {name: read_name(name, types) for name in names}
    words = [[word.text for word in name_words(name, types)] for name in names]
    shared = len(os.path.commonprefix(words)) if len(names) > 1 else 0
    rest = {name: read_name(name, types, skipped=shared) for name in names} if shared else {}
    known = [(name, found) for name, found in read.items() if found]
    if not all(_maps(rest.get(name)) == found.maps for name, found in known if found.maps):
        return read
    if not any(found.maps for _, found in known) and not all(_maps(rest.get(name)) for name in names):
        return read
    for name, found in known:
        if found.other and _maps(rest.get(name)):
            read[name] = rest[name]
            notices.append(
                f"{name} is taken for {' and '.join(_maps(rest[name]))} rather than {found.other}: all names here begin "
                f"with {' '.join(words[0][:shared])}"
            )
    return read


def _without_pictures(read: dict[str, Detection | None], types: TextureTable) -> dict[str, Detection | None]:
    """Take no picture of a material for a map because of the word that the material's name ends with.

    So rusty_metal.png is no metallic beside rusty_metal_albedo.png. Letters, as of wall_d.png beside wall_d_ao.png,
    say which map it is.
    """
    words = {name: [word.text for word in name_words(name, types)] for name in read}
    kept = dict(read)
    for name, found in read.items():
        suffix = found.keyword.removeprefix("_") if found else ""
        if not (found and found.maps and found.keyword.startswith("_") and len(suffix) >= SHORTEST_JOINED):
            continue
        # A resolution or version may stand behind the suffix.
        own = words[name][: len(words[name]) - words[name][::-1].index(suffix)]
        if any(
            words[other][: len(own)] == own and _maps(said) and said and said.keyword != found.keyword
            for other, said in read.items()
        ):
            kept[name] = Detection(found.keyword, other="a picture of the material")
    return kept


def _maps(found: Detection | None) -> dict[str, int | None]:
    return found.maps if found else {}


def map_sources(file: SourceImage, found: Detection) -> dict[str, MapSource]:
    """Return what each map that a name promises is read from, by type."""
    word = "suffix" if found.keyword.startswith("_") else "keyword"
    return {
        type_name: MapSource(
            file,
            channel,
            directx=found.directx,
            inverted=type_name in found.inverted,
            convention_named=found.convention_named,
            reason=f"{word} {found.keyword}" + (", a guess" if found.guessed else ""),
        )
        for type_name, channel in found.maps.items()
    }


def _refuse_udim(name: str) -> None:
    """Raise `UserError` where a file is one tile of a UDIM set."""
    match = _UDIM.search(Path(name).stem)
    if match:
        tile = next(group for group in match.groups() if group)
        raise UserError(
            f"{name} is tile {tile} of a UDIM set, and a material is one tile; move the images of each tile into a "
            f"folder of its own and take {tile} out of their names (--groups_batching trains all of them)"
        )


def _best(type_name: str, candidates: list[_Candidate], notices: list[str]) -> _Candidate:
    """Choose between files that could give one map: dedicated before packed, OpenGL before DirectX, then by keyword."""
    best, *others = sorted(candidates, key=lambda candidate: candidate.order)
    for other in others:
        if other.order == best.order:
            first, second = best.source.file.name, other.source.file.name
            if first != second and _TILE_NUMBER.sub("", first) == _TILE_NUMBER.sub("", second):
                raise UserError(
                    f"{first} and {second} are tiles of a UDIM set, and a material is one tile; move the images of "
                    "each tile into a folder of its own (--groups_batching trains all of them)"
                )
            raise UserError(f"two files for the {type_name} map: {first} and {second}; remove or rename one of them")
        notices.append(f"{type_name}: {best.source} is used, {other.source} is not ({other.reason_against(best)})")
    return best


def _name_notices(chosen: dict[str, _Candidate]) -> list[str]:
    """Say what channels of packed files are, and what names leave open."""
    notices: list[str] = []
    packed: dict[str, tuple[tuple[str, ...], dict[int | None, str]]] = {}
    for type_name, candidate in chosen.items():
        name, file = candidate.name, candidate.source.file.name
        if name.packed:
            packed.setdefault(file, (name.packed, {}))[1][candidate.source.channel] = type_name
        if name.beside:
            notices.append(
                f"{type_name}: {file} also names {name.beside}; it is taken for {type_name}, the last of them "
                "(get_texture_config() in dataset.py says what packed files hold)"
            )
        if name.guessed:
            inverted = "inverted " if candidate.source.inverted else ""
            notices.append(f"{type_name}: {file} is taken for {inverted}{type_name}, a guess by its name")
    for file, (contents, used) in packed.items():
        notices.append(f"{file} is packed: " + ", ".join(_channel_notices(contents, used)))
    return notices


def _channel_notices(contents: Sequence[str], used: dict[int | None, str]) -> list[str]:
    """One phrase for each channel of a packed file; `used` has the type that each channel is taken for."""
    whole = [content for content in dict.fromkeys(contents) if contents.count(content) == 3 and content != UNUSED]
    phrases = []
    if whole:
        phrases.append(f"RGB is {whole[0]}" + ("" if None in used else " (not used)"))
    for letter, content in zip("RGBA", contents):
        if content in whole:
            continue
        channel = "RGBA".index(letter)
        if channel in used and used[channel] != content:
            phrases.append(f"{letter} is {content} (1 - {used[channel]})")
        elif channel in used or content == UNUSED:
            phrases.append(f"{letter} is {content}")
        else:
            phrases.append(f"{letter} is {content} (not used)")
    return phrases
