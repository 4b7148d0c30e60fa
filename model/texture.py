"""The neural texture: feature grids and the decoder that reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torchtyping import TensorType

from images.mips import mip_size
from model.decoder.decoder import Decoder
from model.grids.feature_grids import FeatureGrids, QuantizationNoise, TouchedTexels
from model.grids.lookup import TileLookup, TilePlanner, lookups_to_device
from model.grids.tiles import TileGroup, full_cover
from model.layout import ModelLayout
from model.precision import full_float32


class NeuralTexture(nn.Module):
    """The function from tiles to channels, as PyTorch computes it: the reference that every backend agrees with."""

    def __init__(
        self, layout: ModelLayout, channels: Sequence[int], device: torch.device, generator: torch.Generator
    ) -> None:
        """`channels`: canonical numbers of those that are present; `generator` is one of the CPU's, so that the same seed
        starts from the same numbers on every device.
        """
        super().__init__()
        self.layout, self.channels, self.device = layout, list(channels), device
        self.grids = FeatureGrids(layout, device, generator)
        self.decoder = Decoder(layout, channels, device, generator)
        self.planner = TilePlanner(layout)

    def forward(
        self,
        lookups: list[TileLookup],
        quantize: bool,
        noise: QuantizationNoise | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> tuple[torch.Tensor, list[TouchedTexels]]:
        """Return the present channels [N, C] of looked-up tiles, float32, not clamped, and what holds the grids' gradients.

        `dtype`: in which the decoder's layers work.
        """
        features = self.grids(lookups, quantize, noise, curves=self.decoder.stored_curves())
        return self.decoder(features, dtype), features.touched

    @torch.no_grad()
    def predict(self, groups: list[TileGroup], quantize: bool = True) -> TensorType["N", "C", float]:
        """Decode the texels of tile groups in full float32: [N, C] over the present channels, not clamped."""
        with full_float32():
            values, _ = self(lookups_to_device(self.planner.look_up(groups), self.device), quantize)
        return values

    @torch.no_grad()
    def decode(
        self,
        mip: int,
        quantize: bool = True,
        side: int = 128,
        dtype: torch.dtype = torch.float32,
        coding: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> TensorType["H", "W", "C"]:
        """Decode a whole mip in full float32: [H, W, C] over the present channels, not clamped.

        With `coding`, a function of such values that gives `dtype`, coded a few tiles at a time.
        """
        width, height = mip_size(self.layout.width, self.layout.height, mip)
        x0, y0 = full_cover(width, height, side)
        columns, rows = np.arange(min(side, width)), np.arange(min(side, height))
        out = torch.empty(height, width, len(self.channels), dtype=dtype, device=self.device)
        at_once = 4 if self.device.type == "cpu" else 16
        for start in range(0, len(x0), at_once):
            x, y = x0[start : start + at_once], y0[start : start + at_once]
            values = self.predict([TileGroup(mip, x[:, None] + columns, y[:, None] + rows)], quantize)
            coded = (coding(values) if coding else values).view(-1, len(rows), len(columns), out.shape[2])
            for tile, left, top in zip(coded, x, y):
                out[top : top + len(rows), left : left + len(columns)] = tile
        return out
