"""How values of grid cells are laid over texels: what gathered taps, which a cell's texels share, spare.

A cell carries a value `c[ky, kx, r]` (a vector of N) for each function r of the place in the cell, r = (j, i). Texel (y, x)
of that cell is to get

    t[y, x] = sum over j, i of  P_j(place of y) * P_i(place of x) * c[ky, kx, (j, i)],

with Legendre polynomials P up to an order; with order 0 that is the cell's one value. Two forms do the same: whole numbers
of texels per cell, where a reshape finds the cell, and matrices for every other way in which tiles lie on cells.

Letters: `B` tiles, `Ky, Kx` cells under a tile, `Ty, Tx` texels of a tile, `R` functions, `N` values.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import torch

Array: TypeAlias = Any
"""NumPy's on the host, a tensor on the device."""


class AlignedCells(NamedTuple):
    """Tiles that begin and end on cell borders: a cell is `texels` = (Qy, Qx) texels."""

    texels: tuple[int, int]
    basis: Array | None
    """[Qy * Qx, R], the functions at the places of a cell's texels; None with the constant one alone."""

    def add(self, texels: torch.Tensor, cells: torch.Tensor) -> None:
        """Add cells [B, Ky, Kx, R * N] to texels [B, Ty, Tx, N], in place."""
        (b, ky, kx, _), (qy, qx), n = cells.shape, self.texels, texels.shape[3]
        split = texels.view(b, ky, qy, kx, qx, n)
        if self.basis is None:
            split.add_(cells[:, :, None, :, None, :])
            return
        values = torch.matmul(self.basis.to(cells.dtype), cells.reshape(b * ky * kx, -1, n))
        split.add_(values.view(b, ky, kx, qy, qx, n).transpose(2, 3))

    def add_transposed(self, texels: torch.Tensor) -> torch.Tensor:
        """Return the gradient of `add` for the cells, [B, Ky, Kx, R * N], from that of the texels [B, Ty, Tx, N]."""
        (b, ty, tx, n), (qy, qx) = texels.shape, self.texels
        if self.basis is None:
            rows = texels.view(b, ty // qy, qy, tx * n).sum(2)
            return rows.view(b, ty // qy, tx // qx, qx, n).sum(3)
        places = texels.view(b, ty // qy, qy, tx // qx, qx, n).transpose(2, 3).reshape(-1, qy * qx, n)
        return torch.matmul(self.basis.t().to(texels.dtype), places).view(b, ty // qy, tx // qx, -1)


class CellMatrices(NamedTuple):
    """Tiles that lie on cells in any way: rows[y, (ky, j)] is P_j(place of y) where texel row y lies in cell ky, else 0."""

    rows: Array
    """[B, Ty, Ky * (order + 1)]."""
    columns: Array
    """[B, Tx, Kx * (order + 1)], the same for columns."""
    order: int

    def add(self, texels: torch.Tensor, cells: torch.Tensor) -> None:
        """Add cells [B, Ky, Kx, R * N] to texels [B, Ty, Tx, N], in place."""
        (b, ky, kx, _), p, n = cells.shape, self.order + 1, texels.shape[3]
        if self.order:
            cells = cells.reshape(b, ky, kx, p, p, n).transpose(2, 3)
        rows, columns = self.rows.to(cells.dtype), self.columns.to(cells.dtype)
        lines = torch.bmm(rows, cells.reshape(b, ky * p, kx * p * n)).view(b, -1, kx * p, n)
        texels.add_(torch.matmul(columns[:, None], lines))

    def add_transposed(self, texels: torch.Tensor) -> torch.Tensor:
        """Return the gradient of `add` for the cells, [B, Ky, Kx, R * N], from that of the texels [B, Ty, Tx, N]."""
        (b, ty, tx, n), p = texels.shape, self.order + 1
        rows, columns = self.rows.to(texels.dtype), self.columns.to(texels.dtype)
        lines = torch.bmm(rows.transpose(1, 2), texels.reshape(b, ty, tx * n)).view(b, -1, tx, n)
        cells = torch.matmul(columns.transpose(1, 2)[:, None], lines)
        if not self.order:
            return cells
        ky, kx = cells.shape[1] // p, cells.shape[2] // p
        return cells.view(b, ky, p, kx, p, n).transpose(2, 3).reshape(b, ky, kx, -1)


CellsToTexels: TypeAlias = AlignedCells | CellMatrices
