"""Sizes and positions that follow from a configuration: grid levels, network inputs, weight offsets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from configs import N_CHANNELS, HashGridConfig, ModelConfig
from images.mips import mip_count
from utils.errors import UsageError

LARGE_DECODER = 1 / 8
"""A decoder that takes more than this share of the finest grids' bits is worth rounding to 8 bits a weight."""


def pad16(n: int) -> int:
    """Round up to a multiple of 16.

    >>> pad16(11), pad16(16), pad16(17)
    (16, 16, 32)
    """
    return -(-n // 16) * 16


@dataclass(frozen=True)
class GridLayout:
    """One feature grid with its resolution decided."""

    max_resolution: int
    base_resolution: int
    n_levels: int
    n_features: int
    quantize_bits: int
    save_bits: int
    interpolation: str
    learning_rate: float

    def resolution(self, level: int) -> int:
        """Texels per side of a level; level 0 is the coarsest."""
        return self.base_resolution << level

    def level_of_mip(self, mip: int) -> int:
        return max(self.n_levels - 1 - mip, 0)

    @property
    def n_inputs(self) -> int:
        """Network inputs this grid gives: F, or 4F where the taps are gathered."""
        return self.n_features * (4 if self.interpolation == "gather" else 1)


@dataclass(frozen=True)
class LayerLayout:
    """One matrix of the decoder, row-major `[rows, cols]` at `offset` of the flat weights."""

    rows: int
    cols: int
    offset: int
    bias_offset: int | None
    activation: str


@dataclass(frozen=True)
class ModelLayout:
    """Everything that a configuration and a texture size fix."""

    width: int
    height: int
    mips: int
    grids: tuple[GridLayout, ...]
    n_frequencies: int
    period_cells: int
    phases: int
    position_order: int
    n_neurons: int
    n_hidden_layers: int
    layers: tuple[LayerLayout, ...]
    wrap: bool
    diffuse_space: str
    network_precision: str

    @property
    def n_encoding(self) -> int:
        """Inputs of the positional encoding."""
        return 2 * self.n_frequencies * self.phases

    @property
    def n_basis(self) -> int:
        """Functions of a texel's place in its cell that gathered taps are multiplied with, the constant one included."""
        return (self.position_order + 1) ** 2

    @property
    def n_products(self) -> int:
        """Inputs that are gathered taps times a function of the texel's place in its cell, the constant one left out."""
        return (self.n_basis - 1) * sum(grid.n_inputs for grid in self.grids if grid.interpolation == "gather")

    @property
    def n_inputs(self) -> int:
        """Network inputs before padding: encoding, grids, lod, products."""
        return self.n_encoding + sum(grid.n_inputs for grid in self.grids) + 1 + self.n_products

    @cached_property
    def gathered_columns(self) -> dict[int, slice]:
        """First-layer columns of each gathered grid's taps, by the grid's number."""
        columns, start = {}, self.n_encoding
        for index, grid in enumerate(self.grids):
            if grid.interpolation == "gather":
                columns[index] = slice(start, start + grid.n_inputs)
            start += grid.n_inputs
        return columns

    @cached_property
    def product_columns(self) -> dict[int, slice]:
        """First-layer columns of each gathered grid's taps times functions of the place, by the grid's number."""
        columns, start = {}, self.n_inputs - self.n_products
        for index in self.gathered_columns:
            end = start + (self.n_basis - 1) * self.grids[index].n_inputs
            columns[index], start = slice(start, end), end
        return columns

    @cached_property
    def texel_columns(self) -> list[slice]:
        """First-layer columns that differ from texel to texel within a cell: all others but the padding's."""
        ranges, start = [], 0
        for columns in self.gathered_columns.values():
            ranges.append(slice(start, columns.start))
            start = columns.stop
        return [*ranges, slice(start, self.n_inputs - self.n_products)]

    @property
    def n_weights(self) -> int:
        """Length of the flat network array, biases included."""
        return max(max(layer.offset + layer.rows * layer.cols,
                       layer.bias_offset + layer.rows if layer.bias_offset is not None else 0)
                   for layer in self.layers)

    @property
    def macs_per_texel(self) -> int:
        """Multiply-adds of the decoder for one texel, padding included."""
        return sum(layer.rows * layer.cols for layer in self.layers)

    @property
    def bytes_per_texel(self) -> float:
        """Bytes of grid texels that one decoded texel touches: four taps of every grid, at the latents' own rate."""
        return sum(4 * grid.n_features * grid.quantize_bits / 8 for grid in self.grids)

    def mip_levels(self) -> list[list[int]]:
        """Per mip, the level that each grid is read at."""
        return [[grid.level_of_mip(mip) for grid in self.grids] for mip in range(self.mips)]


def grid_layout(config: HashGridConfig, width: int, height: int) -> GridLayout:
    """Decide a grid's resolution and levels; raises `UsageError` where they cannot be."""
    resolution = config.max_resolution
    if resolution is None:
        side = math.sqrt(width * height) / config.texels_per_cell
        resolution = max(1, 1 << max(0, round(math.log2(max(side, 1)))))
    levels = config.n_levels
    if levels is None:
        levels = 1
        while resolution % (1 << levels) == 0 and resolution >> levels >= 4:
            levels += 1
    base = resolution >> (levels - 1)
    if base < 1 or base << (levels - 1) != resolution:
        raise UsageError(f"max_resolution {resolution} cannot be halved {levels - 1} times exactly; "
                         f"choose a multiple of {1 << (levels - 1)} or fewer n_levels")
    return GridLayout(resolution, base, levels, config.n_features, config.quantize_bits, config.save_bits,
                      config.interpolation, config.learning_rate)


def network_precision(name: str, grids: tuple[GridLayout, ...], n_weights: int) -> str:
    """Return how the decoder is stored; `auto` is float16, but int8 where that would cost over an eighth of the grids."""
    if name != "auto":
        return name
    grid_bits = sum(grid.max_resolution ** 2 * grid.n_features * grid.quantize_bits for grid in grids)
    return "int8" if 16 * n_weights > LARGE_DECODER * grid_bits else "float16"


def model_layout(config: ModelConfig, width: int, height: int) -> ModelLayout:
    """Lay out a model for a `width x height` texture; raises `UsageError` where the settings do not fit."""
    grids = tuple(grid_layout(grid, width, height) for grid in config.hash_grid_configs)
    if config.period_cells and grids[0].base_resolution % config.period_cells:
        raise UsageError(f"period_cells {config.period_cells} does not divide grid 0's base resolution "
                         f"{grids[0].base_resolution}; choose a divisor, or none")
    gathered = sum(grid.n_inputs for grid in grids if grid.interpolation == "gather")
    inputs = pad16(2 * config.n_frequencies * config.phases + sum(grid.n_inputs for grid in grids) + 1
                   + ((config.position_order + 1) ** 2 - 1) * gathered)
    outputs = pad16(N_CHANNELS)
    widths = [inputs] + [config.n_neurons] * config.n_hidden_layers + [outputs]
    offsets, end = [], 0
    for cols, rows in zip(widths, widths[1:]):
        offsets.append(end)
        end += rows * cols
    layers = []
    for index, (cols, rows) in enumerate(zip(widths, widths[1:])):
        last = index == len(widths) - 2
        layers.append(LayerLayout(rows, cols, offsets[index], end if config.use_bias else None,
                                  config.output_activation if last else config.activation))
        if config.use_bias:
            end += rows
    return ModelLayout(width, height, mip_count(width, height), grids, config.n_frequencies, config.period_cells or 0,
                       config.phases, config.position_order, config.n_neurons, config.n_hidden_layers, tuple(layers), config.wrap,
                       config.diffuse_space, network_precision(config.network_precision, grids, end))
