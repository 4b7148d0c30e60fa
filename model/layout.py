"""Sizes that follow from a configuration and a texture's size: the grids' features and the decoder's layers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from configs import N_CHANNELS, ModelConfig
from images.mips import mip_count
from model.grids.layout import FeatureLayout, GridLayout, grid_layout
from utils.errors import UsageError

LARGE_DECODER = 1 / 12
"""A decoder that takes more than this share of the finest grids' bits is worth rounding to 8 bits a weight."""


FINE_BITS = 6
"""A gathered feature of so many bits is worth a linear decoder in float16: rounding its weights to 8 bits would cost more
than the feature's own rounding.
"""
CURVE_NUMBERS = 4
"""Numbers of a feature's curve: c0 + c1 t + c2 t^2 + c3 t^3."""


def pad16(n: int) -> int:
    """Round up to a multiple of 16.

    >>> pad16(11), pad16(16), pad16(17)
    (16, 16, 32)
    """
    return -(-n // 16) * 16


@dataclass(frozen=True)
class LayerLayout:
    """One matrix of the decoder, row-major `[rows, cols]` at `offset` of the flat weights."""

    rows: int
    cols: int
    offset: int
    bias_offset: int | None
    activation: str


@dataclass(frozen=True)
class LinearLayout:
    """The linear decoder's matrix, row-major `[11, cols]` at `offset` of the flat weights."""

    order: int
    cols: int
    offset: int
    precision: str
    """How it is stored: as the network, or in float16 beside int8 layers."""


@dataclass(frozen=True)
class ModelLayout(FeatureLayout):
    """Everything that a configuration and a texture size fix."""

    n_neurons: int
    n_hidden_layers: int
    layers: tuple[LayerLayout, ...]
    linear: LinearLayout | None
    curve_offsets: tuple[int, ...] | None
    """Where each grid's curves begin in the flat weights, [F, 4] row-major."""
    n_weights: int
    """Length of the flat weights: matrices of the layers, biases, the linear decoder's matrix, curves."""
    diffuse_space: str
    network_precision: str

    @property
    def macs_per_texel(self) -> int:
        """Multiply-adds of the decoder for one texel, padding included."""
        linear = self.linear.cols * N_CHANNELS if self.linear else 0
        return sum(layer.rows * layer.cols for layer in self.layers) + linear

    @property
    def macs_as_run(self) -> int:
        """Multiply-adds for one texel once all that its place in a cell decides is worked out beforehand: products of taps
        with functions of the place, the encoding where it repeats in every cell, and the linear decoder's part in the
        first layer.
        """
        first, *others = self.layers
        taps = sum(self.grids[grid].n_inputs for grid in range(len(self.grids)))
        encoding = 0 if self.period_cells == 1 else self.n_encoding
        linear = N_CHANNELS if self.linear else 0
        return (first.rows + linear) * taps + first.rows * encoding + sum(layer.rows * layer.cols for layer in others)


def network_precision(name: str, grids: tuple[GridLayout, ...], n_weights: int) -> str:
    """Return how the decoder is stored; `auto` is float16, but int8 where that would cost over a twelfth of the grids."""
    if name != "auto":
        return name
    grid_bits = sum(grid.max_resolution**2 * sum(grid.bits) for grid in grids)
    return "int8" if 16 * n_weights > LARGE_DECODER * grid_bits else "float16"


def model_layout(config: ModelConfig, width: int, height: int) -> ModelLayout:
    """Lay out a model for a `width x height` texture; raises `UsageError` where the settings do not fit."""
    grids = tuple(grid_layout(grid, width, height) for grid in config.hash_grid_configs)
    if config.period_cells and grids[0].base_resolution % config.period_cells:
        raise UsageError(
            f"period_cells {config.period_cells} does not divide grid 0's base resolution "
            f"{grids[0].base_resolution}; choose a divisor, or none"
        )
    features: dict[str, Any] = {
        "width": width,
        "height": height,
        "mips": mip_count(width, height),
        "grids": grids,
        "n_frequencies": config.n_frequencies,
        "period_cells": config.period_cells or 0,
        "phases": config.phases,
        "position_order": config.position_order,
        "linear_order": config.linear_order,
        "feature_curves": config.feature_curves,
        "wrap": config.wrap,
    }
    shapes = FeatureLayout(**features)
    widths = [pad16(shapes.n_inputs), *[config.n_neurons] * config.n_hidden_layers, pad16(N_CHANNELS)]
    offsets, end = [], 0
    for cols, rows in zip(widths, widths[1:]):
        offsets.append(end)
        end += rows * cols
    layers = []
    for index, (cols, rows) in enumerate(zip(widths, widths[1:])):
        last = index == len(widths) - 2
        layers.append(
            LayerLayout(
                rows,
                cols,
                offsets[index],
                end if config.use_bias else None,
                config.output_activation if last else config.activation,
            )
        )
        if config.use_bias:
            end += rows
    linear = None
    if config.linear_order is not None:
        cols = shapes.linear_columns[-1].stop
        linear_offset, end = end, end + N_CHANNELS * cols
    curves = None
    if config.feature_curves:
        starts = accumulate([end, *(CURVE_NUMBERS * grid.n_features for grid in grids)])
        *curves, end = starts
    precision = network_precision(config.network_precision, grids, end)
    if config.linear_order is not None:
        fine = max((grid.quantize_bits for grid in grids if grid.gathered), default=0) >= FINE_BITS
        linear = LinearLayout(
            config.linear_order, cols, linear_offset, "float16" if fine and precision == "int8" else precision
        )
    return ModelLayout(
        **features,
        linear=linear,
        curve_offsets=None if curves is None else tuple(curves),
        n_weights=end,
        n_neurons=config.n_neurons,
        n_hidden_layers=config.n_hidden_layers,
        layers=tuple(layers),
        diffuse_space=config.diffuse_space,
        network_precision=precision,
    )
