"""Decoding of a mip whose gathered grids have cells of a whole number of texels.

Texels at one offset (y, x) in their cells have the same Legendre products P_j(y) P_i(x). With the taps t of a texel's
cell, the first layer is

    h = W t + sum over (j, i) of W_ji (P_j(y) P_i(x) t) + rest = W(y, x) t + rest,  W(y, x) = W + sum P_j(y) P_i(x) W_ji

so its weights are summed beforehand, once for each offset, and all texels at an offset go through a network that has no
products among its inputs. What is the same for all of them, such as the lod and an encoding that repeats in every cell,
becomes one input that is always one.

The linear decoder is summed up likewise, s = L(y, x) t. Where the network reads s, its weights for it are as good as
weights of the taps: W_s s = W_s L(y, x) t. So s is no input either, but further rows of the same matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from configs import N_CHANNELS
from formats.lattice import Lattice, Store, blend_taps, gather_taps, part_of
from formats.linear import legendre
from formats.network import Workspace, quiet_overflow, run_with_linear
from formats.taps import MipModel, Taps

BATCH_TEXELS = 1 << 10
"""Texels that go through the network at once: few enough to stay in a core's cache."""
MOST_OFFSETS = 1 << 8
"""With more texels in a cell, weights of their own for each offset would cost more than they save."""
MOST_WEIGHTS = 1 << 25
"""Most weights of all offsets together: a wide network of many offsets would ask for more memory than it is worth."""


class _Offset(NamedTuple):
    """The texels whose row is y modulo a cell's height and whose column is x modulo its width."""

    y: int
    x: int
    weights: np.ndarray
    """The first layer's, then the linear decoder's: float32 `[rows, inputs]`."""


def plan_cells(model: MipModel) -> CellDecoding | None:
    """Return how to decode a mip by cells; `None` where they are no whole number of texels, or too large."""
    sides = [level.shape[1] for level, gathered in zip(model.levels, model.gathered) if gathered]
    if not sides or any(model.width % side or model.height % side for side in sides):
        return None
    cell_width = math.lcm(*(model.width // side for side in sides))
    cell_height = math.lcm(*(model.height // side for side in sides))
    if cell_width * cell_height > MOST_OFFSETS:
        return None
    rows = len(model.layers[0].weights) + (N_CHANNELS if model.linear else 0)
    # Encoding, taps and the input that is always one.
    inputs = model.lod_column + 1
    if cell_width * cell_height * rows * inputs > MOST_WEIGHTS:
        return None
    return CellDecoding(model, cell_width, cell_height)


class CellDecoding(Lattice):
    """The way by cells: texels at one offset in their cells go through the network together.

    Where gathered grids have cells of other sizes, a cell here is the smallest block of texels of which all are parts.
    """

    def __init__(self, model: MipModel, cell_width: int, cell_height: int) -> None:
        super().__init__(model)
        self.cell_width, self.cell_height = cell_width, cell_height
        self.gathered = [g for g, gathered in enumerate(model.gathered) if gathered]
        self.blended = [g for g, gathered in enumerate(model.gathered) if not gathered]
        self.u_repeats = self._repeats(self.encoded_u, cell_width)
        self.v_repeats = self._repeats(self.encoded_v, cell_height)
        self.sharing = [
            (rows, columns, [self._offset(y, x) for y in rows for x in columns])
            for rows in self._sharing_taps(self.rows, cell_height)
            for columns in self._sharing_taps(self.columns, cell_width)
        ]
        """Rows and columns in a cell whose texels read the same taps of all gathered grids, and these offsets."""

    @staticmethod
    def _repeats(encoded: np.ndarray, period: int) -> bool:
        """Return whether an encoding `[n, N]` along one axis is the same in every cell."""
        if encoded.size == 0:
            return True
        return bool((encoded.reshape(len(encoded), -1, period) == encoded[:, None, :period]).all())

    def _sharing_taps(self, taps: list[Taps], cell: int) -> list[list[int]]:
        """Split the offsets along an axis into lists whose texels read the same taps of all gathered grids."""
        lists: dict[tuple[int, ...], list[int]] = {}
        for offset in range(cell):
            key = tuple(int(index[offset]) for g in self.gathered for index in taps[g][:2])
            lists.setdefault(key, []).append(offset)
        return list(lists.values())

    @quiet_overflow
    def _offset(self, y: int, x: int) -> _Offset:
        """Sum up the weights for an offset: columns in the order in which `decode` fills its inputs."""
        network = self._first_layer(y, x)
        model, linear = self.model, self.model.linear
        if linear is None:
            return _Offset(y, x, network)
        own = np.zeros((len(linear.outputs), network.shape[1]), np.float32)
        start = 0
        for g in self.gathered:
            along_y = legendre(self.rows[g].weight[y : y + 1], linear.order)[:, 0]
            along_x = legendre(self.columns[g].weight[x : x + 1], linear.order)[:, 0]
            folded = linear.folded(g, along_y, along_x)
            own[:, start : start + folded.shape[1]] = folded
            start += folded.shape[1]
        # The blended grids' features come last, before the input that is always one.
        start = own.shape[1] - 1 - sum(linear.weights[g].shape[2] for g in self.blended)
        for g in self.blended:
            end = start + linear.weights[g].shape[2]
            own[:, start:end] = linear.weights[g][0]
            start = end
        read = model.layers[0].weights[:, model.linear_columns][:, linear.outputs]
        return _Offset(y, x, np.concatenate([network + read @ own, own]))

    def _first_layer(self, y: int, x: int) -> np.ndarray:
        """Return the first layer's weights for an offset, the linear decoder's inputs left out."""
        model, n = self.model, self.model.n_encoding
        weights, bias, _ = model.layers[0]
        constant = weights[:, model.lod_column] * np.float32(model.lod) + weights[:, model.padding_columns].sum(1)
        if bias is not None:
            constant = constant + bias
        columns = []
        for g in self.gathered:
            own, products = weights[:, model.tap_columns[g]], weights[:, model.product_columns[g]]
            basis = model.basis(self.rows[g].weight[y : y + 1]) * model.basis(self.columns[g].weight[x : x + 1])[:, 0]
            products = products.reshape(len(weights), model.n_products, own.shape[1])
            columns.append(own + np.einsum("rkt,k->rt", products, basis.reshape(-1)[1:]))
        for repeats, encoded, part in (
            (self.u_repeats, self.encoded_u[:, x], slice(0, n)),
            (self.v_repeats, self.encoded_v[:, y], slice(n, 2 * n)),
        ):
            if repeats:
                constant = constant + weights[:, part] @ encoded
            else:
                columns.append(weights[:, part])
        columns += [weights[:, model.tap_columns[g]] for g in self.blended] + [constant[:, None]]
        return np.ascontiguousarray(np.concatenate(columns, axis=1))

    def blocks(self) -> Iterator[slice]:
        """Yield the rows that are decoded at once: whole cells."""
        rows = self.cell_height * max(1, BATCH_TEXELS // (self.model.width // self.cell_width))
        for first in range(0, self.model.height, rows):
            yield slice(first, min(first + rows, self.model.height))

    def decode(self, block: slice, store: Store, workspace: Workspace) -> None:
        """Decode a block of rows and hand its outputs to `store`."""
        model = self.model
        blended = [blend_taps(model.levels[g], part_of(self.rows[g], block), self.columns[g]) for g in self.blended]
        cells = (block.stop - block.start) // self.cell_height, model.width // self.cell_width
        inputs = workspace.array("inputs", self.sharing[0][2][0].weights.shape[1], *cells)
        inputs[-1] = 1
        for rows, columns, offsets in self.sharing:
            start = 0
            for g in self.gathered:
                end = start + 4 * len(model.levels[g])
                gather_taps(
                    model.levels[g],
                    part_of(self.rows[g], slice(block.start + rows[0], block.stop, self.cell_height)),
                    part_of(self.columns[g], slice(columns[0], None, self.cell_width)),
                    inputs[start:end],
                )
                start = end
            for y, x, weights in offsets:
                lines, across = slice(block.start + y, block.stop, self.cell_height), slice(x, None, self.cell_width)
                varying = [] if self.u_repeats else [self.encoded_u[:, None, across]]
                varying += [] if self.v_repeats else [self.encoded_v[:, lines, None]]
                varying += [features[:, y :: self.cell_height, across] for features in blended]
                at = start
                for values in varying:
                    inputs[at : at + len(values)] = values
                    at += len(values)
                outputs, linear = run_with_linear(weights, model.layers, inputs.reshape(len(inputs), -1), workspace)
                if model.linear is not None:
                    outputs[model.linear.outputs] += linear
                store(outputs.reshape(-1, *cells), lines, across)
