"""Decoding of whole mips, where taps, weights and encoding depend on a texel's row or on its column alone.

Two ways, by block of rows. In general every texel's inputs are put together and go through the network. Where the cells
of all gathered grids are a whole number of texels, texels of one place in their cells share all functions of the place,
so the first layer's weights are summed for each place beforehand: with taps t and polynomials P,

    h = W t + sum over (i, j) of W_ij (P_j(y) P_i(x) t) + rest = W(x, y) t + rest,   W(x, y) = W + sum P_j(y) P_i(x) W_ij

and the texels of a place go through a network that has no products among its inputs.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from formats.network import Layer, Workspace, one_matrix_thread, run_layers
from formats.taps import MipModel, Taps

BLOCK_TEXELS = 1 << 12
"""Texels whose inputs are worked out at once in general."""
PLACE_TEXELS = 1 << 10
"""Texels of one place that go through the network at once: few enough to stay in a core's cache."""
MOST_PLACES = 1 << 8
"""With more places in a cell, weights of their own for each would cost more than they save."""
MOST_THREADS = 8

Store = Callable[[np.ndarray, slice, slice], None]
"""Takes network outputs `[rows, h, w]` of the texels that two slices choose along height and width."""


def worker_count() -> int:
    """Return how many threads decode: the cores that this process may use, or OMP_NUM_THREADS where it is set."""
    setting = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(int(setting), 1) if setting.isdecimal() else cores, MOST_THREADS)


def decode_lattice(model: MipModel, store: Store, progress: Callable[[int], None] | None = None) -> None:
    """Decode a mip and hand the outputs of its texels to `store`, in no particular order and from several threads.

    `progress` is called, from the calling thread, with the number of rows done since the last call.
    """
    plan = _plan_places(model) or _Texels(model)
    blocks = list(plan.blocks())
    workers = min(worker_count(), len(blocks), max(1, model.width * model.height >> 14))
    memory = threading.local()

    def run(block: slice) -> int:
        if not hasattr(memory, "workspace"):
            memory.workspace = Workspace()
        plan.decode(block, store, memory.workspace)
        return block.stop - block.start

    def report(rows: Iterator[int]) -> None:
        for done in rows:
            if progress:
                progress(done)

    with one_matrix_thread():
        if workers == 1:
            report(map(run, blocks))
            return
        with ThreadPoolExecutor(workers) as pool:
            try:
                report(pool.map(run, blocks))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _blend(level: np.ndarray, rows: Taps, columns: Taps) -> np.ndarray:
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


def _part(taps: Taps, part: slice) -> Taps:
    return Taps(*(array[part] for array in taps))


class _Axes:
    """Taps of every grid and encodings of the texel centres along both axes of a mip."""

    def __init__(self, model: MipModel) -> None:
        self.model = model
        self.columns = [model.lattice_taps(model.width, level.shape[1]) for level in model.levels]
        self.rows = [model.lattice_taps(model.height, level.shape[1]) for level in model.levels]
        self.encoded_u = model.encode((np.arange(model.width) + 0.5) / model.width)
        self.encoded_v = model.encode((np.arange(model.height) + 0.5) / model.height)


class _Texels(_Axes):
    """The general way: every texel's inputs one by one."""

    def blocks(self) -> Iterator[slice]:
        rows = max(1, BLOCK_TEXELS // self.model.width)
        for first in range(0, self.model.height, rows):
            yield slice(first, min(first + rows, self.model.height))

    def decode(self, block: slice, store: Store, workspace: Workspace) -> None:
        for first in range(0, self.model.width, BLOCK_TEXELS):
            part = slice(first, min(first + BLOCK_TEXELS, self.model.width))
            inputs = self._inputs(block, part, workspace)
            outputs = run_layers(self.model.layers, inputs.reshape(len(inputs), -1), workspace)
            store(outputs.reshape(-1, *inputs.shape[1:]), block, part)

    def _inputs(self, block: slice, part: slice, workspace: Workspace) -> np.ndarray:
        """Return the first layer's inputs `[cols, h, w]`."""
        model, n = self.model, self.model.n_encoding
        height, width = block.stop - block.start, part.stop - part.start
        inputs = workspace.array("inputs", model.layers[0].weights.shape[1], height, width)
        inputs[:n] = self.encoded_u[:, None, part]
        inputs[n:2 * n] = self.encoded_v[:, block, None]
        inputs[model.lod_column] = model.lod
        inputs[model.padding_columns] = 1
        for g, level in enumerate(model.levels):
            rows, columns = _part(self.rows[g], block), _part(self.columns[g], part)
            taps = inputs[model.tap_columns[g]]
            if not model.gathered[g]:
                taps[...] = _blend(level, rows, columns)
                continue
            _gather(level, rows, columns, taps)
            basis = model.basis(rows.weight)[:, None, :, None] * model.basis(columns.weight)[None, :, None]
            products = inputs[model.product_columns[g]].reshape(model.n_products, *taps.shape)
            for function, product in zip(basis.reshape(-1, height, width)[1:], products):
                np.multiply(taps, function, out=product)
        return inputs


def _gather(level: np.ndarray, rows: Taps, columns: Taps, out: np.ndarray) -> None:
    """Write the four taps of a level `[F, r, r]` at `h` rows and `w` columns of texels into `[4F, h, w]`."""
    features = len(level)
    for vertical, lines in enumerate((rows.first, rows.second)):
        lines = level[:, lines]
        for horizontal, taps in enumerate((columns.first, columns.second)):
            start = (2 * vertical + horizontal) * features
            # Indices are in range; "clip" spares take a buffer.
            lines.take(taps, axis=2, out=out[start:start + features], mode="clip")


class _Place(NamedTuple):
    """A place that texels have in their cells: every texel of the mip whose row is y modulo the cell's height, and so on."""

    y: int
    x: int
    layer: Layer
    """The first layer for this place."""


def _plan_places(model: MipModel) -> _Places | None:
    """Return the plan by places, or `None` where cells are no whole number of texels or there would be too many places."""
    sides = [level.shape[1] for level, gathered in zip(model.levels, model.gathered) if gathered]
    if not sides or any(model.width % side or model.height % side for side in sides):
        return None
    cell_width = math.lcm(*(model.width // side for side in sides))
    cell_height = math.lcm(*(model.height // side for side in sides))
    if cell_width * cell_height > MOST_PLACES:
        return None
    return _Places(model, cell_width, cell_height)


class _Places(_Axes):
    """The way by places: the texels of one place in their cells go through the network together."""

    def __init__(self, model: MipModel, cell_width: int, cell_height: int) -> None:
        super().__init__(model)
        self.cell_width, self.cell_height = cell_width, cell_height
        repeats_u, repeats_v = (self._repeats(encoded, size) for encoded, size in
                                ((self.encoded_u, cell_width), (self.encoded_v, cell_height)))
        n = model.n_encoding
        self.varying = [] if repeats_u else [slice(0, n)]
        """First-layer columns of inputs that differ among texels of one place, taps left out; grids' come last."""
        if not repeats_v:
            self.varying.append(slice(n, 2 * n))
        self.blended = [g for g, gathered in enumerate(model.gathered) if not gathered]
        self.gathered = [g for g, gathered in enumerate(model.gathered) if gathered]
        self.varying += [model.tap_columns[g] for g in self.blended]
        self.repeats = repeats_u, repeats_v
        self.runs = [(rows, columns, [self._place(y, x) for y in rows for x in columns])
                     for rows in self._equal_taps(cell_height, self.rows)
                     for columns in self._equal_taps(cell_width, self.columns)]
        """Rows and columns of places whose texels read the same taps of all gathered grids, and these places."""

    @staticmethod
    def _repeats(encoded: np.ndarray, period: int) -> bool:
        return encoded.size == 0 or bool((encoded.reshape(len(encoded), -1, period) == encoded[:, None, :period]).all())

    def _equal_taps(self, cell: int, taps: list[Taps]) -> list[list[int]]:
        """Split the places along an axis into lists whose texels read the same taps of all gathered grids."""
        lists: dict[tuple[int, ...], list[int]] = {}
        for place in range(cell):
            key = tuple(int(index[place]) for g in self.gathered for index in taps[g][:2])
            lists.setdefault(key, []).append(place)
        return list(lists.values())

    def _place(self, y: int, x: int) -> _Place:
        """Sum the first layer's weights for a place; the last column takes the inputs that are the same everywhere."""
        model = self.model
        weights, bias, activation = model.layers[0]
        parts = []
        constant = weights[:, model.lod_column] * np.float32(model.lod) + weights[:, model.padding_columns].sum(1)
        if bias is not None:
            constant = constant + bias
        n = model.n_encoding
        for repeats, encoded, columns in ((self.repeats[0], self.encoded_u[:, x], slice(0, n)),
                                          (self.repeats[1], self.encoded_v[:, y], slice(n, 2 * n))):
            if repeats:
                constant = constant + weights[:, columns] @ encoded
        for g in self.gathered:
            own, products = weights[:, model.tap_columns[g]], weights[:, model.product_columns[g]]
            basis = model.basis(self.rows[g].weight[y:y + 1]) * model.basis(self.columns[g].weight[x:x + 1])[:, 0]
            parts.append(own + np.einsum("rkt,k->rt", products.reshape(len(weights), model.n_products, own.shape[1]),
                                         basis.reshape(-1)[1:]))
        parts += [weights[:, columns] for columns in self.varying] + [constant[:, None]]
        return _Place(y, x, Layer(np.ascontiguousarray(np.concatenate(parts, axis=1)), None, activation))

    def blocks(self) -> Iterator[slice]:
        rows = self.cell_height * max(1, PLACE_TEXELS // (self.model.width // self.cell_width))
        for first in range(0, self.model.height, rows):
            yield slice(first, min(first + rows, self.model.height))

    def decode(self, block: slice, store: Store, workspace: Workspace) -> None:
        model, n = self.model, self.model.n_encoding
        blended = [_blend(model.levels[g], _part(self.rows[g], block), self.columns[g]) for g in self.blended]
        count = (block.stop - block.start) // self.cell_height, model.width // self.cell_width
        inputs = workspace.array("inputs", self.runs[0][2][0].layer.weights.shape[1], *count)
        inputs[-1] = 1
        for rows, columns, places in self.runs:
            start = 0
            for g in self.gathered:
                end = start + 4 * len(model.levels[g])
                _gather(model.levels[g], _part(self.rows[g], slice(block.start + rows[0], block.stop, self.cell_height)),
                        _part(self.columns[g], slice(columns[0], None, self.cell_width)), inputs[start:end])
                start = end
            for y, x, layer in places:
                at = start
                line, column = slice(block.start + y, block.stop, self.cell_height), slice(x, None, self.cell_width)
                if not self.repeats[0]:
                    inputs[at:at + n] = self.encoded_u[:, None, column]
                    at += n
                if not self.repeats[1]:
                    inputs[at:at + n] = self.encoded_v[:, line, None]
                    at += n
                for features in blended:
                    inputs[at:at + len(features)] = features[:, y::self.cell_height, column]
                    at += len(features)
                outputs = run_layers([layer, *model.layers[1:]], inputs.reshape(len(inputs), -1), workspace)
                store(outputs.reshape(-1, *count), line, column)
