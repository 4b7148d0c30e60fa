"""Area averages and resizing of maps, in the space where averaging is right: linear light, unit vectors, plain data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from images.colour import linear_to_srgb, srgb_to_linear
from images.depth import coarse_codes, fine_part, peak, to_uint8

STRIP_ROWS = 256
"""Rows worked on at once, so that float copies stay small."""


def decode(values: np.ndarray, coding: str) -> np.ndarray:
    """What values in [0, 1] mean: linear light, a vector's component in [-1, 1], or the value itself; float32."""
    if coding == "srgb":
        return srgb_to_linear(values)
    values = np.asarray(values, np.float32)
    return values * 2 - 1 if coding == "normal" else values


def decode_table(texels: np.ndarray, coding: str) -> np.ndarray | None:
    """What each code of uint8 or uint16 texels means; None for floating point."""
    if texels.dtype.kind == "f":
        return None
    return decode(np.arange(peak(texels) + 1, dtype=np.float32) / peak(texels), coding)


def encode(values: np.ndarray, coding: str) -> np.ndarray:
    """Undo `decode`: float32 in file coding, not clipped."""
    if coding == "srgb":
        return linear_to_srgb(np.clip(values, 0, 1))
    return values * 0.5 + 0.5 if coding == "normal" else values


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
            # The same product for each code as for each texel.
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


def _decoded(texels: np.ndarray, coding: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Texels and the table that decodes them on the way; floating point is decoded at once."""
    table = decode_table(texels, coding)
    return (decode(texels, coding), None) if table is None else (texels, table)


def resize(texels: np.ndarray, width: int, height: int, coding: str) -> np.ndarray:
    """Resize `[H, W, C]` in the space it is averaged in: area average where both sides shrink, else Lanczos.

    uint8 gives uint8; deeper texels give float32 in [0, 1].
    """
    source, table = _decoded(texels, coding)
    if width <= texels.shape[1] and height <= texels.shape[0]:
        values = area_average(source, width, height, table)
    else:
        values = np.empty((height, width, texels.shape[2]), np.float32)
        for c in range(texels.shape[2]):
            channel = np.ascontiguousarray(source[..., c]) if table is None else table[source[..., c]]
            values[..., c] = Image.fromarray(channel).resize((width, height), Image.Resampling.LANCZOS)
    coded = np.empty(values.shape, np.uint8 if texels.dtype == np.uint8 else np.float32)
    for top in range(0, height, STRIP_ROWS):
        strip = values[top : top + STRIP_ROWS]
        strip = encode(normalized(strip) if coding == "normal" else strip, coding)
        coded[top : top + STRIP_ROWS] = to_uint8(strip) if coded.dtype == np.uint8 else np.clip(strip, 0, 1)
    return coded


def used_average(
    texels: np.ndarray, table: np.ndarray | None, shares: np.ndarray, reduced_shares: np.ndarray
) -> np.ndarray:
    """Reduce `[H, W, C]` as `area_average` does, each texel the average over the used part of its area alone.

    `shares` [H, W] are the used shares of the texels, `reduced_shares` those of what comes out; where nothing is used
    it is the average of all.
    """
    height, width = reduced_shares.shape
    out = area_average(texels, width, height, table)
    used = reduced_shares > 0
    for channel in range(texels.shape[2]):
        values = texels[..., channel] if table is None else table[texels[..., channel]]
        total = area_average((values * shares)[..., None], width, height, None)[..., 0]
        np.divide(total, reduced_shares, out=out[..., channel], where=used)
    return out


def fill_mips(
    mips: Sequence[np.ndarray], texels: np.ndarray, coding: str, shares: Sequence[np.ndarray] | None = None
) -> list[np.ndarray]:
    """Write a map `[H, W, C]` and its area averages into the arrays of its mips, uint8 `[H_m, W_m, C]`.

    Every mip is made from the one before in float32, so rounding does not build up; with used `shares`, float32
    `[H_m, W_m]` of each mip, from its used part. Returns what the 8 bits leave out of texels that are deeper, int16
    arrays like the mips (`images.depth`); an empty list for uint8.
    """
    fine = [np.empty(mip.shape, np.int16) for mip in mips] if texels.dtype != np.uint8 else []
    for top in range(0, len(texels), STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        _write(mips[0][rows], fine[0][rows] if fine else None, texels[rows])
    level, table = _decoded(texels, coding)
    for index, mip in enumerate(mips[1:], 1):
        of_level = table if index == 1 else None
        if shares is None:
            level = area_average(level, mip.shape[1], mip.shape[0], of_level)
        else:
            level = used_average(level, of_level, shares[index - 1], shares[index])
        for top in range(0, len(mip), STRIP_ROWS):
            strip = level[top : top + STRIP_ROWS]
            if coding == "normal":
                strip[...] = normalized(strip)
            rows = slice(top, top + STRIP_ROWS)
            values = encode(strip, coding)
            _write(mip[rows], fine[index][rows] if fine else None, np.clip(values, 0, 1) if fine else to_uint8(values))
    return fine


def _write(target: np.ndarray, fine: np.ndarray | None, texels: np.ndarray) -> None:
    """Write `[H, W, C]` into a view of 8-bit codes and what they leave out, channel by channel, several times faster."""
    for channel in range(texels.shape[2]):
        values = texels[..., channel]
        code = coarse_codes(values)
        target[..., channel] = code
        if fine is not None:
            fine[..., channel] = fine_part(values, code)
