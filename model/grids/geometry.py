"""Where the texels of a tile lie on a grid level: taps, weights, encoding.

Everything is separable: a tile is a set of columns times a set of rows, so taps and weights are kept per axis.
Positions are worked out in float64 on the host, where a batch has a few hundred of them.

Letters: `B` tiles, `T` texels of a tile along one axis, `K` grid texels along one axis, `P` encoding values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch

from images.mips import mip_size
from model.layout import GridLayout, ModelLayout

TABLE_BYTES = 1 << 25
"""Most memory of a look-up table; where one would be larger, tiles are worked out as they are drawn."""


@dataclass(frozen=True)
class TileGroup:
    """Equal-sized tiles of one mip: texel columns `x` [B, Tx] and rows `y` [B, Ty], int64, inside the mip.

    Columns (and rows) of a tile follow one another; on a wrapping material they may run across the border,
    in which case they continue past the width (`x >= W`) instead of jumping back.
    """

    mip: int
    x: np.ndarray
    y: np.ndarray
    alignment: tuple[int, int] | None = None
    """Step and phase that all origins share, where the tiles were drawn that way; makes look-ups cheap."""

    @property
    def n_texels(self) -> int:
        return self.x.shape[0] * self.x.shape[1] * self.y.shape[1]


@dataclass
class AxisTaps:
    """One axis of a group's tiles on one grid level."""

    index: np.ndarray
    """Grid texels of the slab under each tile, wrapped or clamped, int64 [B, K]."""
    cell: np.ndarray
    """Per texel, its lower tap as a position in the slab, int64 [B, T]."""
    fraction: np.ndarray
    """Per texel, the weight of the upper tap, float32 [B, T]."""
    cell_texels: int
    """Texels per cell where every tile starts on a cell border and ends on one, else 0."""
    _matrices: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def n_cells(self) -> int:
        return self.index.shape[1] - 1

    def interpolation_matrix(self) -> np.ndarray:
        """Return the float32 [B, T, K] matrix that blends slab texels into texels (two entries a row)."""
        if "blend" not in self._matrices:
            matrix = np.zeros((*self.cell.shape, self.index.shape[1]), np.float32)
            np.put_along_axis(matrix, self.cell[..., None], 1 - self.fraction[..., None], 2)
            np.put_along_axis(matrix, self.cell[..., None] + 1, self.fraction[..., None], 2)
            self._matrices["blend"] = matrix
        return self._matrices["blend"]

    def cell_matrix(self) -> np.ndarray:
        """Return the float32 [B, T, K - 1] matrix that gives every texel its cell (one entry a row)."""
        if "cell" not in self._matrices:
            matrix = np.zeros((*self.cell.shape, self.n_cells), np.float32)
            np.put_along_axis(matrix, self.cell[..., None], 1, 2)
            self._matrices["cell"] = matrix
        return self._matrices["cell"]

    def take(self, tiles: np.ndarray, gathered: bool) -> AxisTaps:
        """Return the taps of some of the tiles, with the matrix that a gathered or a bilinear grid needs."""
        matrices = {}
        if not gathered:
            matrices["blend"] = self.interpolation_matrix()[tiles]
        elif not self.cell_texels:
            matrices["cell"] = self.cell_matrix()[tiles]
        return AxisTaps(self.index[tiles], self.cell[tiles], self.fraction[tiles], self.cell_texels, matrices)


def axis_taps(texels: np.ndarray, size: int, resolution: int, wrap: bool) -> AxisTaps:
    """Place texels [B, T] of an axis of `size` texels on a grid axis of `resolution`: p = (x + 0.5) / size * r - 0.5."""
    # Whole numbers all the way, so that a texel on a cell border takes the same taps here as in every reader.
    lower, rest = np.divmod((2 * texels + 1) * resolution - size, 2 * size)
    start = lower[:, :1]
    count = int((lower[:, -1:] - start).max()) + 2
    index = start + np.arange(count)
    index = index % resolution if wrap else index.clip(0, resolution - 1)
    cell = lower - start
    ratio = size // resolution if size % resolution == 0 else 0
    aligned = ratio > 0 and texels.shape[1] % ratio == 0 and bool((cell[:, ratio - 1] == 0).all()) \
        and (count - 1) * ratio == texels.shape[1]
    return AxisTaps(index, cell, (rest / (2 * size)).astype(np.float32), ratio if aligned else 0)


def join_taps(taps: list[AxisTaps]) -> AxisTaps:
    """Put the tiles of several groups one after the other; their shapes and alignment must be the same."""
    if len(taps) == 1:
        return taps[0]
    shared = set.intersection(*(set(part._matrices) for part in taps))
    return AxisTaps(*(np.concatenate([getattr(part, name) for part in taps]) for name in ("index", "cell", "fraction")),
                    taps[0].cell_texels, {name: np.concatenate([part._matrices[name] for part in taps])
                                          for name in shared})


def _all_origins(n_texels: int, size: int, alignment: tuple[int, int]) -> np.ndarray:
    """Texels [O, T] of every tile that can be drawn with an alignment."""
    step, phase = alignment
    return np.arange(phase, size + phase, step)[:, None] + np.arange(n_texels)


def _table_fits(n_texels: int, size: int, alignment: tuple[int, int], values: int) -> bool:
    """Whether a float32 table of `values` per texel of every tile that can be drawn is within `TABLE_BYTES`."""
    return -(-size // alignment[0]) * n_texels * values * 4 <= TABLE_BYTES


@lru_cache(maxsize=256)
def axis_table(n_texels: int, size: int, resolution: int, wrap: bool, alignment: tuple[int, int]) -> AxisTaps:
    """Return the taps of all tiles of `n_texels` that an aligned sampler can draw, one row per origin."""
    return axis_taps(_all_origins(n_texels, size, alignment), size, resolution, wrap)


def drawn_taps(texels: np.ndarray, size: int, grid: GridLayout, resolution: int, wrap: bool,
               alignment: tuple[int, int] | None) -> AxisTaps:
    """Return `axis_taps`, looked up where the tiles [B, T] have an alignment and the table fits."""
    slab = texels.shape[1] * resolution // size + 2
    if alignment is None or not _table_fits(texels.shape[1], size, alignment, slab):
        return axis_taps(texels, size, resolution, wrap)
    step, phase = alignment
    table = axis_table(texels.shape[1], size, resolution, wrap, alignment)
    return table.take((texels[:, 0] - phase) // step, grid.interpolation == "gather")


def cell_alignment(layout: ModelLayout, mip: int) -> tuple[int, int]:
    """Step and phase of tile origins that start on a cell border of the finest gathered grid; (1, 0) if there is none.

    Only grids whose cells are whole texels on both axes can be aligned to.
    """
    width, height = mip_size(layout.width, layout.height, mip)
    best = None
    for grid in layout.grids:
        resolution = grid.resolution(grid.level_of_mip(mip))
        if grid.interpolation == "gather" and width % resolution == 0 and width == height:
            ratio = width // resolution
            best = ratio if best is None else min(best, ratio)
    return (best, best // 2) if best and best % 2 == 0 else (1, 0)


@lru_cache(maxsize=64)
def _encoding_table(n_texels: int, size: int, layout: ModelLayout, mip: int, alignment: tuple[int, int]) -> np.ndarray:
    return axis_encoding(_all_origins(n_texels, size, alignment), size, layout, mip)


def drawn_encoding(texels: np.ndarray, size: int, layout: ModelLayout, mip: int,
                   alignment: tuple[int, int] | None) -> np.ndarray:
    """Return `axis_encoding`, looked up where the tiles [B, T] have an alignment and the table fits."""
    if alignment is None or not _table_fits(texels.shape[1], size, alignment, layout.n_frequencies * layout.phases):
        return axis_encoding(texels, size, layout, mip)
    step, phase = alignment
    return _encoding_table(texels.shape[1], size, layout, mip, alignment)[(texels[:, 0] - phase) // step]


def axis_encoding(texels: np.ndarray, size: int, layout: ModelLayout, mip: int) -> np.ndarray:
    """Return the positional encoding of one axis, float32 [B, T, P]: tiny-cuda-nn's TriangleWave, or its tiled form."""
    x = (texels % size + 0.5) / size
    if layout.period_cells:
        grid = layout.grids[0]
        x = 2 * x * grid.resolution(grid.level_of_mip(mip)) / layout.period_cells
    values = []
    for octave in range(layout.n_frequencies):
        t = x * 2.0 ** (octave - 1) + octave / 4
        for phase in range(layout.phases):
            shifted = t + phase / 4
            values.append(4 * np.abs(shifted - np.floor(shifted) - 0.5) - 1)
    return np.stack(values, -1).astype(np.float32) if values else np.zeros((*texels.shape, 0), np.float32)


def position_basis(fraction: np.ndarray, order: int) -> np.ndarray:
    """Return Legendre polynomials 0 .. order at places [...] in a cell, each from 0 to 1: float32 [..., order + 1]."""
    return np.polynomial.legendre.legvander(2 * fraction.astype(np.float64) - 1, order).astype(np.float32)


@lru_cache(maxsize=64)
def cell_places(rows: bytes, columns: bytes, order: int) -> np.ndarray:
    """Return the products of both axes' `position_basis` in a cell, float32 [Qy * Qx, (order + 1)^2].

    `rows`, `columns`: the bytes of the fractions, float32 [Qy] and [Qx].
    """
    return np.kron(*(position_basis(np.frombuffer(axis, np.float32), order) for axis in (rows, columns)))


def lod_of_mip(layout: ModelLayout, mip: int) -> float:
    """The network's lod input: m / (M - 1), 0 where there is one mip."""
    return mip / (layout.mips - 1) if layout.mips > 1 else 0.0


def grid_resolution(grid: GridLayout, mip: int) -> int:
    """Resolution of the level that a mip reads."""
    return grid.resolution(grid.level_of_mip(mip))


def flat_index(rows: np.ndarray, columns: np.ndarray, width: int) -> np.ndarray:
    """Combine row indices [B, Ty] and column indices [B, Tx] into flat ones, int64 [B, Ty, Tx]."""
    return rows[:, :, None] * width + columns[:, None, :]


def full_cover(width: int, height: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Origins of tiles of at most `side` that cover a `width x height` image; the last ones overlap their neighbours."""
    def starts(size: int) -> np.ndarray:
        tile = min(side, size)
        return np.minimum(np.arange(0, size, tile), size - tile)
    y, x = np.meshgrid(starts(height), starts(width), indexing="ij")
    return x.reshape(-1), y.reshape(-1)


def to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Move a host array to the device without waiting for it."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True) \
        if device.type == "cuda" else tensor.to(device)
