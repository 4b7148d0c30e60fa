"""What a decoder reads at a coordinate: taps of a grid level and their weights, and the positional encoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from configs import N_CHANNELS
from formats.linear import LinearDecoder, legendre
from formats.network import Layer, Workspace, run_layers


class Taps(NamedTuple):
    """The two taps along one axis for N coordinates."""

    first: np.ndarray
    """Indices of the left (upper) tap, int64 `[N]`, wrapped or clamped."""
    second: np.ndarray
    """Indices of the right (lower) tap."""
    weight: np.ndarray
    """The second tap's weight, which is the offset in the cell, 0 to 1: float32 `[N]`."""


@dataclass(frozen=True)
class MipModel:
    """All that decoding one mip needs."""

    width: int
    height: int
    lod: float
    """The network's lod input."""
    wrap: bool
    levels: list[np.ndarray]
    """Of each grid the level that the mip reads: float32 `[F, r, r]`."""
    gathered: list[bool]
    """Whether a grid's four taps are handed to the network; else they are blended."""
    n_frequencies: int
    phases: int
    period: tuple[int, int] | None
    """(r, k): the encoding repeats within k cells of a level of resolution r; None: once over the texture."""
    position_order: int
    layers: list[Layer]
    linear: LinearDecoder | None = None

    @property
    def n_encoding(self) -> int:
        """Network inputs of one axis's positional encoding."""
        return self.n_frequencies * self.phases

    @property
    def tap_columns(self) -> list[slice]:
        """First-layer columns of each grid's features or taps."""
        columns, start = [], 2 * self.n_encoding
        for level, gathered in zip(self.levels, self.gathered):
            columns.append(slice(start, start + len(level) * (4 if gathered else 1)))
            start = columns[-1].stop
        return columns

    @property
    def lod_column(self) -> int:
        """First-layer column of the lod; after it come the taps' products with functions of the offset in the cell."""
        return self.tap_columns[-1].stop

    @property
    def n_products(self) -> int:
        """Products with functions of the offset in the cell that each gathered tap has."""
        return (self.position_order + 1) ** 2 - 1

    @property
    def product_columns(self) -> list[slice]:
        """First-layer columns of each gathered grid's products (none: an empty range), function by function."""
        columns, start = [], self.lod_column + 1
        for taps, gathered in zip(self.tap_columns, self.gathered):
            count = self.n_products * (taps.stop - taps.start) if gathered else 0
            columns.append(slice(start, start + count))
            start += count
        return columns

    @property
    def padding_columns(self) -> slice:
        """First-layer columns whose input is one."""
        return slice(self.linear_columns.stop, self.layers[0].weights.shape[1])

    @property
    def linear_columns(self) -> slice:
        """First-layer columns of what the linear decoder gives for each channel; empty without one."""
        start = self.product_columns[-1].stop
        return slice(start, start + (N_CHANNELS if self.linear else 0))

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Return the positional encoding `[n_encoding, N]` of coordinates (float64) along one axis, float32."""
        if self.period:
            resolution, cells = self.period
            x = 2 * x * resolution / cells
        octaves, phases = np.arange(self.n_frequencies), np.arange(self.phases)
        phase = (octaves[:, None] / 4 + phases / 4)[..., None]
        t = np.exp2(octaves - 1.0)[:, None, None] * x + phase
        return (4 * np.abs(t - np.floor(t) - 0.5) - 1).reshape(self.n_encoding, len(x)).astype(np.float32)

    def basis(self, weight: np.ndarray) -> np.ndarray:
        """Return Legendre polynomials 0 .. position_order at offsets `[N]` in a cell: float32 `[order + 1, N]`."""
        return legendre(weight, self.position_order)

    def run(self, inputs: np.ndarray, linear: np.ndarray, workspace: Workspace) -> np.ndarray:
        """Return outputs `[11, N]` for the first layer's inputs `[cols, N]`, in which the linear decoder's are still open.

        `linear`, `[O, N]`: what it gives; no rows without one. Valid until the workspace is used again.
        """
        if self.linear is None:
            return run_layers(self.layers, inputs, workspace)
        columns = inputs[self.linear_columns]
        columns[...] = 0
        columns[self.linear.outputs] = linear
        outputs = run_layers(self.layers, inputs, workspace)
        outputs[self.linear.outputs] += linear
        return outputs

    def lattice_taps(self, size: int, resolution: int) -> Taps:
        """Return the taps of the `size` texel centres along one axis, in exact integer arithmetic."""
        first, rest = np.divmod((2 * np.arange(size, dtype=np.int64) + 1) * resolution - size, 2 * size)
        return self._addressed(first, rest / (2 * size), resolution)

    def point_taps(self, x: np.ndarray, resolution: int) -> Taps:
        """Return the taps of coordinates `[N]` (float64) along one axis."""
        position = x * resolution - 0.5
        # Gathered taps jump where a position is a whole number; what is one but for rounding counts as one.
        first = np.floor(position + 2.0**-30)
        return self._addressed(first.astype(np.int64), np.maximum(position - first, 0), resolution)

    def _addressed(self, first: np.ndarray, weight: np.ndarray, resolution: int) -> Taps:
        """Wrap or clamp a tap and its neighbour."""
        weight = weight.astype(np.float32)
        if self.wrap:
            return Taps(first % resolution, (first + 1) % resolution, weight)
        return Taps(first.clip(0, resolution - 1), (first + 1).clip(0, resolution - 1), weight)
