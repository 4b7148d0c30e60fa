"""Area averages and resizing of maps, in the space where averaging is right: linear light, unit vectors, plain data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from images.colour import linear_to_srgb, srgb_to_linear

STRIP_ROWS = 256
"""Rows worked on at once, so that float copies stay small."""


def decode_table(coding: str) -> np.ndarray:
    """What each of the 256 codes means: linear light, a vector's component in [-1, 1], or the value in [0, 1]."""
    values = np.arange(256, dtype=np.float32) / 255
    return {"srgb": srgb_to_linear(values), "normal": values * 2 - 1}.get(coding, values)


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Round values in [0, 1] to 8 bits."""
    scaled = values * 255
    scaled += 0.5
    return np.clip(np.floor(scaled, out=scaled), 0, 255, out=scaled).astype(np.uint8)


def encode(values: np.ndarray, coding: str) -> np.ndarray:
    """Undo `decode_table`: uint8 in file coding."""
    if coding == "srgb":
        return to_uint8(linear_to_srgb(np.clip(values, 0, 1)))
    return to_uint8(values * 0.5 + 0.5 if coding == "normal" else values)


def normalized(vectors: np.ndarray) -> np.ndarray:
    """Vectors `[..., 3]` at length 1; what cancelled out points straight up."""
    x, y, z = (vectors[..., c] for c in range(3))
    length = np.sqrt(x * x + y * y + z * z)[..., None]
    return np.where(length > 1e-6, vectors / np.maximum(length, 1e-6), np.array([0, 0, 1], np.float32))


def _average_axis(texels: np.ndarray, axis: int, n: int, start: int, stop: int, table: np.ndarray | None) -> np.ndarray:
    """The area averages `start .. stop` of the `n` that an axis of `[H, W]` becomes; `table` decodes on the way.

    A texel that two averages share counts in each by the part that lies in it.
    """
    total = texels.shape[axis]
    index = np.arange(start, stop)
    first, lower, upper = index * total // n, index * total / n, (index + 1) * total / n
    out = np.zeros((), np.float32)
    for tap in range(-(-total // n) + 1):
        if total % n == 0:
            step = total // n
            if tap == step:
                break
            place = [slice(None)] * texels.ndim
            place[axis] = slice(start * step + tap, stop * step, step)
            taken, weight = texels[tuple(place)], np.float32(1 / step)
            # The same product for each of the 256 codes as for each texel.
            part = taken * weight if table is None else (table * weight)[taken]
        else:
            overlap = np.clip(np.minimum(first + tap + 1, upper) - np.maximum(first + tap, lower), 0, None)
            taken = texels.take(np.minimum(first + tap, total - 1), axis)
            weights = np.expand_dims((overlap * n / total).astype(np.float32), tuple(range(1, texels.ndim - axis)))
            part = (taken if table is None else table[taken]) * weights
        out = np.add(out, part, out=out) if tap else part
    return out


def area_average(texels: np.ndarray, width: int, height: int, table: np.ndarray | None) -> np.ndarray:
    """Reduce `[H, W, C]` to float32 `[height, width, C]`, each texel the average of the area it covers."""
    out = np.empty((height, width, texels.shape[2]), np.float32)
    for top in range(0, height, STRIP_ROWS):
        bottom = min(top + STRIP_ROWS, height)
        # NumPy is several times faster on rows of one channel than on texels of three.
        for channel in range(texels.shape[2]):
            rows = _average_axis(texels[..., channel], 0, height, top, bottom, table)
            out[top:bottom, :, channel] = _average_axis(rows, 1, width, 0, width, None)
    return out


def resize(texels: np.ndarray, width: int, height: int, coding: str) -> np.ndarray:
    """Resize uint8 `[H, W, C]` in the space it is averaged in: area average where both sides shrink, else Lanczos."""
    table = decode_table(coding)
    if width <= texels.shape[1] and height <= texels.shape[0]:
        values = area_average(texels, width, height, table)
    else:
        values = np.empty((height, width, texels.shape[2]), np.float32)
        for c in range(texels.shape[2]):
            values[..., c] = Image.fromarray(table[texels[..., c]]).resize((width, height), Image.Resampling.LANCZOS)
    coded = np.empty(values.shape, np.uint8)
    for top in range(0, height, STRIP_ROWS):
        strip = values[top : top + STRIP_ROWS]
        coded[top : top + STRIP_ROWS] = encode(normalized(strip) if coding == "normal" else strip, coding)
    return coded


def fill_mips(mips: Sequence[np.ndarray], texels: np.ndarray, coding: str) -> None:
    """Write a map, uint8 `[H, W, C]`, and its area averages into the arrays of its mips, uint8 `[H_m, W_m, C]`.

    Every mip is made from the one before in float32, so 8-bit rounding does not build up.
    """
    _write_channels(mips[0], texels)
    level = texels
    for index, mip in enumerate(mips[1:]):
        level = area_average(level, mip.shape[1], mip.shape[0], None if index else decode_table(coding))
        for top in range(0, len(mip), STRIP_ROWS):
            strip = level[top : top + STRIP_ROWS]
            if coding == "normal":
                strip[...] = normalized(strip)
            _write_channels(mip[top : top + STRIP_ROWS], encode(strip, coding))


def _write_channels(target: np.ndarray, texels: np.ndarray) -> None:
    """Copy `[H, W, C]` into a view of the same shape, channel by channel, which is several times faster."""
    for channel in range(texels.shape[2]):
        target[..., channel] = texels[..., channel]
