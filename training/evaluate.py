"""What the trained model gives at this moment, texel by texel: decoded mips and their PSNR."""

from __future__ import annotations

import numpy as np
import torch

from configs import N_CHANNELS
from model.texture import NeuralTexture
from reporting.metrics import psnr_of_maps
from training.loss import to_file_coding
from training.sampler import TileSampler

BLOCK_VALUES = 1 << 24
"""Texel values that are compared at once."""


def decode_coded(texture: NeuralTexture, mip: int, quantize: bool) -> torch.Tensor:
    """Decode a mip as the files would hold it: uint8 [H, W, C] over the present channels, on the device."""
    linear = texture.layout.diffuse_space == "linear" and texture.channels[:1] == [0]

    def coding(values: torch.Tensor) -> torch.Tensor:
        return to_file_coding(values.clamp(0, 1), linear).mul_(255).round_().to(torch.uint8)

    return texture.decode(mip, quantize, dtype=torch.uint8, coding=coding)


def decode_mip(texture: NeuralTexture, mip: int, quantize: bool) -> np.ndarray:
    """Decode a mip as the files would hold it: uint8 [H, W, 11], missing maps zero."""
    coded = decode_coded(texture, mip, quantize).cpu().numpy()
    full = np.zeros((*coded.shape[:2], N_CHANNELS), np.uint8)
    full[..., texture.channels] = coded
    return full


def _squared_error(coded: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return each channel's sum of squared differences of uint8 [H, W, C]: int64 [C]."""
    total = torch.zeros(coded.shape[2], dtype=torch.int64, device=coded.device)
    rows = max(1, BLOCK_VALUES // coded[0].numel())
    for ours, theirs in zip(coded.split(rows), target.split(rows)):
        total += (ours.to(torch.int32) - theirs).square_().sum((0, 1), dtype=torch.int64)
    return total


def evaluate_psnr(
    texture: NeuralTexture, sampler: TileSampler, present: dict[str, bool], quantize: bool, n_mips: int | None = None
) -> list[dict[str, float]]:
    """Return, for the `n_mips` finest mips (default: all), PSNR in dB: `overall` and of each present map (`inf` where
    identical). All of it is worked out on the device, where the sampler holds the texels.
    """
    result = []
    for mip, (width, height) in enumerate(sampler.sizes[:n_mips]):
        mse = np.zeros(N_CHANNELS)
        error = _squared_error(decode_coded(texture, mip, quantize), sampler.mip_texels(mip))
        mse[texture.channels] = error.cpu().numpy() / (width * height)
        result.append(psnr_of_maps(mse, present))
    return result
