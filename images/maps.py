"""One map out of an image: texels in file coding at the image's depth, with a sentence for whatever was changed.

Texels are uint8, uint16, or float32 in [0, 1]. `images.two_channel` completes normals that have no third component.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from images.colour import linear_to_srgb, srgb_to_linear
from images.depth import coarse_codes, peak
from images.reading import DecodedImage
from images.resampling import STRIP_ROWS, normalized
from images.sources import MapSource
from images.texture_types import TextureType
from images.two_channel import completed_normals
from utils.errors import UserError

VECTOR_MEAN = 0.25
"""Float normal maps whose x and y are nearer to 0 than this on average hold vectors in [-1, 1]; coded ones, about 0.5."""


@dataclass
class MapTexels:
    """One map at the size of its image."""

    texels: np.ndarray
    """`[H, W, count]` in file coding: uint8, uint16, or float32 in [0, 1]."""
    notices: list[str] = field(default_factory=list)
    range: tuple[float, float] | None = None
    """The heights that 0 and 1 stand for, where the file's were scaled."""
    channels: str = ""
    """The file's channels that were taken: letters of RGBA, LA, or grey."""

    @property
    def uses_alpha(self) -> bool:
        """Whether the image's alpha is a part of the map."""
        return "A" in self.channels


def map_texels(image: np.ndarray, texture: TextureType, source: MapSource, flip_green: bool = False) -> MapTexels:
    """Take one map out of an image `[H, W, 1 to 4]`; `flip_green` turns a normal map's green over.

    Raises `UserError` where the image has too few channels.
    """
    image, narrow = _without_padding(image)
    name, whole_normal = source.file.name, texture.coding == "normal" and source.channel is None
    taken = _channels(image, texture, source)
    found = MapTexels(image if whole_normal else taken)
    found.channels = "RGBA"[source.channel] if source.channel is not None else "RGB" if image.shape[2] > 2 else "grey"
    if narrow:
        found.notices.append(f"{texture.name}: {name} has 16 bits per value, but 8-bit values in them")
    if image.dtype == np.float32:
        _fit_floats(found, texture, source)
    if whole_normal:
        completed = completed_normals(found.texels, f"normal: {name}")
        if completed:
            found.texels, found.channels = completed.texels, completed.channels
            found.notices.append(completed.notice)
        else:
            found.texels = found.texels[..., :3]
    if texture.count == 3 and found.texels.shape[2] == 1:
        found.notices.append(f"{texture.name}: {name} is grey, repeated for red, green and blue")
        found.texels = np.repeat(found.texels, 3, axis=2)
    elif texture.count == 1 and found.texels.shape[2] == 3:
        found.texels, found.channels = _single_channel(found.texels, texture, name, found.notices)
    if source.factor and not (texture.name == "displacement" and found.texels.dtype == np.float32):
        found.texels = _multiplied(found.texels, texture, source.factor, source.offset)
        if not source.file.constant:
            added = f", and {source.offset:g} is added" if source.offset else ""
            found.notices.append(f"{texture.name}: {name} is multiplied by {_numbers(source.factor)}{added}")
    if source.inverted:
        found.texels = _applied(found.texels, lambda values: 1 - values)
        if found.range:
            found.range = -found.range[1], -found.range[0]
        found.notices.append(f"{texture.name}: {source} is inverted, to 1 minus its values")
    if flip_green:
        found.texels = np.concatenate(
            [found.texels[..., :1], _applied(found.texels[..., 1:2], lambda values: 1 - values), found.texels[..., 2:]],
            2,
        )
    return found


def _channels(image: np.ndarray, texture: TextureType, source: MapSource) -> np.ndarray:
    """The channels of an image `[H, W, 1 to 4]` that hold a map: one or three."""
    channels, name = image.shape[2], source.file.name
    if source.channel == 3:
        if channels not in (2, 4):
            raise UserError(
                f"{name} has no alpha, where the {texture.name} map is to be read; save it with alpha, or give the map "
                "a file of its own"
            )
        return image[..., -1:]
    if source.channel is not None:
        if channels < 3:
            raise UserError(
                f"{name} has one channel, but its name says that it packs several maps; "
                f"rename it after the one it holds, for example {texture.name}"
            )
        return image[..., source.channel : source.channel + 1]
    if texture.coding == "normal" and channels == 1:
        raise UserError(
            f"the normal map {name} has one channel, a normal map needs three; "
            "if it holds heights, rename it to displacement"
        )
    return image[..., : 3 if channels > 2 else 1]


def _without_padding(image: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return 8-bit values that were stored in 16 bits as 8 bits, and whether they were."""
    if image.dtype != np.uint16 or (image[0] % 257).any() or any((row % 257).any() for row in image):
        return image, False
    return (image >> 8).astype(np.uint8), True


def _fit_floats(found: MapTexels, texture: TextureType, source: MapSource) -> None:
    """Bring float texels into [0, 1] and file coding: colour is linear in such files, heights are scaled to fit."""
    name, image = source.file.name, found.texels
    if not np.isfinite(image).all():
        found.notices.append(f"{texture.name}: {name} holds values that are not finite, read as 0, or 1 above all")
        image = np.nan_to_num(image, nan=0.0, posinf=1.0, neginf=0.0)
    if texture.name == "displacement" and source.factor:
        image = image * np.float32(source.factor[0])
        found.notices.append(f"displacement: {name} is multiplied by {_numbers(source.factor)}")
    low, high = float(image.min()), float(image.max())
    if texture.coding == "normal" and abs(float(image[..., :2].mean())) < VECTOR_MEAN:
        image = image * np.float32(0.5) + np.float32(0.5)
        found.notices.append(f"normal: {name} holds vectors from {low:.2g} to {high:.2g}, coded as 0 .. 1")
    elif low < 0 or high > 1:
        if texture.name == "displacement":
            # In double precision: far from 0, the differences of heights are small beside them.
            image = ((image.astype(np.float64) - low) / max(high - low, 1e-300)).astype(np.float32)
            found.range = low, high
            found.notices.append(f"displacement: {name} goes from {low:g} to {high:g}, scaled to 0 .. 1")
        else:
            found.notices.append(f"{texture.name}: {name} goes from {low:g} to {high:g}, clipped to 0 .. 1")
    image = np.clip(image, 0, 1)
    if texture.coding == "srgb":
        found.notices.append(f"{texture.name}: {name} is in floating point, its linear light coded as sRGB")
        image = np.clip(linear_to_srgb(image), 0, 1)
    found.texels = image


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _applied(texels: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Apply a function of values in [0, 1] to texels of any depth, which they keep."""
    if texels.dtype == np.float32:
        return np.clip(function(texels), 0, 1).astype(np.float32)
    most = peak(texels)
    # Each code once, not each texel.
    table = np.clip(function(np.arange(most + 1) / most), 0, 1)
    return np.floor(table * most + 0.5).astype(texels.dtype)[texels]


def _multiplied(texels: np.ndarray, texture: TextureType, factor: Sequence[float], offset: float = 0.0) -> np.ndarray:
    """Multiply a map: colour in linear light, normals as vectors that stay at length 1, else the values.

    `offset` is added to values afterwards.
    """
    factors = np.broadcast_to(np.asarray(factor, np.float32), (texture.count,))
    if texture.coding == "normal":
        most = peak(texels)
        out = np.empty_like(texels)
        for top in range(0, len(texels), STRIP_ROWS):
            vectors = normalized((texels[top : top + STRIP_ROWS] * np.float32(2 / most) - 1) * factors)
            values = (vectors * np.float32(0.5) + np.float32(0.5)) * most
            out[top : top + STRIP_ROWS] = values if most == 1 else np.floor(values + 0.5)
        return out

    def function(values: np.ndarray, by: np.float32) -> np.ndarray:
        return linear_to_srgb(srgb_to_linear(values) * by) if texture.coding == "srgb" else values * by + offset

    parts = [
        _applied(texels[..., channel], lambda values, by=by: function(values, by))  # type: ignore[misc]
        for channel, by in enumerate(factors)
    ]
    return np.stack(parts, 2)


def unused_alpha(image: DecodedImage, name: str) -> list[str]:
    """Say that an image's alpha is not used, where it has one."""
    if not image.has_alpha:
        return []
    alpha = image.texels[..., -1]
    return [f"alpha of {name} is not used" + (", it is opaque everywhere" if alpha.min() == peak(alpha) else "")]


def _single_channel(image: np.ndarray, texture: TextureType, name: str, notices: list[str]) -> tuple[np.ndarray, str]:
    """Choose what a colour image says of a one-channel map: `[H, W, 3]` to `[H, W, 1]`, and the channels taken.

    Grey is taken as it is. Otherwise a channel counts if its standard deviation is at least a fifth of the largest
    (so constant filling is ignored), or, in a constant image, if it is neither black nor white.
    """
    # What a channel is for shows in 8 bits.
    coarse = image if image.dtype == np.uint8 else coarse_codes(image)
    red, *others = np.moveaxis(coarse, 2, 0)
    if all(np.abs(np.subtract(red, other, dtype=np.int16)).max() <= 8 for other in others):
        return image[..., 1:2], "grey"
    deviation = np.array([_deviation(coarse[..., c]) for c in range(3)])
    if deviation.max() > 0:
        carrying = np.flatnonzero(deviation >= 0.2 * deviation.max())
    else:
        carrying = np.flatnonzero([0 < coarse[0, 0, c] < 255 for c in range(3)])
        carrying = carrying if len(carrying) else np.array([0])
    letters = "".join("RGB"[c] for c in carrying)
    if len(carrying) == 1:
        notices.append(f"{texture.name}: {name} is a colour image, channel {letters} carries the data")
        return image[..., carrying], letters
    notices.append(f"{texture.name}: {name} is a colour image, the mean of its channels {letters} is used")
    if image.dtype == np.float32:
        return image[..., carrying].mean(2, keepdims=True), letters
    total = image[..., carrying].sum(2, dtype=np.uint32)
    return ((total + len(carrying) // 2) // len(carrying)).astype(image.dtype)[..., None], letters


def _deviation(channel: np.ndarray) -> float:
    """Standard deviation of uint8 values, from their histogram: no copy in floating point."""
    counts = sum(
        np.bincount(channel[top : top + STRIP_ROWS].ravel(), minlength=256)
        for top in range(0, len(channel), STRIP_ROWS)
    )
    values = np.arange(256)
    mean = (counts * values).sum() / channel.size
    return float(np.sqrt((counts * (values - mean) ** 2).sum() / channel.size))
