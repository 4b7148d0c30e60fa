"""What the trained model gives at this moment, texel by texel: decoded mips and their PSNR."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

from dataset import TextureSet, get_texture_config
from loss import to_file_coding
from metrics import material_psnr
from model.layout import N_CHANNELS
from model.stored_weights import as_stored


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
    """While entered, the backend's decoder holds the numbers that an export would hold."""

    def __init__(self, backend) -> None:
        self.backend = backend

    def __enter__(self) -> None:
        self.masters = self.backend.network()
        if self.backend.layout.network_precision != "float32":
            self.backend.load_network(as_stored(self.masters, self.backend.layout))

    def __exit__(self, *_) -> None:
        if self.backend.layout.network_precision != "float32":
            self.backend.load_network(self.masters)


def map_images(texels: np.ndarray, present: dict[str, bool]) -> Iterator[tuple[str, Image.Image]]:
    """Yield each present map of uint8 [H, W, 11] with its name, as an 8-bit RGB or grey image."""
    for kind in get_texture_config():
        if present.get(kind.name):
            image = np.ascontiguousarray(texels[..., kind.channels])
            yield kind.name, Image.fromarray(image if kind.count == 3 else image[..., 0])
