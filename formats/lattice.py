"""The texel lattice of a mip, where taps, weights and encoding depend on a texel's row or on its column alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from formats.linear import legendre
from formats.network import Workspace
from formats.taps import MipModel, Taps

BLOCK_TEXELS = 1 << 12
"""Texels whose inputs are put together at once."""

Store = Callable[[np.ndarray, slice, slice], None]
"""Takes network outputs `[rows, h, w]` of the texels that two slices choose along height and width."""


def blend_taps(level: np.ndarray, rows: Taps, columns: Taps) -> np.ndarray:
    """Return the bilinear features `[F, h, w]` of a level `[F, r, r]` at `h` rows and `w` columns of texels."""
    above, below = level[:, rows.first], level[:, rows.second]
    below -= above
    below *= rows.weight[:, None]
    above += below
    left, right = above.take(columns.first, axis=2), above.take(columns.second, axis=2)
    right -= left
    right *= columns.weight
    left += right
    return left


def gather_taps(level: np.ndarray, rows: Taps, columns: Taps, out: np.ndarray) -> None:
    """Write the four taps of a level `[F, r, r]` at `h` rows and `w` columns of texels into `[4F, h, w]`."""
    features = len(level)
    for vertical, lines in enumerate((rows.first, rows.second)):
        lines = level[:, lines]
        for horizontal, taps in enumerate((columns.first, columns.second)):
            start = (2 * vertical + horizontal) * features
            # All indices are in range; "clip" spares `take` a buffer.
            lines.take(taps, axis=2, out=out[start : start + features], mode="clip")


def part_of(taps: Taps, part: slice) -> Taps:
    """Return the taps of some coordinates alone."""
    return Taps(*(array[part] for array in taps))


class Lattice:
    """Taps of every grid and encodings of the texel centres along both axes of a mip."""

    def __init__(self, model: MipModel) -> None:
        self.model = model
        self.columns = [model.lattice_taps(model.width, level.shape[1]) for level in model.levels]
        self.rows = [model.lattice_taps(model.height, level.shape[1]) for level in model.levels]
        self.encoded_u = model.encode((np.arange(model.width) + 0.5) / model.width)
        self.encoded_v = model.encode((np.arange(model.height) + 0.5) / model.height)


class TexelDecoding(Lattice):
    """The general way: every texel's network inputs are put together, products included."""

    def blocks(self) -> Iterator[slice]:
        """Yield the rows that are decoded at once."""
        rows = max(1, BLOCK_TEXELS // self.model.width)
        for first in range(0, self.model.height, rows):
            yield slice(first, min(first + rows, self.model.height))

    def decode(self, block: slice, store: Store, workspace: Workspace) -> None:
        """Decode a block of rows and hand its outputs to `store`."""
        for first in range(0, self.model.width, BLOCK_TEXELS):
            part = slice(first, min(first + BLOCK_TEXELS, self.model.width))
            inputs, linear = self._inputs(block, part, workspace)
            outputs = self.model.run(
                inputs.reshape(len(inputs), -1), linear.reshape(len(linear), inputs[0].size), workspace
            )
            store(outputs.reshape(-1, *inputs.shape[1:]), block, part)

    def _inputs(self, block: slice, part: slice, workspace: Workspace) -> tuple[np.ndarray, np.ndarray]:
        """Return the first layer's inputs `[cols, h, w]` but for the linear decoder's, and what that gives, `[O, h, w]`."""
        model, n = self.model, self.model.n_encoding
        height, width = block.stop - block.start, part.stop - part.start
        inputs = workspace.array("inputs", model.layers[0].weights.shape[1], height, width)
        inputs[:n] = self.encoded_u[:, None, part]
        inputs[n : 2 * n] = self.encoded_v[:, block, None]
        inputs[model.lod_column] = model.lod
        inputs[model.padding_columns] = 1
        total = workspace.array("linear", 0 if model.linear is None else len(model.linear.outputs), height, width)
        total[...] = 0
        for g, level in enumerate(model.levels):
            rows, columns = part_of(self.rows[g], block), part_of(self.columns[g], part)
            taps = inputs[model.tap_columns[g]]
            if not model.gathered[g]:
                taps[...] = blend_taps(level, rows, columns)
            else:
                gather_taps(level, rows, columns, taps)
            if model.linear is not None:
                order = model.linear.order
                model.linear.add_lattice(g, taps, legendre(rows.weight, order), legendre(columns.weight, order), total)
            if not model.gathered[g]:
                continue
            basis = model.basis(rows.weight)[:, None, :, None] * model.basis(columns.weight)[None, :, None]
            products = inputs[model.product_columns[g]].reshape(model.n_products, *taps.shape)
            for function, product in zip(basis.reshape(-1, height, width)[1:], products):
                np.multiply(taps, function, out=product)
        return inputs, total
