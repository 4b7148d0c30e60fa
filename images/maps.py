"""One map out of an image file: 8-bit texels in file coding, with a sentence for whatever was changed on the way."""

from __future__ import annotations

import numpy as np

from images.colour import linear_to_srgb
from images.resampling import STRIP_ROWS, to_uint8
from images.sources import MapSource
from images.texture_types import TextureType
from utils.errors import UserError

_ROUNDED_16BIT = ((np.arange(65536) * 255 + 32767) // 65535).astype(np.uint8)
"""Every 16-bit value rounded to 8 bits."""


def map_texels(image: np.ndarray, texture: TextureType, source: MapSource) -> tuple[np.ndarray, list[str]]:
    """Take one map out of an image `[H, W, 1 or 3]`: uint8 `[H, W, count]` in file coding, and notices.

    Raises `UserError` where the image has too few channels.
    """
    channels, name = image.shape[2], source.file.name
    notices: list[str] = []
    if source.channel is not None:
        if channels == 1:
            raise UserError(
                f"{name} has one channel, but its name says that it packs several maps; "
                f"rename it after the one it holds, for example {texture.name}"
            )
        image = image[..., source.channel : source.channel + 1]
    elif texture.coding == "normal" and channels == 1:
        raise UserError(
            f"the normal map {name} has one channel, a normal map needs three; "
            "if it holds heights, rename it to displacement"
        )
    if image.dtype == np.float32:
        image = _float_texels(image, texture, name, notices)
    elif image.dtype == np.uint16:
        image = _ROUNDED_16BIT[image]
        notices.append(f"{texture.name}: {name} is rounded from 16 to 8 bits")
    if texture.count == 3 and image.shape[2] == 1:
        notices.append(f"{texture.name}: {name} is grey, repeated for red, green and blue")
        image = np.repeat(image, 3, axis=2)
    elif texture.count == 1 and image.shape[2] == 3:
        image = _single_channel(image, texture, name, notices)
    return image, notices


def _float_texels(image: np.ndarray, texture: TextureType, name: str, notices: list[str]) -> np.ndarray:
    """Code float texels as uint8: colour is linear in such files; heights beyond [0, 1] are scaled to fit."""
    image = np.nan_to_num(image, nan=0.0, posinf=1.0, neginf=0.0)
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        if texture.name == "displacement":
            image = (image - low) / max(high - low, 1e-12)
            notices.append(f"displacement: {name} goes from {low:g} to {high:g}, scaled to 0 .. 1")
        else:
            notices.append(f"{texture.name}: {name} goes from {low:g} to {high:g}, clipped to 0 .. 1")
    coded = texture.coding == "srgb"
    notices.append(
        f"{texture.name}: {name} is rounded from floating point to 8 bits"
        + (", its linear light coded as sRGB" if coded else "")
    )
    image = np.clip(image, 0, 1)
    return to_uint8(linear_to_srgb(image) if coded else image)


def _single_channel(image: np.ndarray, texture: TextureType, name: str, notices: list[str]) -> np.ndarray:
    """Choose what a colour image says of a one-channel map: uint8 `[H, W, 3]` to `[H, W, 1]`.

    Grey is taken as it is. Otherwise a channel counts if its standard deviation is at least a fifth of the largest
    (so constant filling is ignored), or, in a constant image, if it is neither black nor white.
    """
    red, *others = np.moveaxis(image, 2, 0)
    if all(np.abs(np.subtract(red, other, dtype=np.int16)).max() <= 8 for other in others):
        return image[..., 1:2]
    deviation = np.array([_deviation(image[..., c]) for c in range(3)])
    if deviation.max() > 0:
        carrying = np.flatnonzero(deviation >= 0.2 * deviation.max())
    else:
        carrying = np.flatnonzero([0 < image[0, 0, c] < 255 for c in range(3)])
        carrying = carrying if len(carrying) else np.array([0])
    letters = "".join("RGB"[c] for c in carrying)
    if len(carrying) == 1:
        notices.append(f"{texture.name}: {name} is a colour image, channel {letters} carries the data")
        return image[..., carrying]
    notices.append(f"{texture.name}: {name} is a colour image, the mean of its channels {letters} is used")
    total = image[..., carrying].sum(2, dtype=np.uint16)
    return ((total + len(carrying) // 2) // len(carrying)).astype(np.uint8)[..., None]


def _deviation(channel: np.ndarray) -> float:
    """Standard deviation of uint8 values, from their histogram: no copy in floating point."""
    counts = sum(
        np.bincount(channel[top : top + STRIP_ROWS].ravel(), minlength=256)
        for top in range(0, len(channel), STRIP_ROWS)
    )
    values = np.arange(256)
    mean = (counts * values).sum() / channel.size
    return float(np.sqrt((counts * (values - mean) ** 2).sum() / channel.size))
