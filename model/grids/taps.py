"""Where the texels of a tile lie on one axis of a grid level, and what functions of that place are.

Everything is separable: a tile is a set of columns times a set of rows, so taps and weights are kept per axis. Positions
are worked out in whole numbers on the host, where a batch has a few hundred of them.

Letters: `B` tiles, `T` texels of a tile along one axis, `K` grid texels along one axis, `P` encoding values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.grids.layout import FeatureLayout


@dataclass(frozen=True)
class AxisTaps:
    """One axis of tiles on one grid level: texel t of a tile lies between grid texels `cell` and `cell + 1`."""

    index: np.ndarray
    """Grid texels under each tile, wrapped or clamped, int64 [B, K]."""
    cell: np.ndarray
    """Per texel, its lower tap as a position in `index`, int64 [B, T]."""
    fraction: np.ndarray
    """Per texel, the weight of the upper tap, float32 [B, T]."""
    cell_texels: int
    """Texels per cell where every tile starts on a cell border and ends on one, else 0."""

    def interpolation_matrix(self) -> np.ndarray:
        """Return the weights with which taps blend into texels, float32 [B, T, K]: two entries a row, 1 - f and f."""
        matrix = np.zeros((*self.cell.shape, self.index.shape[1]), np.float32)
        np.put_along_axis(matrix, self.cell[..., None], 1 - self.fraction[..., None], 2)
        np.put_along_axis(matrix, self.cell[..., None] + 1, self.fraction[..., None], 2)
        return matrix

    def cell_matrix(self, order: int) -> np.ndarray:
        """Return float32 [B, T, (K - 1) * (order + 1)], which takes values of cells to texels.

        Entry (t, k, j) is the Legendre polynomial P_j of texel t's place in its cell where that cell is k, else 0.
        """
        matrix = np.zeros((*self.cell.shape, self.index.shape[1] - 1), np.float32)
        np.put_along_axis(matrix, self.cell[..., None], 1, 2)
        if order == 0:
            return matrix
        basis = legendre(self.fraction, order)
        return (matrix[..., None] * basis[:, :, None]).reshape(*matrix.shape[:2], -1)


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
    aligned = (
        ratio > 0
        and texels.shape[1] % ratio == 0
        and bool((cell[:, ratio - 1] == 0).all())
        and (count - 1) * ratio == texels.shape[1]
    )
    return AxisTaps(index, cell, (rest / (2 * size)).astype(np.float32), ratio if aligned else 0)


def axis_encoding(texels: np.ndarray, size: int, layout: FeatureLayout, mip: int) -> np.ndarray:
    """Return the positional encoding of one axis, float32 [B, T, P]: tiny-cuda-nn's TriangleWave, or its tiled form.

    t = x * 2^(f - 1) + f / 4 (+ 1/4 in the second phase), value = 4 |t - floor(t) - 0.5| - 1, octaves f = 0, 1, ...; x
    is u, or 2 u r / k where the encoding has a period of k cells of grid 0, r being grid 0's resolution at this mip.
    """
    x = (texels % size + 0.5) / size
    if layout.period_cells:
        x = 2 * x * layout.grids[0].resolution_of_mip(mip) / layout.period_cells
    values = []
    for octave in range(layout.n_frequencies):
        t = x * 2.0 ** (octave - 1) + octave / 4
        for phase in range(layout.phases):
            shifted = t + phase / 4
            values.append(4 * np.abs(shifted - np.floor(shifted) - 0.5) - 1)
    return np.stack(values, -1).astype(np.float32) if values else np.zeros((*texels.shape, 0), np.float32)


def legendre(fraction: np.ndarray, order: int) -> np.ndarray:
    """Return Legendre polynomials 0 .. order at places [...] in a cell, each from 0 to 1: float32 [..., order + 1]."""
    return np.polynomial.legendre.legvander(2 * fraction.astype(np.float64) - 1, order).astype(np.float32)


def cell_basis(rows: np.ndarray, columns: np.ndarray, order: int) -> np.ndarray:
    """Return P_j(y) P_i(x) at every place of a cell, float32 [Qy * Qx, (order + 1)^2], j slow and i fast.

    `rows` [Qy] and `columns` [Qx] are the places of the cell's texels, from 0 to 1.
    """
    return np.kron(legendre(rows, order), legendre(columns, order))
