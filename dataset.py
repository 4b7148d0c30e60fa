"""A folder of images becomes one texture set: find the maps by file name, read them, build the mip chain."""

from __future__ import annotations

import argparse
import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from configs import N_CHANNELS
from images.colour import linear_to_srgb
from images.mips import mip_count, mip_size
from images.reading import image_size, read_image
from images.resampling import STRIP_ROWS, area_average, decode_table, encode, normalized, resize, to_uint8
from utils.errors import UsageError, UserError, describe_os_error, run_command

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tga", ".bmp", ".tif", ".tiff", ".webp", ".exr")
OTHER_IMAGE_SUFFIXES = (".hdr", ".dds", ".ktx", ".ktx2", ".psd", ".gif", ".jp2", ".jxl", ".avif", ".heic", ".svg")

ORM = ("arm", "orm", "occlusionroughnessmetallic", "occlusion_roughness_metallic")
METAL_ROUGHNESS = ("metalroughness", "metallicroughness", "metallic_roughness")


@dataclass(frozen=True)
class TextureType:
    """One map of a material, its place in the 11 channels, and the file names that mean it (all lower case)."""

    name: str
    first: int
    """First channel of the canonical layout."""
    count: int
    """Channels."""
    keywords: tuple[str, ...]
    """Up to four letters: whole words only; longer: found anywhere in the name."""
    suffixes: tuple[str, ...] = ()
    """Count only after a separator at the end of the name (a resolution such as 1k may follow)."""
    packed: dict[str, int] = field(default_factory=dict)
    """Keywords of files that hold several maps, and which of R, G, B (0, 1, 2) is this one."""
    directx_keywords: tuple[str, ...] = ()
    """Further keywords, of normal maps whose green points down."""
    coding: str = "data"
    """srgb: colour, averaged in linear light; normal: a vector, renormalised; data: averaged as it is."""

    @property
    def channels(self) -> slice:
        """The map's place in the last axis of a texture set."""
        return slice(self.first, self.first + self.count)


def get_texture_config() -> tuple[TextureType, ...]:
    """The seven types in canonical order; the one place to add a keyword of your own."""
    return (
        TextureType("diffuse", 0, 3, ("diffuse", "albedo", "color", "diff", "basecolor", "base_color", "col"), ("d",),
                    coding="srgb"),
        TextureType("normal", 3, 3, ("normal", "nor_gl", "normalgl", "normal_gl", "nor", "nrm"), ("n",),
                    coding="normal",
                    directx_keywords=("nor_dx", "normaldx", "normal_dx", "normal-dx", "normaldirectx",
                                      "normal_directx")),
        TextureType("roughness", 6, 1, ("roughness", "rough"), ("r",),
                    packed={**dict.fromkeys(ORM, 1), **dict.fromkeys(METAL_ROUGHNESS, 1)}),
        TextureType("occlusion", 7, 1, ("occlusion", "ao", "ambient"), packed=dict.fromkeys(ORM, 0)),
        TextureType("metallic", 8, 1, ("metallic", "metalness"), ("m", "metal"),
                    packed={**dict.fromkeys(ORM, 2), **dict.fromkeys(METAL_ROUGHNESS, 2)}),
        TextureType("specular", 9, 1, ("specular",), ("s",)),
        TextureType("displacement", 10, 1, ("displacement", "disp", "height", "depth", "bump"), ("h",)),
    )


@dataclass
class TextureSet:
    """One material: every map at one size, with mips.

    `mips[m]` is uint8 `[H_m, W_m, 11]` in file coding (diffuse sRGB-coded); maps that are missing are zero.
    """

    name: str
    width: int
    height: int
    mips: list[np.ndarray]
    present: dict[str, bool]
    normal_convention: str
    files: dict[str, str]
    notices: list[str]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the finest mip and of which maps are present: what tells materials of equal size apart."""
        digest = hashlib.sha256(np.ascontiguousarray(self.mips[0]).data)
        digest.update(",".join(name for name, present in self.present.items() if present).encode())
        return digest.hexdigest()

    @property
    def channel_mask(self) -> np.ndarray:
        """Bool `[11]`, true for the channels of maps that are present."""
        mask = np.zeros(N_CHANNELS, bool)
        for texture in get_texture_config():
            mask[texture.channels] = self.present[texture.name]
        return mask


@dataclass(frozen=True)
class Detection:
    """What a file name says: the keyword found, the maps it means (None: the whole file, else a channel)."""

    keyword: str
    maps: dict[str, int | None]
    directx: bool = False


def detect(file_name: str) -> Detection | None:
    """Find the maps a file holds by the rightmost keyword of its name, None where there is none.

    Of keywords that end at one place the longest wins.

    >>> detect("rough_wall_diffuse.png").maps, detect("chaos_normal.png").maps, detect("rock_arm_1k.png").maps
    ({'diffuse': None}, {'normal': None}, {'roughness': 1, 'occlusion': 0, 'metallic': 2})
    """
    stem = Path(file_name).stem
    best, found = (0, 0), None
    for texture in get_texture_config():
        words = [(keyword, _keyword_end(stem, keyword), None) for keyword in
                 (*texture.keywords, *texture.directx_keywords)]
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
    match = re.search(rf"(?:^|[_\-. ])({re.escape(suffix)})"
                      r"(?:[_\-. ](?:\d+k?|\d+x\d+|png|jpe?g|tga|tiff?|exr))*$", stem, re.I | re.A)
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
    return before.isupper() and after.isupper() and stem[index + 1:index + 2].islower()


@dataclass(frozen=True)
class _Source:
    """Where one map comes from; `channel` None: the whole file."""

    path: Path
    channel: int | None
    directx: bool

    def __str__(self) -> str:
        return self.path.name if self.channel is None else f"channel {'RGB'[self.channel]} of {self.path.name}"


def _choose_files(folder: Path, notices: list[str]) -> dict[str, _Source]:
    """Decide which file gives which map, by type in canonical order; raises `UserError` where none or two could."""
    try:
        names = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except FileNotFoundError:
        raise UserError(f"there is no folder {folder}; name a folder that holds the images of one material") from None
    except NotADirectoryError:
        raise UserError(f"{folder} is a file; name the folder that holds the images of one material") from None
    except OSError as error:
        raise UserError(describe_os_error(error, folder)) from error
    sources: dict[str, list[_Source]] = {texture.name: [] for texture in get_texture_config()}
    images = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    for name in images:
        found = detect(name)
        if found is None:
            notices.append(f"skipped {name}: no known keyword in its name")
            continue
        for type_name, channel in found.maps.items():
            sources[type_name].append(_Source(folder / name, channel, found.directx))
    notices.extend(f"skipped {name}: this format is not read, save it as PNG"
                   for name in names if name.lower().endswith(OTHER_IMAGE_SUFFIXES))
    if not any(sources.values()):
        listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        known = ", ".join(texture.keywords[0] for texture in get_texture_config())
        raise UserError(f"no map found in {folder} ({listed or 'it is empty'}); name the images after their maps, "
                        f"for example rock_albedo.png (known: {known}; get_texture_config() in dataset.py has all)")
    chosen = {}
    for type_name, candidates in sources.items():
        if not candidates:
            continue
        candidates.sort(key=lambda source: (source.channel is not None, source.directx))
        best, *others = candidates
        for other in others:
            if (other.channel is None, other.directx) == (best.channel is None, best.directx):
                raise UserError(f"two files for the {type_name} map: {best.path.name} and {other.path.name}; "
                                "remove or rename one of them")
            notices.append(f"{type_name}: {best} is used, {other} is not")
        chosen[type_name] = best
    return chosen


def load_texture_set(data_dir: str | Path, *, max_size: int | None = None) -> TextureSet:
    """Load a folder of images as one texture set; `max_size` limits the longer side, in texels.

    Raises `UserError` where the folder, a name or an image cannot be used.
    """
    if max_size is not None and max_size < 1:
        raise UsageError(f"max_size {max_size} is not a size; choose at least 1")
    folder, notices = Path(data_dir), []
    chosen = _choose_files(folder, notices)
    first = next(iter(chosen.values())).path
    file_size = image_size(first)
    width, height = file_size
    if max_size is not None and max(file_size) > max_size:
        width, height = (max(1, round(side * max_size / max(file_size))) for side in file_size)
        notices.append(f"all maps reduced from {file_size[0]} x {file_size[1]} to {width} x {height}")
    mips = [np.zeros((h, w, N_CHANNELS), np.uint8)
            for w, h in (mip_size(width, height, mip) for mip in range(mip_count(width, height)))]
    for path in dict.fromkeys(source.path for source in chosen.values()):
        image = read_image(path)
        for texture in get_texture_config():
            source = chosen.get(texture.name)
            if source is None or source.path != path:
                continue
            texels = _map_texels(image, texture, source, notices)
            size = texels.shape[1], texels.shape[0]
            if size != file_size:
                notices.append(f"{texture.name}: {path.name} resized from {size[0]} x {size[1]} to "
                               f"{width} x {height}, the size of {first.name}")
            if size != (width, height):
                texels = resize(texels, width, height, texture.coding)
            _fill_mips(mips, texels, texture)
    directx = "normal" in chosen and chosen["normal"].directx
    if directx:
        notices.append(f"normal: {chosen['normal'].path.name} is a DirectX map (green points down), kept as it is")
    return TextureSet(folder.resolve().name or "material", width, height, mips,
                      {texture.name: texture.name in chosen for texture in get_texture_config()},
                      "directx" if directx else "opengl",
                      {name: source.path.name for name, source in chosen.items()}, notices)


def _map_texels(image: np.ndarray, texture: TextureType, source: _Source, notices: list[str]) -> np.ndarray:
    """Take one map out of an image: uint8 `[H, W, count]` in file coding."""
    channels, name = image.shape[2], source.path.name
    if source.channel is not None:
        if channels == 1:
            raise UserError(f"{name} has one channel, but its name says that it packs several maps; "
                            f"rename it after the one it holds, for example {texture.name}")
        image = image[..., source.channel:source.channel + 1]
    elif texture.coding == "normal" and channels == 1:
        raise UserError(f"the normal map {name} has one channel, a normal map needs three; "
                        "if it holds heights, rename it to displacement")
    if image.dtype == np.float32:
        image = _float_texels(image, texture, name, notices)
    elif image.dtype == np.uint16:
        image = ((np.arange(65536) * 255 + 32767) // 65535).astype(np.uint8)[image]
    if texture.count == 3 and image.shape[2] == 1:
        return np.repeat(image, 3, axis=2)
    if texture.count == 1 and image.shape[2] == 3:
        return _single_channel(image, texture, name, notices)
    return image


def _float_texels(image: np.ndarray, texture: TextureType, name: str, notices: list[str]) -> np.ndarray:
    """Code float texels as uint8: colour is linear in such files; heights beyond [0, 1] are scaled to fit."""
    image = np.nan_to_num(image, nan=0.0, posinf=1.0, neginf=0.0)
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        if texture.name == "displacement":
            image = (image - low) / max(high - low, 1e-12)
            notices.append(f"displacement: {name} goes from {low:g} to {high:g}, scaled to 0 .. 1")
        else:
            notices.append(f"{texture.name}: {name} goes from {low:g} to {high:g}, clipped to 0 .. 1")
    image = np.clip(image, 0, 1)
    return to_uint8(linear_to_srgb(image) if texture.coding == "srgb" else image)


def _single_channel(image: np.ndarray, texture: TextureType, name: str, notices: list[str]) -> np.ndarray:
    """Choose what a colour image says of a one-channel map: uint8 `[H, W, 3]` to `[H, W, 1]`.

    Grey is taken as it is. Otherwise a channel counts if its standard deviation is at least a fifth of the largest
    (so constant filling is ignored), or, in a constant image, if it is neither black nor white.
    """
    red, *others = np.moveaxis(image, 2, 0)
    if all(np.abs(np.subtract(red, other, dtype=np.int16)).max() <= 8 for other in others):
        return image[..., 1:2]
    deviation = np.array([_deviation(image[..., c]) for c in range(3)])
    if deviation.max() > 0:
        carrying = np.flatnonzero(deviation >= 0.2 * deviation.max())
    else:
        carrying = np.flatnonzero([0 < image[0, 0, c] < 255 for c in range(3)])
        carrying = carrying if len(carrying) else np.array([0])
    letters = "".join("RGB"[c] for c in carrying)
    if len(carrying) == 1:
        notices.append(f"{texture.name}: {name} is a colour image, channel {letters} carries the data")
        return image[..., carrying]
    notices.append(f"{texture.name}: {name} is a colour image, the mean of its channels {letters} is used")
    total = sum(image[..., c].astype(np.uint16) for c in carrying)
    return ((total + len(carrying) // 2) // len(carrying)).astype(np.uint8)[..., None]


def _deviation(channel: np.ndarray) -> float:
    """Standard deviation of uint8 values, from their histogram: no copy in floating point."""
    counts = sum(np.bincount(channel[top:top + STRIP_ROWS].ravel(), minlength=256)
                 for top in range(0, len(channel), STRIP_ROWS))
    values = np.arange(256)
    mean = (counts * values).sum() / channel.size
    return float(np.sqrt((counts * (values - mean) ** 2).sum() / channel.size))


def _fill_mips(mips: list[np.ndarray], texels: np.ndarray, texture: TextureType) -> None:
    """Write one map, uint8 `[H, W, count]`, and its mips into the texture set's arrays.

    Every mip is made from the one before in float32, so 8-bit rounding does not build up.
    """
    mips[0][..., texture.channels] = texels
    level, table = texels, decode_table(texture.coding)
    for mip in mips[1:]:
        level, table = area_average(level, mip.shape[1], mip.shape[0], table), None
        for top in range(0, len(mip), STRIP_ROWS):
            strip = level[top:top + STRIP_ROWS]
            if texture.coding == "normal":
                strip[...] = normalized(strip)
            mip[top:top + STRIP_ROWS, :, texture.channels] = encode(strip, texture.coding)


def main() -> None:
    """Print what a folder holds: map, file, size, notices."""
    parser = argparse.ArgumentParser(description="Show which maps a folder of images holds.")
    parser.add_argument("folder", help="folder of images, one material")
    folder = Path(parser.parse_args().folder)
    textures = load_texture_set(folder)
    print(f"{textures.name}: {textures.width} x {textures.height}, {len(textures.mips)} mips, "
          f"{int(textures.channel_mask.sum())} of {N_CHANNELS} channels, {textures.normal_convention} normals")
    for type_name, present in textures.present.items():
        if present:
            file_name = textures.files[type_name]
            width, height = image_size(folder / file_name)
            print(f"  {type_name:<13} {file_name:<48} {width} x {height}")
        else:
            print(f"  {type_name:<13} missing")
    for notice in textures.notices:
        print(f"note: {notice}")


if __name__ == "__main__":
    run_command(main)
