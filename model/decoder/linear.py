"""The linear decoder: what taps and blended features give by themselves, before the network corrects it.

    s = sum over gathered grids g and functions r of the place of  P_r(place) L_gr v_g  +  sum over blended grids of L_g v_g

v_g are the four taps of a gathered grid or the features of a blended one. It is the synthesis of a lapped block transform
whose coefficients are the latents, and so can begin as the one that is known in closed form.
"""

from __future__ import annotations

import torch
from torchtyping import TensorType

from model.grids.cells import AlignedCells, CellsToTexels
from model.grids.feature_grids import CellFeatures, Features
from model.grids.layout import FeatureLayout


class _LayCells(torch.autograd.Function):
    """Values of cells [B, Ky, Kx, R * N] laid over texels of shape (B, Ty, Tx): [B * Ty * Tx, N]."""

    @staticmethod
    def forward(
        ctx, cells: torch.Tensor, to_texels: CellsToTexels, shape: tuple[int, int, int], n: int
    ) -> torch.Tensor:
        ctx.to_texels, ctx.shape = to_texels, shape
        texels = cells.new_zeros(*shape, n)
        to_texels.add(texels, cells)
        return texels.view(-1, n)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):
        texels = gradient.contiguous().view(*ctx.shape, -1)
        return ctx.to_texels.add_transposed(texels), None, None, None


def _of_cells(cells: CellFeatures, weights: torch.Tensor) -> torch.Tensor:
    """Return a gathered grid's part for its texels, [n, out]; `weights` [out, R, 4F] by function of the place."""
    out, functions, taps = weights.shape
    to_texels = cells.linear
    if isinstance(to_texels, AlignedCells) and to_texels.basis is not None:
        # The places are as many as the functions or fewer: their weights are summed beforehand.
        (qy, qx), (b, ky, kx, _) = to_texels.texels, cells.taps.shape
        of_places = torch.matmul(to_texels.basis, weights.transpose(0, 1).reshape(functions, -1)).view(-1, taps)
        values = torch.matmul(cells.taps.reshape(-1, taps), of_places.t())
        return values.view(b, ky, kx, qy, qx, out).transpose(2, 3).reshape(-1, out)
    values = torch.matmul(cells.taps, weights.transpose(0, 1).reshape(-1, taps).t())
    return _LayCells.apply(values, to_texels, cells.shape, out)


def blended_columns(layout: FeatureLayout) -> dict[int, slice]:
    """Return where the features of each blended grid lie in `Features.texels`, by the grid's number."""
    columns, start = {}, layout.n_encoding
    for index, grid in enumerate(layout.grids):
        if not grid.gathered:
            columns[index] = slice(start, start + grid.n_features)
            start += grid.n_features
    return columns


def linear_values(features: Features, weights: TensorType["out", "cols", float]) -> TensorType["N", "out", float]:
    """Return what the linear decoder gives for the texels of a batch, float32 [N, out]."""
    layout, out = features.layout, len(weights)
    groups: dict[int, torch.Tensor] = {}
    for cells in features.cells:
        of_grid = weights[:, layout.linear_columns[cells.grid]].view(out, layout.n_linear_basis, -1)
        values = _of_cells(cells, of_grid)
        first = cells.first_texel
        groups[first] = groups[first] + values if first in groups else values
    parts = [groups[first] for first in sorted(groups)]
    total = (parts[0] if len(parts) == 1 else torch.cat(parts)) if parts else None
    for grid, columns in blended_columns(layout).items():
        values = features.texels[:, columns] @ weights[:, layout.linear_columns[grid]].t()
        total = values if total is None else total + values
    if total is None:
        raise ValueError("a layout without grids")
    return total
