"""Sizes and columns that follow from a configuration and a texture's size: grid levels and the features they give."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from configs import N_CHANNELS, HashGridConfig
from utils.errors import UsageError

NARROWEST = 16
"""Columns below which a product takes longer the fewer there are."""


@dataclass(frozen=True)
class GridLayout:
    """One feature grid with its resolution decided."""

    max_resolution: int
    base_resolution: int
    n_levels: int
    bits: tuple[int, ...]
    """Of each feature."""
    save_bits: int
    interpolation: str
    learning_rate: float

    @property
    def n_features(self) -> int:
        return len(self.bits)

    @property
    def quantize_bits(self) -> int:
        """Most bits of a feature."""
        return max(self.bits)

    @property
    def mixed(self) -> bool:
        """Whether features differ in bits."""
        return len(set(self.bits)) > 1

    def resolution(self, level: int) -> int:
        """Texels per side of a level; level 0 is the coarsest."""
        return self.base_resolution << level

    def level_of_mip(self, mip: int) -> int:
        """The level that a mip of the texture reads."""
        return max(self.n_levels - 1 - mip, 0)

    def resolution_of_mip(self, mip: int) -> int:
        """Texels per side of the level that a mip reads."""
        return self.resolution(self.level_of_mip(mip))

    @property
    def gathered(self) -> bool:
        """Whether the decoder gets all four taps instead of their blend."""
        return self.interpolation == "gather"

    @property
    def n_inputs(self) -> int:
        """Features this grid gives for a texel: F, or 4F where the taps are gathered."""
        return self.n_features * (4 if self.gathered else 1)


@dataclass(frozen=True)
class FeatureLayout:
    """Grids over a texture, and the columns of the features that they give for a texel.

    Columns in order: positional encoding, grid 0's, grid 1's, ..., lod; then, with a position order, the products of
    each gathered grid's taps with functions of the place in the cell; then, with a linear decoder, what that gives for
    each of the 11 channels.
    """

    width: int
    height: int
    mips: int
    grids: tuple[GridLayout, ...]
    n_frequencies: int
    period_cells: int
    phases: int
    position_order: int
    linear_order: int | None
    feature_curves: bool
    wrap: bool

    @property
    def n_encoding(self) -> int:
        """Columns of the positional encoding."""
        return 2 * self.n_frequencies * self.phases

    @property
    def n_basis(self) -> int:
        """Functions of a texel's place in its cell that gathered taps are multiplied with, the constant one included."""
        return (self.position_order + 1) ** 2

    @property
    def n_products(self) -> int:
        """Columns that are gathered taps times a function of the texel's place in its cell, but the constant one."""
        return (self.n_basis - 1) * sum(grid.n_inputs for grid in self.grids if grid.gathered)

    @property
    def n_linear_inputs(self) -> int:
        """Columns that the linear decoder gives."""
        return 0 if self.linear_order is None else N_CHANNELS

    @property
    def n_inputs(self) -> int:
        """All columns: encoding, grids, lod, products, the linear decoder's."""
        return self.n_encoding + sum(grid.n_inputs for grid in self.grids) + 1 + self.n_products + self.n_linear_inputs

    @property
    def n_linear_basis(self) -> int:
        """Functions of the place in a cell that the linear decoder's weights are made of."""
        return 0 if self.linear_order is None else (self.linear_order + 1) ** 2

    @cached_property
    def linear_columns(self) -> list[slice]:
        """Columns of the linear decoder for each grid: a gathered one's taps by function, or a blended one's features."""
        columns, start = [], 0
        for grid in self.grids:
            end = start + grid.n_inputs * (self.n_linear_basis if grid.gathered else 1)
            columns.append(slice(start, end))
            start = end
        return columns

    @cached_property
    def gathered_columns(self) -> dict[int, slice]:
        """Columns of each gathered grid's taps, by the grid's number."""
        columns, start = {}, self.n_encoding
        for index, grid in enumerate(self.grids):
            if grid.gathered:
                columns[index] = slice(start, start + grid.n_inputs)
            start += grid.n_inputs
        return columns

    @cached_property
    def product_columns(self) -> dict[int, slice]:
        """Columns of each gathered grid's taps times functions of the place, by the grid's number."""
        columns, start = {}, self.n_inputs - self.n_linear_inputs - self.n_products
        for index in self.gathered_columns:
            end = start + (self.n_basis - 1) * self.grids[index].n_inputs
            columns[index], start = slice(start, end), end
        return columns

    @cached_property
    def texel_columns(self) -> list[slice]:
        """Columns that differ from texel to texel within a cell and come from the grids: all but the gathered taps, their
        products and the linear decoder's."""
        ranges, start = [], 0
        for columns in self.gathered_columns.values():
            ranges.append(slice(start, columns.start))
            start = columns.stop
        return [*ranges, slice(start, self.n_inputs - self.n_linear_inputs - self.n_products)]

    @property
    def linear_inputs(self) -> slice:
        """Columns that the linear decoder gives."""
        return slice(self.n_inputs - self.n_linear_inputs, self.n_inputs)

    @property
    def n_padding(self) -> int:
        """Ones after the columns that differ from texel to texel: matrix products of fewer than 16 columns are slow."""
        return max(NARROWEST - sum(part.stop - part.start for part in self.texel_columns) - self.n_linear_inputs, 0)

    def lod(self, mip: int) -> float:
        """The lod column: m / (M - 1), 0 where there is one mip."""
        return mip / (self.mips - 1) if self.mips > 1 else 0.0

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
        raise UsageError(
            f"max_resolution {resolution} cannot be halved {levels - 1} times exactly; "
            f"choose a multiple of {1 << (levels - 1)} or fewer n_levels"
        )
    return GridLayout(
        resolution,
        base,
        levels,
        config.bits,
        sum(config.bits) if config.feature_bits else config.save_bits,
        config.interpolation,
        config.learning_rate,
    )
