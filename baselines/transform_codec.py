"""The block KLT of `transform_coder.py` as a codec among others: texture set in, record's figures out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from baselines.codec import CodecResult
from baselines.transform_coder import BlockTransform, encode_blocks, fit_transform

if TYPE_CHECKING:
    from dataset import TextureSet

TRANSFORM_VERSION = 1
"""Raised when other bits come out, so that kept results are measured again."""
_fitted: dict[tuple[str, int], BlockTransform] = {}
"""The transform that was fitted last: a material goes through all rates before the next."""


def _transform(textures: TextureSet, channels: list[int], side: int) -> BlockTransform:
    key = (textures.fingerprint, side)
    if key not in _fitted:
        _fitted.clear()
        _fitted[key] = fit_transform(textures.mips[0], channels, side)
    return _fitted[key]


def _encode(side: int, textures: TextureSet, setting: str) -> CodecResult:
    """Encode a material's finest mip at so many bits per texel; the time is that of the rate alone, without the fit."""
    image = textures.mips[0]
    channels = np.flatnonzero(textures.channel_mask).tolist()
    coded = encode_blocks(image, channels, _transform(textures, channels, side), float(setting))
    decoded = np.zeros_like(image)
    decoded[..., channels] = coded.decoded
    return CodecResult(
        f"klt{side}",
        setting,
        f"KLT {side} {setting} bpp",
        decoded,
        coded.size_bytes,
        coded.encode_time_s,
        True,
        coded.block_bits / 8,
        coded.fetches,
        # A texel's numbers from all components of its block.
        coded.components * len(channels),
        coded.table_bytes,
    )


encode_klt8 = partial(_encode, 8)
"""Blocks of 8 x 8 texels: the most that is known of neighbours."""
encode_klt4 = partial(_encode, 4)
"""Blocks of 4 x 4 texels: a quarter of the arithmetic and a basis that weighs little."""
