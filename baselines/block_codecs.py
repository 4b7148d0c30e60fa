"""Block-compressed texture formats that a GPU samples: BC7, BC5, BC4 and ASTC."""

from __future__ import annotations

import os
import time
from typing import cast

import numpy as np

from baselines.codec import Encoded, Texture
from formats.bc4 import bc4_blocks, bc4_texels, bc5_blocks, bc5_texels
from formats.bc7 import BLOCK, bc7_blocks


def _rgba(image: np.ndarray) -> np.ndarray:
    """Widen `[H, W, 1..3]` to RGBA: grey for one channel, luminance and alpha for two, opaque for three."""
    if image.shape[2] == 2:
        return np.ascontiguousarray(image[..., [0, 0, 0, 1]])
    colour = image if image.shape[2] == 3 else image.repeat(3, axis=2)
    return np.concatenate([colour, np.full((*image.shape[:2], 1), 255, np.uint8)], axis=2)


def _narrow(rgba: np.ndarray, count: int) -> np.ndarray:
    """Undo `_rgba` for `count` channels."""
    return rgba[..., [0, 3]] if count == 2 else rgba[..., :count]


def _pad_to_blocks(image: np.ndarray) -> np.ndarray:
    """Repeat the last row and column up to whole blocks."""
    height, width = image.shape[:2]
    return np.pad(image, ((0, -height % BLOCK), (0, -width % BLOCK), (0, 0)), mode="edge")


def _encode_bc7(image: np.ndarray, setting: str) -> Encoded:
    """Encode and decode `[H, W, 1..3]` as BC7, two channels as luminance and alpha."""
    import texture2ddecoder

    height, width, count = image.shape
    rows, columns = height + -height % BLOCK, width + -width % BLOCK
    start = time.perf_counter()
    payload = bc7_blocks(_rgba(image), setting)
    elapsed = time.perf_counter() - start
    bgra = texture2ddecoder.decode_bc7(payload, columns, rows)
    rgba = np.frombuffer(bgra, np.uint8).reshape(rows, columns, 4)[:height, :width][..., [2, 1, 0, 3]]
    return Encoded(len(payload), _narrow(rgba, count), 16, elapsed)


def _encode_bc4_or_bc5(image: np.ndarray) -> Encoded:
    """Encode and decode `[H, W, 1]` as BC4, `[H, W, 2]` as BC5."""
    height, width, count = image.shape
    start = time.perf_counter()
    padded = _pad_to_blocks(image)
    # etcpak's own BC4 and BC5 are 3 dB and more worse, and texture2ddecoder cuts fractions off.
    blocks = bc4_blocks(padded[..., 0]) if count == 1 else bc5_blocks(padded)
    elapsed = time.perf_counter() - start
    rows, columns = padded.shape[:2]
    decoded = bc4_texels(blocks, rows, columns)[..., None] if count == 1 else bc5_texels(blocks, rows, columns)
    return Encoded(blocks.nbytes, decoded[:height, :width], blocks.shape[1], elapsed)


def reconstruct_z(xy: np.ndarray) -> np.ndarray:
    """Complete uint8 `[H, W, 2]` normal x and y to `[H, W, 3]` with z = sqrt(max(0, 1 - x^2 - y^2)).

    >>> reconstruct_z(np.array([[[255, 127]]], np.uint8))[0, 0].tolist()
    [255, 127, 128]
    """
    signed = xy.astype(np.float32) / 127.5 - 1
    z = np.sqrt(np.clip(1 - np.square(signed).sum(axis=2, keepdims=True), 0, 1))
    return np.concatenate([xy, np.floor((z + 1) * 127.5 + 0.5).astype(np.uint8)], axis=2)


def encode_bc7(texture: Texture, setting: str) -> Encoded:
    """Encode everything as BC7."""
    return _encode_bc7(texture.image, setting)


def encode_bc7_bc5(texture: Texture, setting: str) -> Encoded:
    """Encode normals as BC5 (x and y alone), everything else as BC7."""
    if texture.content != "normal":
        return _encode_bc7(texture.image, setting)
    encoded = _encode_bc4_or_bc5(texture.image[..., :2])
    encoded.decoded = reconstruct_z(encoded.decoded)
    return encoded


def encode_bc7_bc4(texture: Texture, setting: str) -> Encoded:
    """Encode scalar maps as BC4, everything else as BC7."""
    if texture.content == "scalars":
        return _encode_bc4_or_bc5(texture.image)
    return _encode_bc7(texture.image, setting)


def encode_astc(texture: Texture, setting: str) -> Encoded:
    """Encode as LDR ASTC with blocks such as `6x6`, at medium quality or `6x6-thorough`."""
    from astc_encoder import ASTCConfig, ASTCContext, ASTCImage, ASTCProfile, ASTCQualityPreset, ASTCSwizzle, ASTCType

    blocks, _, quality = setting.partition("-")
    block_x, block_y = (int(side) for side in blocks.split("x"))
    height, width, count = texture.image.shape
    start = time.perf_counter()
    preset = ASTCQualityPreset.THOROUGH if quality == "thorough" else ASTCQualityPreset.MEDIUM
    config = ASTCConfig(ASTCProfile.LDR, block_x, block_y, 1, preset)
    if count == 2:
        # Luminance stands in three components and must count once.
        config.cw_g_weight = config.cw_b_weight = 0
    context = ASTCContext(config, os.cpu_count() or 1)
    payload = context.compress(ASTCImage(ASTCType.U8, width, height, 1, _rgba(texture.image).tobytes()), ASTCSwizzle())
    elapsed = time.perf_counter() - start
    image = context.decompress(payload, ASTCImage(ASTCType.U8, width, height, 1), ASTCSwizzle())
    rgba = np.frombuffer(cast(bytes, image.data), np.uint8).reshape(height, width, 4)
    return Encoded(len(payload), _narrow(rgba, count), 16, elapsed)
