"""Tiles: the rectangles of texels that are trained and decoded at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from images.mips import mip_size
from model.grids.layout import FeatureLayout


class Alignment(NamedTuple):
    """What the first texels of tiles have in common on one axis: `first = phase + k * step`."""

    step: int = 1
    phase: int = 0


@dataclass(frozen=True)
class TileGroup:
    """Equal-sized tiles of one mip: texel columns `x` [B, Tx] and rows `y` [B, Ty], int64.

    Columns (and rows) of a tile follow one another. On a wrapping material they may run across the border, in which case
    they continue past the width (`x >= W`) instead of jumping back. On a clamped one they may begin before the border or
    end behind it; such texels lie outside of the material and carry no loss.
    """

    mip: int
    x: np.ndarray
    y: np.ndarray
    alignment: tuple[Alignment, Alignment] | None = None
    """Of x and y, where the tiles were drawn that way; makes look-ups cheap."""


def cell_alignment(layout: FeatureLayout, mip: int) -> tuple[Alignment, Alignment]:
    """Return, for x and y, the alignment of tiles that begin on a cell border of the finest gathered grid.

    Texel x lies at p = (x + 0.5) / q - 0.5 of a grid whose cells are q texels wide, so cells begin at q // 2 + k q.
    An axis on which no gathered grid has cells of whole texels has no alignment: step 1.
    """
    alignments = []
    for size in mip_size(layout.width, layout.height, mip):
        ratios = [
            size // grid.resolution_of_mip(mip)
            for grid in layout.grids
            if grid.gathered and size % grid.resolution_of_mip(mip) == 0
        ]
        step = min(ratios, default=1)
        alignments.append(Alignment(step, step // 2) if step % 2 == 0 else Alignment())
    return alignments[0], alignments[1]


def full_cover(width: int, height: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return first columns and rows of tiles of at most `side` that cover an image; the last overlap their neighbours."""

    def starts(size: int) -> np.ndarray:
        tile = min(side, size)
        return np.minimum(np.arange(0, size, tile), size - tile)

    y, x = np.meshgrid(starts(height), starts(width), indexing="ij")
    return x.reshape(-1), y.reshape(-1)


def flat_index(rows: np.ndarray, columns: np.ndarray, width: int) -> np.ndarray:
    """Combine row indices [B, Ty] and column indices [B, Tx] into flat ones, int64 [B, Ty, Tx]."""
    return rows[:, :, None] * width + columns[:, None, :]
