"""What a batch of tiles needs on the device, worked out on the host: arrays, and what is fixed about them.

A plan is a list of bundles. `plan_arrays` lists its arrays, `filled` puts others (the same on a device) in their place.
Letters as in `model.geometry`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

import numpy as np
import torch

Array = np.ndarray | torch.Tensor


class GridPlan(NamedTuple):
    """One grid under the tiles of a bundle."""

    level: int
    """Level of the bundle's first group; `index` already points into it."""
    index: Array
    """Rows of the grid's table under each tile, int64 [B, Ky, Kx]."""
    cell_texels: tuple[int, int]
    """Texels per cell (y, x) of a gathered grid's aligned tiles, else (0, 0)."""
    matrices: tuple[Array, ...]
    """Float32; rows and columns [B, T, K], or the place in an aligned cell alone [Qy * Qx, R], or nothing."""


class BundlePlan(NamedTuple):
    """Tiles that are worked on at once."""

    shape: tuple[int, int, int]
    """B, Ty, Tx."""
    encoding: tuple[Array, ...]
    """Positional encoding of columns [B, Tx, P] and rows [B, Ty, P], float32; empty without one."""
    grids: tuple[GridPlan, ...]
    constants: Array
    """Inputs that all texels of a tile share, float32 [B, 1, 1, n]."""


def plan_arrays(plan: list[BundlePlan]) -> list[Array]:
    """Return the arrays of a plan, in the order in which `filled` takes them."""
    arrays = []
    for bundle in plan:
        arrays += bundle.encoding
        for grid in bundle.grids:
            arrays += (grid.index, *grid.matrices)
        arrays.append(bundle.constants)
    return arrays


def filled(plan: list[BundlePlan], arrays: Iterable[Array]) -> list[BundlePlan]:
    """Return a plan with other arrays of the same shapes."""
    rest = iter(arrays)
    return [BundlePlan(shape, tuple(next(rest) for _ in encoding),
                       tuple(GridPlan(grid.level, next(rest), grid.cell_texels,
                                      tuple(next(rest) for _ in grid.matrices)) for grid in grids), next(rest))
            for shape, encoding, grids, _ in plan]


def signature(plan: list[BundlePlan], arrays: list[Array]) -> Hashable:
    """Return all that differs between plans besides the values in their arrays: equal ones run the same operations.

    `arrays` are the plan's, and more if need be. The levels are left out, since the indices hold them.
    """
    return (tuple((bundle.shape, tuple(grid.cell_texels for grid in bundle.grids)) for bundle in plan),
            tuple(array.shape for array in arrays))
