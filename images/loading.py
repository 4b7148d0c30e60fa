"""The images of a material, read in parallel, and each image's maps written into the texture set's mips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from images.depth import bits_of
from images.maps import map_texels, unused_alpha
from images.reading import DecodedImage, read_image
from images.resampling import fill_mips, resize
from images.sources import MapSource, MaterialMaps, SourceImage
from images.texture_types import TextureType
from utils.threads import processors

TEXELS_AT_ONCE = 4 * 4096**2
"""Most texels of images that are worked on at the same time: the working copies take about 10 bytes each."""
_T = TypeVar("_T")


@dataclass
class LoadedMaps:
    """What became of one image's maps, beside their 8-bit mips."""

    depths: dict[str, int] = field(default_factory=dict)
    """Bits of each map's values: 8, 16, or 32 for floating point."""
    fine: dict[str, list[np.ndarray]] = field(default_factory=dict)
    """What 8 bits leave out of maps that are deeper, one array a mip (see `images.depth`)."""
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    """The values that 0 and 1 stand for, of maps that had to be scaled."""
    channels: dict[str, str] = field(default_factory=dict)
    """Channels of its file that each map was taken from: letters of RGBA, or grey."""
    notices: list[str] = field(default_factory=list)

    def add(self, other: LoadedMaps) -> None:
        """Add what became of another image's maps."""
        self.depths |= other.depths
        self.fine |= other.fine
        self.ranges |= other.ranges
        self.channels |= other.channels
        self.notices += other.notices


def in_parallel(
    function: Callable[[SourceImage], _T], files: Sequence[SourceImage], size: tuple[int, int]
) -> Iterable[_T]:
    """Yield a function of each file in order, several at once as far as images of `size` allow."""
    workers = min(len(files), processors(), max(1, TEXELS_AT_ONCE // (size[0] * size[1])))
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(function, files)


def read_images(maps: MaterialMaps, size: tuple[int, int], max_pixels: int) -> dict[SourceImage, DecodedImage]:
    """Read every file that a material's maps come from, once, in parallel; `size` is that of a usual one of them.

    Raises `UserError` where one cannot be read.
    """
    files = list(dict.fromkeys(source.file for source in maps.sources.values()))
    return dict(zip(files, in_parallel(lambda file: read_image(file, max_pixels), files, size)))


def fill_maps(
    file: SourceImage,
    image: DecodedImage,
    maps: Mapping[str, tuple[TextureType, MapSource]],
    mips: Sequence[np.ndarray],
    file_size: tuple[int, int],
    first_name: str,
    flip_green: bool,
    shares: Sequence[np.ndarray] | None = None,
) -> LoadedMaps:
    """Write the maps of one image and their mips into `mips`, uint8 `[H_m, W_m, 11]`.

    `file_size` is the width and height of the file that sets the size, `first_name`; `flip_green` turns a normal map's
    green over; `shares` are each mip's used shares, where a mask file says which texels are used.
    """
    height, width = mips[0].shape[:2]
    loaded = LoadedMaps(notices=list(image.notices))
    uses_alpha = False
    for name, (texture, source) in maps.items():
        found = map_texels(image.texels, texture, source, flip_green and texture.coding == "normal")
        loaded.notices += found.notices
        uses_alpha |= found.uses_alpha
        loaded.depths[name] = bits_of(found.texels)
        loaded.channels[name] = found.channels
        if found.range:
            loaded.ranges[name] = found.range
        texels = found.texels
        size = texels.shape[1], texels.shape[0]
        if size != file_size:
            loaded.notices.append(
                f"{name}: {file.name} resized from {size[0]} x {size[1]} to "
                f"{width} x {height}, the size of {first_name}"
            )
        if size != (width, height):
            texels = resize(texels, width, height, texture.coding)
        fine = fill_mips([mip[..., texture.channels] for mip in mips], texels, texture.coding, shares)
        if fine:
            loaded.fine[name] = fine
    if not uses_alpha:
        loaded.notices += unused_alpha(image, file.name)
    return loaded
