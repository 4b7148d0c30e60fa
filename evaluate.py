"""What the trained model gives at this moment, texel by texel: decoded mips and their PSNR."""

from __future__ import annotations

import numpy as np
import torch

from dataset import TextureSet
from loss import to_file_coding
from metrics import material_psnr
from model.layout import N_CHANNELS


def decode_mip(backend, channels: list[int], mip: int, quantize: bool) -> np.ndarray:
    """Decode a mip as the files would hold it: uint8 [H, W, 11], missing maps zero."""
    values = backend.decode(mip, quantize)
    linear = backend.layout.diffuse_space == "linear" and channels[:1] == [0]
    coded = to_file_coding(values.clamp(0, 1), linear).mul_(255).round_().to(torch.uint8).cpu().numpy()
    full = np.zeros((*coded.shape[:2], N_CHANNELS), np.uint8)
    full[..., channels] = coded
    return full


def evaluate_psnr(backend, texture_set: TextureSet, channels: list[int], quantize: bool) -> list[dict[str, float]]:
    """Return, per mip, PSNR in dB: `overall` and of each present map (`inf` where identical)."""
    return [material_psnr(reference, decode_mip(backend, channels, mip, quantize), texture_set.present)
            for mip, reference in enumerate(texture_set.mips)]


class stored_precision:
    """While entered, the backend's decoder holds the numbers an export in `precision` would hold."""

    def __init__(self, backend, precision: str) -> None:
        self.backend, self.precision = backend, precision

    def __enter__(self) -> None:
        self.masters = self.backend.network()
        if self.precision == "float16":
            self.backend.load_network(self.masters.half().float())

    def __exit__(self, *_) -> None:
        if self.precision == "float16":
            self.backend.load_network(self.masters)
