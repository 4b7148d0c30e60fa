"""The reference backend: the training pass in plain PyTorch, on the CPU, CUDA or Apple's GPU."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from model.grids.feature_grids import QuantizationNoise, TouchedTexels
from model.grids.lookup import TileLookup, TilePlanner
from model.texture import NeuralTexture


class TorchBackend:
    """Runs a neural texture's forward pass for training; its parameters, and every evaluation, are the texture's own."""

    name = "torch"
    captures = True
    """Whether a step can be captured as a CUDA graph."""

    def __init__(self, texture: NeuralTexture, precision: str) -> None:
        """`precision` (float32 or bfloat16): in which the decoder's layers work."""
        self.texture = texture
        self.dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32

    @property
    def planner(self) -> TilePlanner:
        """Works out the look-ups that this backend takes."""
        return self.texture.planner

    @property
    def arithmetic(self) -> str:
        """In which precision the decoder is trained."""
        return str(self.dtype).removeprefix("torch.")

    def forward(
        self, lookups: list[TileLookup], quantize: bool, noise: QuantizationNoise | None = None
    ) -> tuple[torch.Tensor, list[TouchedTexels]]:
        """Return what `NeuralTexture.forward` does: channels [N, C], and what holds the grids' gradients afterwards."""
        return self.texture(lookups, quantize, noise, self.dtype)

    def judge(self, gradients: Iterable[torch.Tensor]) -> torch.Tensor | None:
        """Return whether a step may be made with these gradients, a 0-dim bool on the device; None: always."""
        return None

    def release(self) -> None:
        """Give memory back that only training steps need; there is none here."""

    def state(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return what a resumed training needs beside parameters and optimisers, by name; nothing here."""
        return {}

    def load_state(self, state: dict[str, dict[str, torch.Tensor]]) -> None:
        """Restore what `state` of either backend gave, as far as there is any."""
