"""Codes in channels: which DXGI format holds features of so many bits, four to a texel, and how codes lie in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from configs import QUANTIZE_BITS
from formats.dds import B4G4R4A4_UNORM, FORMATS, R8G8B8A8_UNORM, R16G16B16A16_UNORM, pack_channels, unpack_channels
from utils.errors import UsageError

CHANNEL_STORAGES = ("rgba8", "true_rate")
"""Ways to store codes with a channel for each feature, to be filtered by a sampler."""


def container_format(bits: int, storage: str) -> int:
    """Return the DXGI format that holds features of `bits` bits, four to a texel.

    `rgba8` spreads 2, 4 and 8 bits over 8-bit channels. `true_rate` stores 4 bits as B4G4R4A4; 2 bits stay in 8-bit
    channels, since DXGI has no plain container of four 2-bit channels. 16 bits need R16G16B16A16 either way.
    """
    if bits not in QUANTIZE_BITS:
        raise UsageError(
            f"quantize_bits {bits} is not one of {', '.join(map(str, QUANTIZE_BITS))}; choose one of these"
        )
    if storage not in CHANNEL_STORAGES:
        raise UsageError(f"storage {storage!r} is not one of {', '.join(CHANNEL_STORAGES)}; choose one of these")
    if bits == 16:
        return R16G16B16A16_UNORM
    return B4G4R4A4_UNORM if bits == 4 and storage == "true_rate" else R8G8B8A8_UNORM


def pack_codes(codes: np.ndarray, bits: int, storage: str) -> list[np.ndarray]:
    """Pack codes `[r, r, F]` into level arrays of `container_format`, features `4j .. 4j + 3` in array `j`.

    Code `k` is stored as `k * channel_max / (2^bits - 1)`, which is an integer; a missing feature is 0.
    """
    dxgi_format = container_format(bits, storage)
    step = FORMATS[dxgi_format].channel_max // ((1 << bits) - 1)
    groups = []
    for first in range(0, codes.shape[-1], 4):
        part = codes[..., first : first + 4]
        channels = np.zeros(codes.shape[:-1] + (4,), np.int32)
        channels[..., : part.shape[-1]] = part * step
        groups.append(pack_channels(channels, dxgi_format))
    return groups


def unpack_codes(containers: Sequence[np.ndarray], bits: int, n_features: int, dxgi_format: int) -> np.ndarray:
    """Undo `pack_codes`: int32 codes `[r, r, F]`; raises `ValueError` where a channel holds no code of so many bits."""
    channels = np.concatenate([unpack_channels(level, dxgi_format) for level in containers], axis=-1)[..., :n_features]
    codes, rest = np.divmod(channels.astype(np.int64) * ((1 << bits) - 1), FORMATS[dxgi_format].channel_max)
    if rest.any():
        raise ValueError(f"values that are no {bits}-bit codes in {FORMATS[dxgi_format].name}")
    return codes.astype(np.int32)
