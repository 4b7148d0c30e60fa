"""The linear decoder: outputs that are sums of the taps themselves, with weights that depend on the place in a cell.

With a gathered grid's taps t and Legendre polynomials P of the place (x, y) in its cell, and a blended grid's features f,

    s = sum over gathered grids and (j, i) of P_j(y) P_i(x) L_ji t + sum over blended grids of L f

The network adds its own outputs to s, and reads s among its inputs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from formats.network import Workspace, quiet_overflow


def legendre(weight: np.ndarray, order: int) -> np.ndarray:
    """Return Legendre polynomials 0 .. order at offsets `[N]` in a cell, from 0 to 1: float32 `[order + 1, N]`."""
    x = 2 * weight.astype(np.float64) - 1
    values = [np.ones_like(x), x]
    for n in range(1, order):
        values.append(((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1))
    return np.stack(values[: order + 1]).astype(np.float32)


class LinearDecoder(NamedTuple):
    """The linear decoder's weights."""

    outputs: np.ndarray
    """Canonical channels that it gives, int64 `[O]`, in rising order."""
    order: int
    weights: list[np.ndarray]
    """Of each grid, float32 `[functions, O, inputs]`: the functions of the place j slow, i fast; of a blended grid one."""

    def sides(self, g: int) -> int:
        """Return how many polynomials along each axis grid `g`'s functions are products of."""
        return self.order + 1 if len(self.weights[g]) > 1 else 1

    @quiet_overflow
    def folded(self, g: int, along_y: np.ndarray, along_x: np.ndarray) -> np.ndarray:
        """Return grid `g`'s weights `[O, inputs]` at one place, given its polynomials `[order + 1]` along both axes."""
        n, weights = self.sides(g), self.weights[g]
        basis = np.outer(along_y[:n], along_x[:n]).reshape(1, -1)
        return (basis @ weights.reshape(len(weights), -1)).reshape(weights.shape[1:])

    @quiet_overflow
    def add_lattice(
        self, g: int, inputs: np.ndarray, along_y: np.ndarray, along_x: np.ndarray, total: np.ndarray
    ) -> None:
        """Add what grid `g`'s inputs `[inputs, h, w]` give to `total`, float32 `[O, h, w]`.

        Polynomials are `[order + 1, h]` along the rows and `[order + 1, w]` along the columns. Weights are summed up
        once for each line along the shorter side, whose texels share one of the two coordinates.
        """
        n, weights = self.sides(g), self.weights[g]
        lines, across = along_y[:n], along_x[:n]
        weights = weights.reshape(n, n, *weights.shape[1:])
        if lines.shape[1] > across.shape[1]:
            lines, across, weights = across, lines, weights.swapaxes(0, 1)
            inputs, total = inputs.swapaxes(1, 2), total.swapaxes(1, 2)
        flat = weights.reshape(n, -1)
        for line in range(lines.shape[1]):
            of_line = (lines[:, line] @ flat).reshape(-1, inputs.shape[0]) @ inputs[:, line]
            total[:, line] += np.einsum("ion,in->on", of_line.reshape(n, -1, across.shape[1]), across)

    @quiet_overflow
    def add_points(
        self,
        g: int,
        inputs: np.ndarray,
        along_y: np.ndarray,
        along_x: np.ndarray,
        total: np.ndarray,
        workspace: Workspace,
    ) -> None:
        """Add what grid `g`'s inputs `[inputs, N]` give to `total`, float32 `[O, N]`; polynomials `[order + 1, N]`."""
        n, weights = self.sides(g), self.weights[g]
        products = workspace.array("linear products", len(weights) * len(self.outputs), inputs.shape[1])
        np.matmul(weights.reshape(len(products), -1), inputs, out=products)
        for number, product in enumerate(products.reshape(len(weights), *total.shape)):
            product *= along_y[number // n] * along_x[number % n]
            total += product
