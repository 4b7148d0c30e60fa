"""The first layer and the linear decoder as matrices for each tap of each grid, taken out of the stored ones.

With the taps v of the grids, the place (x, y) in the cells, and s what the linear decoder gives,

    s = sum over t: (L_t00 + sum over (j, i): P_j(y) P_i(x) L_tji) v_t
    h = sum over t: (W_t00 + sum over (j, i): P_j(y) P_i(x) W_tji) v_t + E e + S s + bias

e being the positional encoding and the lod. A tap's matrix has the rows of h above those of s, each a multiple of 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from configs import N_CHANNELS
from runtime.weight_words import padded_rows


@dataclass(frozen=True)
class GridColumns:
    """Where a grid's features lie among the columns of the stored matrices."""

    features: int
    taps: int
    own: int
    """First column of the first layer."""
    products: int
    """First column of the first layer of the products with functions of the place."""
    linear: int
    """First column of the linear decoder."""

    @property
    def quads(self) -> int:
        """Features of a tap, four to a quad."""
        return -(-self.features // 4)


@dataclass(frozen=True)
class InputColumns:
    """Where all inputs lie among the columns of the stored matrices."""

    grids: list[GridColumns]
    encoding: np.ndarray
    """Columns of the positional encoding and of the lod."""
    linear_inputs: np.ndarray
    """Columns of what the linear decoder gives, one a canonical channel; none without one."""
    ones: slice
    """Columns whose input is always one."""
    product_count: int
    """Functions of the place that gathered taps are multiplied with, the constant one left out."""
    linear_count: int
    """The same for the linear decoder."""


def input_columns(manifest: dict, n_columns: int) -> InputColumns:
    """Return the columns of the first layer, which has `n_columns` of them, and of the linear decoder."""
    encoding, linear = manifest["positional_encoding"], manifest["network"].get("linear")
    n_encoding = 2 * encoding["n_frequencies"] * encoding["phases"]
    product_count = (manifest.get("position_order", 0) + 1) ** 2 - 1
    linear_count = (linear["order"] + 1) ** 2 - 1 if linear else 0
    taps = [4 if grid["interpolation"] == "gather" else 1 for grid in manifest["grids"]]
    lod = n_encoding + sum(count * grid["n_features"] for count, grid in zip(taps, manifest["grids"]))
    own, products, linear_start, columns = n_encoding, lod + 1, 0, []
    for count, grid in zip(taps, manifest["grids"]):
        columns.append(GridColumns(grid["n_features"], count, own, products, linear_start))
        inputs = count * grid["n_features"]
        own += inputs
        products += inputs * product_count if count == 4 else 0
        linear_start += inputs * (linear_count + 1 if count == 4 else 1)
    end = products + (N_CHANNELS if linear else 0)
    return InputColumns(
        columns,
        np.append(np.arange(n_encoding), lod),
        np.arange(products, end),
        slice(end, n_columns),
        product_count,
        linear_count,
    )


@dataclass(frozen=True)
class FirstLayer:
    """The stored matrices with their rows padded, and their parts."""

    columns: InputColumns
    hidden: np.ndarray
    """Rows of the first layer `[H, columns]`, float64 or codes."""
    linear: np.ndarray
    """Rows of the linear decoder `[S, columns]`, one for each output of the last layer; S is 0 without one."""
    channels: np.ndarray
    """The canonical channel of each output of the last layer."""

    def taps(self, grid: int) -> np.ndarray:
        """Return a grid's matrices of taps, the functions of the place left out: `[taps, H + S, F]`."""
        entry = self.columns.grids[grid]
        hidden = _split(self.hidden, entry.own, 1, entry)[0]
        linear = _split(self.linear, entry.linear, 1, entry)[0]
        return np.concatenate([hidden, linear], axis=1)

    def products(self, grid: int) -> np.ndarray:
        """Return the first layer's matrices for the products with functions of the place: `[functions, taps, H, F]`."""
        entry = self.columns.grids[grid]
        return _split(self.hidden, entry.products, self.columns.product_count if entry.taps == 4 else 0, entry)

    def linear_products(self, grid: int) -> np.ndarray:
        """Return the same of the linear decoder: `[functions, taps, S, F]`."""
        entry = self.columns.grids[grid]
        start = entry.linear + entry.taps * entry.features
        return _split(self.linear, start, self.columns.linear_count if entry.taps == 4 else 0, entry)

    def encoding(self) -> np.ndarray:
        """Return the matrix of encoding and lod: `[H, inputs]`."""
        return self.hidden[:, self.columns.encoding]

    def linear_inputs(self) -> np.ndarray:
        """Return the matrix of what the linear decoder gives, its rows as inputs: `[H, S]`."""
        matrix = np.zeros((len(self.hidden), len(self.linear)), self.hidden.dtype)
        if len(self.linear):
            matrix[:, : len(self.channels)] = self.hidden[:, self.columns.linear_inputs[self.channels]]
        return matrix

    def at_place(self, grid: int, products: np.ndarray, linear_products: np.ndarray) -> np.ndarray:
        """Return a grid's matrices of taps at a place in its cell: `[taps, H + S, F]`.

        `products`, `linear_products`: the values there of the functions that `products` and `linear_products` have.
        What the linear decoder gives is worked into the rows of the first layer.
        """
        taps, height = self.taps(grid).astype(np.float64), len(self.hidden)
        hidden, linear = taps[:, :height], taps[:, height:]
        if self.columns.grids[grid].taps == 4:
            hidden += np.einsum("k,kthf->thf", products, self.products(grid))
            linear += np.einsum("k,ktsf->tsf", linear_products, self.linear_products(grid))
        hidden += self.linear_inputs() @ linear
        return taps


def first_layer(
    columns: InputColumns, hidden: np.ndarray, linear: np.ndarray | None, outputs: list[int], channels: np.ndarray
) -> FirstLayer:
    """Return the stored matrices taken apart; `linear`: the linear decoder's rows, for the canonical `outputs`."""
    rows = np.zeros((0, 0), hidden.dtype)
    if linear is not None:
        rows = np.zeros((len(channels), linear.shape[1]), hidden.dtype)
        for row, channel in zip(linear, outputs):
            rows[channels == channel] = row
    return FirstLayer(columns, padded_rows(hidden), padded_rows(rows), channels)


def _split(matrix: np.ndarray, first: int, functions: int, entry: GridColumns) -> np.ndarray:
    """Return a grid's columns from `first` on as `[functions, taps, rows, F]`."""
    if not len(matrix):
        return np.zeros((functions, entry.taps, 0, entry.features), matrix.dtype)
    part = matrix[:, first : first + functions * entry.taps * entry.features]
    return part.reshape(len(matrix), functions, entry.taps, entry.features).transpose(1, 2, 0, 3)
