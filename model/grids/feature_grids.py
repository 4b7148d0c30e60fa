"""The feature grids: texels of tiles in, features of these texels out, for any decoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torchtyping import TensorType

from model.grids.cells import CellsToTexels
from model.grids.layout import FeatureLayout, GridLayout
from model.grids.lookup import BilinearLookup, TileLookup
from quantize import Bits, clamp_range, quantize_ste

START_SPREAD = 0.02
"""Range of random starting features, as a share of the clamp range."""


class TouchedTexels(NamedTuple):
    """Grid texels that a batch has read: a leaf of the graph, so that a gradient is as large as what was read."""

    grid: int
    rows: torch.Tensor
    """Rows of the grid's table, int64 [K]; a row any number of times."""
    texels: torch.Tensor
    """Their values [K, F]; `.grad` after the backward pass."""


@dataclass
class CellFeatures:
    """A gathered grid's taps, which all texels of a cell share."""

    grid: int
    taps: TensorType["B", "Ky", "Kx", "taps", float]
    """[B, Ky, Kx, 4F], taps in the order (0, 0), (1, 0), (0, 1), (1, 1) of (x, y)."""
    first_texel: int
    """Where the texels of these tiles begin in the batch."""
    shape: tuple[int, int, int]
    """B, Ty, Tx."""
    to_texels: CellsToTexels
    linear: CellsToTexels | tuple[()] = ()
    """How the linear decoder's values are laid over texels; () without one."""


def _keys(ranges: list[slice]) -> list[tuple[int, int]]:
    """Return first and last columns, by which ranges can be put in order."""
    return [(part.start, part.stop) for part in ranges]


@dataclass
class Features:
    """What grids give for the N texels of a batch, float32; texels in the order of the tile groups, row by row.

    Taps of gathered grids stay with their cells, so that a decoder can work out once what a cell's texels share;
    `dense` lays them out for one that does not care.
    """

    layout: FeatureLayout
    texels: TensorType["N", "columns", float]
    """The columns of `layout.texel_columns`, then `layout.n_padding` ones."""
    cells: list[CellFeatures]
    touched: list[TouchedTexels]
    """What the backward pass leaves gradients on; empty where gradients are off."""

    def dense(self) -> TensorType["N", "columns", float]:
        """Return all columns of `layout`, [N, n_inputs]."""
        layout = self.layout
        widths = [*(part.stop - part.start for part in layout.texel_columns), layout.n_padding]
        columns = dict(zip(_keys(layout.texel_columns), self.texels.split(widths, 1)))
        for grid, taps in layout.gathered_columns.items():
            over_texels = torch.cat([self._over_texels(cells) for cells in self.cells if cells.grid == grid])
            columns |= zip(
                _keys([taps, layout.product_columns[grid]]), (over_texels[:, 0], over_texels[:, 1:].flatten(1))
            )
        return torch.cat([columns[place] for place in sorted(columns)], 1)

    def _over_texels(self, cells: CellFeatures) -> torch.Tensor:
        """Return a cell's taps times each function of the place, for every texel: [n, R, 4F]."""
        functions, taps = self.layout.n_basis, cells.taps.shape[3]
        # Function r of a cell feeds block r of its texels alone.
        blocks = torch.eye(functions, device=cells.taps.device)[..., None] * cells.taps[..., None, None, :]
        out = torch.zeros(*cells.shape, functions * taps, device=cells.taps.device)
        cells.to_texels.add(out, blocks.reshape(*cells.taps.shape[:3], -1))
        return out.view(-1, functions, taps)


@dataclass
class QuantizationNoise:
    """Uniform noise before rounding."""

    amplitudes: Sequence[float | torch.Tensor]
    """Of each grid, in feature units; a 0-dim tensor counts as above 0."""
    uniform: dict[tuple[int, int], torch.Tensor]
    """Numbers from 0 to 1 by (look-up, grid), as many as `noise_sizes` says."""


def noise_sizes(
    lookups: list[TileLookup], grids: Sequence[GridLayout], noisy: Sequence[bool]
) -> dict[tuple[int, int], int]:
    """Return how many random numbers the features of each (look-up, grid) take, for the grids that are noisy."""
    return {
        (number, index): math.prod(lookup.grids[index].texels.shape) * grid.n_features
        for number, lookup in enumerate(lookups)
        for index, grid in enumerate(grids)
        if noisy and noisy[index]
    }


def draw_noise(
    lookups: list[TileLookup],
    grids: Sequence[GridLayout],
    amplitudes: Sequence[float] | None,
    generator: torch.Generator | None,
    device: torch.device,
) -> QuantizationNoise | None:
    """Draw the noise of a batch, all at once; `amplitudes` of each grid, None or 0 for none."""
    sizes = noise_sizes(lookups, grids, [amplitude > 0 for amplitude in amplitudes or ()])
    if not sizes or amplitudes is None:
        return None
    numbers = torch.rand(sum(sizes.values()), generator=generator, device=device)
    return QuantizationNoise(amplitudes, dict(zip(sizes, numbers.split(list(sizes.values())))))


Blend = Callable[[int, TileLookup, BilinearLookup, torch.Tensor], torch.Tensor]
"""`(grid, tiles, lookup, texels [B, Ky, Kx, F]) -> [B, Ty, Tx, F]`."""


def blend_taps(grid: int, tiles: TileLookup, lookup: BilinearLookup, texels: torch.Tensor) -> torch.Tensor:
    """Blend grid texels [B, Ky, Kx, F] into texels [B, Ty, Tx, F], one axis after the other."""
    b, ky, kx, f = texels.shape
    lines = torch.bmm(lookup.rows, texels.reshape(b, ky, kx * f)).view(b, -1, kx, f)
    return torch.matmul(lookup.columns[:, None], lines)


class FeatureGrids(nn.Module):
    """Multi-resolution feature grids. Letters as in `model.grids.lookup`; `F` features, `r` texels per side of a level.

    A grid's levels lie one after the other, the coarsest first, in one table [sum of r^2, F] of float32 master values,
    so that tiles of several mips are fetched and stepped at once. The tables themselves take no gradients: a batch
    touches few of their rows, and `Features.touched` has theirs.
    """

    def __init__(self, layout: FeatureLayout, device: torch.device, generator: torch.Generator) -> None:
        """Start from small random features; `generator` is one of the CPU's."""
        super().__init__()
        self.layout = layout
        self._bits = [feature_bits(grid, device) for grid in layout.grids]
        self.sizes = [[grid.resolution(level) ** 2 for level in range(grid.n_levels)] for grid in layout.grids]
        self.tables = nn.ParameterList(
            nn.Parameter(
                torch.cat([self._random(grid, size, generator) for size in sizes]).to(device), requires_grad=False
            )
            for grid, sizes in zip(layout.grids, self.sizes)
        )

    @staticmethod
    def _random(grid: GridLayout, size: int, generator: torch.Generator) -> torch.Tensor:
        low, high = clamp_range(feature_bits(grid, torch.device("cpu")))
        return (torch.rand(size, grid.n_features, generator=generator) - 0.5) * (START_SPREAD * (high - low))

    def bits(self, grid: int) -> Bits:
        """Return the bits of a grid's features: one number where they are alike, else float32 [F] on the device."""
        return self._bits[grid]

    def levels(self, grid: int) -> list[torch.Tensor]:
        """Return views [r, r, F] of a grid's levels, level 0 the coarsest."""
        parts = self.tables[grid].detach().split(self.sizes[grid])
        return [
            part.view(self.layout.grids[grid].resolution(level), -1, part.shape[1]) for level, part in enumerate(parts)
        ]

    def first_row(self, grid: int, level: int) -> int:
        """Return the row of a grid's table at which a level begins."""
        return sum(self.sizes[grid][:level])

    @torch.no_grad()
    def load(self, grids: list[list[torch.Tensor]]) -> None:
        """Set the master values [r, r, F] of every grid's levels."""
        for grid, values in enumerate(grids):
            for level, value in zip(self.levels(grid), values, strict=True):
                level.copy_(value)

    def forward(
        self,
        lookups: list[TileLookup],
        quantize: bool,
        noise: QuantizationNoise | None = None,
        blend: Blend = blend_taps,
        curves: Sequence[torch.Tensor] = (),
    ) -> Features:
        """Return the features of tiles, whose look-ups hold tensors on the grids' device; the host waits for nothing.

        With `quantize` grid texels are rounded to the stored levels before any interpolation, straight through. With
        `curves`, [F, 4] for each grid, a feature t then becomes c0 + c1 t + c2 t^2 + c3 t^3.
        """
        texels, cells, touched, first_texel = [], [], [], 0
        for number, tiles in enumerate(lookups):
            columns = self._encoding(tiles)
            for index, (grid, lookup) in enumerate(zip(self.layout.grids, tiles.grids)):
                values, read = self._read(index, lookup.texels)
                touched += read
                if quantize:
                    uniform = noise.uniform.get((number, index)) if noise else None
                    values = quantize_ste(
                        values,
                        self.bits(index),
                        noise.amplitudes[index] if noise else 0.0,
                        None if uniform is None else uniform.view_as(values),
                    )
                if len(curves):
                    values = along_curve(values, curves[index])
                values = values.view(*lookup.texels.shape, grid.n_features)
                if isinstance(lookup, BilinearLookup):
                    columns.append(blend(index, tiles, lookup, values))
                else:
                    cells.append(
                        CellFeatures(index, four_taps(values), first_texel, tiles.shape, lookup.cells, lookup.linear)
                    )
            columns.append(tiles.constants.expand(*tiles.shape, -1))
            texels.append(torch.cat(columns, -1).view(tiles.n_texels, -1))
            first_texel += tiles.n_texels
        return Features(self.layout, texels[0] if len(texels) == 1 else torch.cat(texels), cells, touched)

    def _read(self, grid: int, index: torch.Tensor) -> tuple[torch.Tensor, list[TouchedTexels]]:
        """Fetch rows of a grid's table, [K, F], and, where gradients are on, what will hold theirs."""
        flat = index.view(-1)
        values = self.tables[grid].index_select(0, flat)
        if not torch.is_grad_enabled():
            return values, []
        values.requires_grad_()
        return values, [TouchedTexels(grid, flat, values)]

    @staticmethod
    def _encoding(tiles: TileLookup) -> list[torch.Tensor]:
        """Return the positional encoding of the columns and of the rows, both as [B, Ty, Tx, P], if there is one."""
        if not tiles.encoding:
            return []
        columns, rows = tiles.encoding
        return [columns[:, None].expand(*tiles.shape, -1), rows[:, :, None].expand(*tiles.shape, -1)]


def feature_bits(grid: GridLayout, device: torch.device) -> Bits:
    """Return the bits of a grid's features as `quantize` takes them: one number where they are alike, else [F]."""
    return torch.tensor(grid.bits, dtype=torch.float32, device=device) if grid.mixed else grid.bits[0]


class _AlongCurve(torch.autograd.Function):
    """c0 + c1 t + c2 t^2 + c3 t^3 of features t [..., F] and curves [F, 4], with nothing kept but t."""

    @staticmethod
    def forward(ctx, t: torch.Tensor, curves: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(t, curves)
        c0, c1, c2, c3 = curves.unbind(1)
        return torch.addcmul(c0, torch.addcmul(c1, torch.addcmul(c2, t, c3), t), t)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        t, curves = ctx.saved_tensors
        _, c1, c2, c3 = curves.unbind(1)
        slope = torch.addcmul(c1, torch.addcmul(2 * c2, t, 3 * c3), t)
        powers, sums = gradient, []
        for power in range(4):
            powers = powers * t if power else powers
            sums.append(powers.flatten(0, -2).sum(0))
        return gradient * slope, torch.stack(sums, 1)


def along_curve(features: TensorType[..., "F", float], curves: TensorType["F", 4, float]) -> torch.Tensor:
    """Return where features lie on their curves, same shape: c0 + c1 t + c2 t^2 + c3 t^3."""
    return _AlongCurve.apply(features, curves)


def four_taps(texels: torch.Tensor) -> torch.Tensor:
    """Return the four taps of every cell between grid texels [B, Ky, Kx, F]: [B, Ky - 1, Kx - 1, 4F]."""
    return torch.cat(
        [texels[:, dy : texels.shape[1] - 1 + dy, dx : texels.shape[2] - 1 + dx] for dy in (0, 1) for dx in (0, 1)], -1
    )
