"""The training loss: weighted squared error in the files' own coding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torchtyping import TensorType

from dataset import get_texture_config


def present_channels(present: dict[str, bool]) -> list[int]:
    """Return the canonical channel numbers of the maps that are present."""
    return [
        channel
        for texture in get_texture_config()
        if present.get(texture.name)
        for channel in range(texture.first, texture.first + texture.count)
    ]


def channel_weights(weights: Mapping[Any, float], present: dict[str, bool]) -> torch.Tensor | None:
    """Return the loss weight of each present channel, float32 [C] of mean 1, or None where all are equal."""
    per_channel = [
        weights.get(texture.name, 1.0)
        for texture in get_texture_config()
        if present.get(texture.name)
        for _ in range(texture.count)
    ]
    values = torch.tensor(per_channel)
    if values.sum() == 0:
        raise ValueError("every present map has loss weight 0")
    return None if (values == values[0]).all() else values / values.mean()


def linear_to_srgb(linear: torch.Tensor) -> torch.Tensor:
    """Code linear light as sRGB (IEC 61966-2-1) with a gradient everywhere: below 0 the line of slope 12.92 goes on."""
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def srgb_to_linear(coded: torch.Tensor) -> torch.Tensor:
    """Return the linear light of sRGB-coded values (IEC 61966-2-1)."""
    return torch.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def to_file_coding(values: TensorType[..., "C"], linear_diffuse: bool) -> TensorType[..., "C"]:
    """Code network outputs [..., C] (diffuse first, if linear) as the files are, with gradients, not clamped."""
    if not linear_diffuse:
        return values
    return torch.cat([linear_to_srgb(values[..., :3]), values[..., 3:]], -1)


def texture_loss(
    values: TensorType["N", "C", float],
    target: TensorType["N", "C"],
    linear_diffuse: bool,
    weights: TensorType["C"] | None,
    texel_weights: TensorType["N", 1] | None = None,
) -> TensorType[()]:
    """Return the mean squared error between outputs [N, C] and target texels [N, C], both in file coding.

    `target`: uint8, or float32 in [0, 1] where maps are deeper.

    `linear_diffuse`: the first three channels are linear light. `weights` [C] weigh the channels, `texel_weights` [N, 1]
    the texels.
    """
    if target.dtype == torch.uint8:
        target = target.float().mul_(1 / 255)
    error = to_file_coding(values, linear_diffuse) - target
    squared = error.square()
    if weights is not None:
        squared = squared * weights
    return (squared if texel_weights is None else squared * texel_weights).mean()
