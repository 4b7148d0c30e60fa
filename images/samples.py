"""A part of a large map that says as much as all of it: tiles at full and at a quarter of the resolution, and the whole
at lower ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from images.depth import peak
from images.resampling import area_average

BLOCKS = 8
"""Blocks along each side: 64 of them tell whether what one part of a map says is what most of it says."""
TILE = 32
"""Most samples of a block's side: no more than 256 x 256 are looked at, at any resolution."""
COARSE = 4
"""Texels a sample from which on the channels of an image are its own. JPEG stores colour at half the resolution and
coarsely, so that the detail of one channel shows in the others."""
_WHOLE = 1024
"""Most texels of a side that the whole is averaged from; larger maps are thinned out first, as time must not grow."""
_SMALLEST_BLOCK = 4
"""Samples of a block's side that leave two by two central differences."""


@dataclass(frozen=True)
class Level:
    """Several maps of one material at one resolution, each as float32 blocks `[64, h, w, C]` of the same places."""

    texels: float
    """Texels of the smallest map that a sample's side stands for."""
    blocks: list[np.ndarray]


def unit_values(texels: np.ndarray) -> np.ndarray:
    """Stored values of any shape as float32: codes of integers over the largest code, floating point as it is."""
    if texels.dtype.kind == "f":
        return np.nan_to_num(texels, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32, copy=False)
    return texels.astype(np.float32) / np.float32(np.iinfo(texels.dtype).max)


def thinned(texels: np.ndarray, side: int) -> np.ndarray:
    """Every n-th row and column of `[H, W, C]`, with the smallest n that leave at most `side` of each; a view."""
    height, width = texels.shape[:2]
    return texels[:: -(-height // side), :: -(-width // side)]


def _boxes(texels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Average boxes of `rows x columns` texels of stored values `[..., H, W, C]`, the rest cut off: float32."""
    height, width = texels.shape[-3] // rows * rows, texels.shape[-2] // columns * columns
    if texels.dtype.kind == "f":
        texels = unit_values(texels)
    kind = np.float32 if texels.dtype.kind == "f" else np.uint32
    total = texels[..., 0:height:rows, :width, :].astype(kind)
    for row in range(1, rows):
        total += texels[..., row:height:rows, :width, :]
    sums = total[..., 0:width:columns, :].copy()
    for column in range(1, columns):
        sums += total[..., column:width:columns, :]
    return sums.astype(np.float32) / np.float32(peak(texels) * rows * columns)


def _averages(texels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The area averages `[height, width, C]` of stored values, float32."""
    rows, columns = texels.shape[0] // height, texels.shape[1] // width
    if rows and columns and texels.shape[0] - rows * height < rows and texels.shape[1] - columns * width < columns:
        return _boxes(texels, rows, columns)
    return area_average(unit_values(texels), width, height, None)


def _cut(texels: np.ndarray) -> np.ndarray:
    """Cut `[H, W, C]` into `[64, H // 8, W // 8, C]`."""
    height, width = (side // BLOCKS for side in texels.shape[:2])
    cut = texels[: height * BLOCKS, : width * BLOCKS].reshape(BLOCKS, height, BLOCKS, width, -1)
    return cut.swapaxes(1, 2).reshape(BLOCKS * BLOCKS, height, width, -1)


def tiles(texels: np.ndarray, scale: int) -> np.ndarray:
    """Average `scale x scale` texels of 64 tiles, spread evenly over `[H, W, C]`: float32 `[64, h, w, C]`."""
    height, width = (min(side // (BLOCKS * scale), TILE) for side in texels.shape[:2])
    tops, lefts = (np.arange(BLOCKS) * side // BLOCKS for side in texels.shape[:2])
    places = [(slice(top, top + height * scale), slice(left, left + width * scale)) for top in tops for left in lefts]
    return _boxes(np.stack([texels[place] for place in places]), scale, scale)


def levels(maps: Sequence[np.ndarray]) -> list[Level]:
    """Show maps of one material, `[H, W, C]` as stored, at one resolution after another, the finest first.

    Maps of equal size are shown at full and a quarter of their resolution, and all as a whole from 256 samples a side
    down to blocks of 4 x 4. A map below 32 texels a side leaves no level.
    """
    sizes = {texels.shape[:2] for texels in maps}
    height, width = min(sizes)
    found = []
    scale = COARSE
    while max(height, width) > scale * BLOCKS * TILE:
        scale *= 2
    if len(sizes) == 1:
        # The whole at a quarter of the resolution needs no tiles.
        for detail in (1,) if scale == COARSE else (1, COARSE):
            if min(height, width) >= detail * BLOCKS * _SMALLEST_BLOCK:
                found.append(Level(detail, [tiles(texels, detail) for texels in maps]))
    rows, columns = height // scale, width // scale
    if min(rows, columns) < BLOCKS * _SMALLEST_BLOCK:
        return found
    whole = [_averages(thinned(texels, _WHOLE), rows, columns) for texels in maps]
    while min(rows, columns) >= BLOCKS * _SMALLEST_BLOCK:
        found.append(Level(width / columns, [_cut(texels) for texels in whole]))
        rows, columns = rows // 2, columns // 2
        if min(rows, columns) >= BLOCKS * _SMALLEST_BLOCK:
            whole = [_averages(texels, rows, columns) for texels in whole]
    return found
