"""Sizes that follow from a configuration and a texture's size: the grids' features and the decoder's layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from configs import N_CHANNELS, ModelConfig
from images.mips import mip_count
from model.grids.layout import FeatureLayout, GridLayout, grid_layout
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
class LayerLayout:
    """One matrix of the decoder, row-major `[rows, cols]` at `offset` of the flat weights."""

    rows: int
    cols: int
    offset: int
    bias_offset: int | None
    activation: str


@dataclass(frozen=True)
class ModelLayout(FeatureLayout):
    """Everything that a configuration and a texture size fix."""

    n_neurons: int
    n_hidden_layers: int
    layers: tuple[LayerLayout, ...]
    diffuse_space: str
    network_precision: str

    @property
    def n_weights(self) -> int:
        """Length of the flat network array, biases included."""
        return max(
            max(
                layer.offset + layer.rows * layer.cols,
                layer.bias_offset + layer.rows if layer.bias_offset is not None else 0,
            )
            for layer in self.layers
        )

    @property
    def macs_per_texel(self) -> int:
        """Multiply-adds of the decoder for one texel, padding included."""
        return sum(layer.rows * layer.cols for layer in self.layers)


def network_precision(name: str, grids: tuple[GridLayout, ...], n_weights: int) -> str:
    """Return how the decoder is stored; `auto` is float16, but int8 where that would cost over an eighth of the grids."""
    if name != "auto":
        return name
    grid_bits = sum(grid.max_resolution**2 * grid.n_features * grid.quantize_bits for grid in grids)
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
        "wrap": config.wrap,
    }
    widths = [
        pad16(FeatureLayout(**features).n_inputs),
        *[config.n_neurons] * config.n_hidden_layers,
        pad16(N_CHANNELS),
    ]
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
    return ModelLayout(
        **features,
        n_neurons=config.n_neurons,
        n_hidden_layers=config.n_hidden_layers,
        layers=tuple(layers),
        diffuse_space=config.diffuse_space,
        network_precision=network_precision(config.network_precision, grids, end),
    )
