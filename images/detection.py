"""Which file of a folder holds which map, by the keywords in file names."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from images.sources import MapSource, MaterialMaps, SourceImage
from images.texture_types import TextureType
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


@dataclass(frozen=True)
class Detection:
    """What a file name says: the keyword found, the maps it means (None: the whole file, else a channel)."""

    keyword: str
    maps: dict[str, int | None]
    directx: bool = False


def detect_maps(file_name: str, types: Sequence[TextureType]) -> Detection | None:
    """Find the maps a file holds by the rightmost keyword of its name, None where there is none.

    Of keywords that end at one place the longest wins.
    """
    stem = Path(file_name).stem
    best, found = (0, 0), None
    for texture in types:
        words: list[tuple[str, int, int | None]] = [
            (keyword, _keyword_end(stem, keyword), None) for keyword in (*texture.keywords, *texture.directx_keywords)
        ]
        words += [(suffix, _suffix_end(stem, suffix), None) for suffix in texture.suffixes]
        words += [(keyword, _keyword_end(stem, keyword), channel) for keyword, channel in texture.packed.items()]
        for keyword, end, channel in words:
            if end and (end, len(keyword)) > best:
                best = end, len(keyword)
                found = Detection(keyword, {texture.name: channel}, keyword in texture.directx_keywords)
            elif found and channel is not None and found.keyword == keyword:
                found.maps[texture.name] = channel
    return found


def _suffix_end(stem: str, suffix: str) -> int:
    """End of a short suffix such as the d of `wall_d` or `wall_d_2k`, 0 where the name has none."""
    match = re.search(
        rf"(?:^|[_\-. ])({re.escape(suffix)})"
        r"(?:[_\-. ](?:\d+k?|\d+x\d+|png|jpe?g|tga|tiff?|exr))*$",
        stem,
        re.I | re.A,
    )
    return match.end(1) if match else 0


def _keyword_end(stem: str, keyword: str) -> int:
    """End of the rightmost place where `keyword` counts in `stem`, 0 where it does not."""
    lower = "".join(c.lower() if c.isascii() else c for c in stem)
    start = lower.rfind(keyword)
    while start >= 0:
        end = start + len(keyword)
        if len(keyword) > 4 or (_is_boundary(stem, start) and _is_boundary(stem, end)):
            return end
        start = lower.rfind(keyword, 0, end - 1)
    return 0


def _is_boundary(stem: str, index: int) -> bool:
    """Whether a word may begin or end before `stem[index]`: anything but two letters of one word."""
    if index in (0, len(stem)):
        return True
    before, after = stem[index - 1], stem[index]
    if not (before.isalpha() and after.isalpha()):
        return True
    if before.islower() and after.isupper():
        return True
    return before.isupper() and after.isupper() and stem[index + 1 : index + 2].islower()


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


def find_maps(folder: Path, types: Sequence[TextureType], ignored: Collection[str] = ()) -> MaterialMaps:
    """Decide which file of a folder gives which map; files of the names `ignored` are as if they were not there.

    Raises `UserError` where no file, or two equal ones, could give a map.
    """
    names, notices = [name for name in _file_names(folder) if name not in ignored], []
    candidates: dict[str, list[MapSource]] = {texture.name: [] for texture in types}
    for name in names:
        if name.lower().endswith(OTHER_IMAGE_SUFFIXES):
            notices.append(f"skipped {name}: this format is not read, save it as PNG")
        elif name.lower().endswith(IMAGE_SUFFIXES):
            found = detect_maps(name, types)
            if found is None:
                notices.append(f"skipped {name}: no known keyword in its name")
                continue
            for type_name, channel in found.maps.items():
                candidates[type_name].append(
                    MapSource(SourceImage(folder / name), channel, found.directx, reason=f"keyword {found.keyword}")
                )
    if not any(candidates.values()):
        listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        known = ", ".join(texture.keywords[0] for texture in types)
        raise UserError(
            f"no map found in {folder} ({listed or 'it is empty'}); name the images after their maps, "
            f"for example rock_albedo.png (known: {known}; get_texture_config() in dataset.py has all)"
        )
    chosen = {}
    for type_name, sources in candidates.items():
        if sources:
            chosen[type_name] = _best_source(type_name, sources, notices)
    return MaterialMaps(folder.resolve().name or "material", chosen, notices=notices + _packed_notices(chosen))


def _best_source(type_name: str, sources: list[MapSource], notices: list[str]) -> MapSource:
    """Choose between files that could give one map: dedicated before packed, OpenGL before DirectX normals."""
    best, *others = sorted(sources, key=lambda source: (source.channel is not None, source.directx))
    for other in others:
        if (other.channel is None, other.directx) == (best.channel is None, best.directx):
            raise UserError(
                f"two files for the {type_name} map: {best.file.name} and {other.file.name}; "
                "remove or rename one of them"
            )
        notices.append(f"{type_name}: {best} is used, {other} is not")
    return best


def _packed_notices(chosen: dict[str, MapSource]) -> list[str]:
    """Say which channels of packed files are which maps, and which are not used."""
    used: dict[SourceImage, dict[int, str]] = {}
    for type_name, source in chosen.items():
        if source.channel is not None:
            used.setdefault(source.file, {})[source.channel] = type_name
    return [
        f"{file.name} is packed: "
        + ", ".join(f"{'RGB'[channel]} is {channels.get(channel, 'not used')}" for channel in range(3))
        for file, channels in used.items()
    ]
