"""Decoding of single points of one mip."""

from __future__ import annotations

import numpy as np

from formats.linear import legendre
from formats.network import Workspace
from formats.taps import MipModel


def decode_points(model: MipModel, u: np.ndarray, v: np.ndarray, workspace: Workspace) -> np.ndarray:
    """Return the network's outputs `[11, N]` at points `[N]`, coordinates (float64) in [0, 1]."""
    inputs = workspace.array("inputs", model.layers[0].weights.shape[1], len(u))
    n = model.n_encoding
    inputs[:n], inputs[n : 2 * n] = model.encode(u), model.encode(v)
    inputs[model.lod_column] = model.lod
    inputs[model.padding_columns] = 1
    linear = model.linear
    total = workspace.array("linear", 0 if linear is None else len(linear.outputs), len(u))
    total[...] = 0
    for g, (level, gathered, columns, products) in enumerate(
        zip(model.levels, model.gathered, model.tap_columns, model.product_columns)
    ):
        left, right, wx = model.point_taps(u, level.shape[1])
        above, below, wy = model.point_taps(v, level.shape[1])
        taps = [level[:, above, left], level[:, above, right], level[:, below, left], level[:, below, right]]
        if not gathered:
            upper, lower = (a + (b - a) * wx for a, b in (taps[:2], taps[2:]))
            inputs[columns] = upper + (lower - upper) * wy
        else:
            inputs[columns] = np.concatenate(taps)
        if linear is not None:
            along_y, along_x = legendre(wy, linear.order), legendre(wx, linear.order)
            linear.add_points(g, inputs[columns], along_y, along_x, total, workspace)
        if not gathered:
            continue
        basis = (model.basis(wy)[:, None] * model.basis(wx)[None]).reshape(-1, len(u))
        np.multiply(
            inputs[columns],
            basis[1:, None],
            out=inputs[products].reshape(model.n_products, columns.stop - columns.start, len(u)),
        )
    return model.run(inputs, total, workspace)
