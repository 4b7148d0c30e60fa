"""Image metrics on 8-bit maps in the file's own coding: pure functions, NumPy in, float out.

Optional packages are imported inside the functions that need them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from configs import TEXTURE_CHANNELS

SSIM_WINDOW = 11
"""Side of SSIM's Gaussian window, texels; smaller maps have no SSIM."""
SSIM_SIGMA = 1.5
"""Standard deviation of that window, texels."""
_SSIM_TILE = 96
"""Side of the tiles that are filtered at once, texels: small enough for a processor's cache."""
_BLOCK_VALUES = 1 << 22


def channel_ranges() -> dict[str, slice]:
    """Return the channels of each map type in canonical order."""
    ranges, first = {}, 0
    for name, count in TEXTURE_CHANNELS.items():
        ranges[name] = slice(first, first + count)
        first += count
    return ranges


def present_ranges(present: Mapping[str, bool]) -> dict[str, slice]:
    """Return the channels of the maps that are present, in canonical order."""
    return {name: channels for name, channels in channel_ranges().items() if present.get(name, False)}


def _row_blocks(reference: np.ndarray, decoded: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield matching blocks of rows, so that float copies of a 4096 x 4096 x 11 set never exist whole."""
    if reference.shape != decoded.shape:
        raise ValueError(f"shapes differ: reference {reference.shape}, decoded {decoded.shape}")
    rows = max(1, _BLOCK_VALUES // max(1, math.prod(reference.shape[1:])))
    for first in range(0, reference.shape[0], rows):
        yield reference[first : first + rows], decoded[first : first + rows]


def mean_squared_error(reference: np.ndarray, decoded: np.ndarray, shares: np.ndarray | None = None) -> np.ndarray:
    """Return the mean squared error of each channel of uint8 `[H, W, C]`: `[C]` float64, in 8-bit steps squared.

    With `shares` [H, W], uint8 and not all 0, each texel counts by its own, the used one of a mask.
    """
    if shares is not None:
        total, first = np.zeros(reference.shape[2], np.float64), 0
        for ours, theirs in _row_blocks(reference, decoded):
            weights = shares[first : first + len(ours)].reshape(-1).astype(np.float32)
            first += len(ours)
            squares = np.square(ours.astype(np.float32) - theirs).reshape(len(weights), -1)
            total += weights @ squares
        return total / shares.sum(dtype=np.float64)
    total = np.zeros(reference.shape[2], np.float64)
    for ours, theirs in _row_blocks(reference, decoded):
        difference = ours.astype(np.float32)
        difference -= theirs
        total += np.square(difference, out=difference).sum(axis=(0, 1), dtype=np.float64)
    return total / (reference.shape[0] * reference.shape[1])


def psnr_of_mse(mse: float, peak: float = 255.0) -> float:
    """Return PSNR in dB for a mean squared error; `inf` where it is zero.

    >>> round(psnr_of_mse(1.0), 2)
    48.13
    """
    return math.inf if mse == 0 else 10 * math.log10(peak * peak / mse)


def psnr(reference: np.ndarray, decoded: np.ndarray) -> float:
    """Return PSNR in dB of uint8 arrays of one shape (any number of axes), peak 255; `inf` where identical."""
    if reference.size == 0:
        raise ValueError("PSNR of an empty image")
    if reference.shape != decoded.shape:
        raise ValueError(f"shapes differ: reference {reference.shape}, decoded {decoded.shape}")
    rows = (image.reshape(len(image), -1, 1) for image in (reference, decoded))
    return psnr_of_mse(float(mean_squared_error(*rows)[0]))


def material_psnr(
    reference: np.ndarray, decoded: np.ndarray, present: Mapping[str, bool], shares: np.ndarray | None = None
) -> dict[str, float]:
    """Return PSNR in dB, overall and of each present map, of uint8 `[H, W, 11]` texture sets in file coding.

    `overall` comes from the mean squared error over all present channels, so a map counts by its channels. `shares` as
    in `mean_squared_error`.
    """
    return psnr_of_maps(mean_squared_error(reference, decoded, shares), present)


def psnr_of_maps(mse: np.ndarray, present: Mapping[str, bool]) -> dict[str, float]:
    """Return `material_psnr` of the mean squared errors [11] of the channels, in 8-bit steps squared."""
    ranges = present_ranges(present)
    if not ranges:
        raise ValueError("no map is present")
    result = {"overall": psnr_of_mse(float(np.concatenate([mse[channels] for channels in ranges.values()]).mean()))}
    for name, channels in ranges.items():
        result[name] = psnr_of_mse(float(mse[channels].mean()))
    return result


def ssim_of_channels(reference: np.ndarray, decoded: np.ndarray, channels: Sequence[int]) -> np.ndarray | None:
    """Return the structural similarity of some channels of uint8 `[H, W, C]` images, float64 in the order asked for.

    Gaussian 11 x 11 window, sigma 1.5, K1 0.01, K2 0.03, data range 1 (Wang et al. 2004), borders mirrored, mean over
    all texels. `None` where a side is below 11. The window is separable, so each axis is filtered by itself; tiles
    bound the memory whatever the size, and the result is the same.
    """
    if reference.shape != decoded.shape:
        raise ValueError(f"shapes differ: reference {reference.shape}, decoded {decoded.shape}")
    height, width = reference.shape[:2]
    if min(height, width) < SSIM_WINDOW:
        return None
    total = np.zeros(len(channels))
    for top in range(0, height, _SSIM_TILE):
        rows = _mirrored(top, min(top + _SSIM_TILE, height), height)
        for left in range(0, width, _SSIM_TILE):
            columns = _mirrored(left, min(left + _SSIM_TILE, width), width)
            total += _ssim_of_tile(*(image[rows[:, None], columns][..., channels] for image in (reference, decoded)))
    return total / (height * width)


def _mirrored(first: int, last: int, size: int) -> np.ndarray:
    """Return the indices from a window's reach before `first` to one past `last`, mirrored at 0 and `size` - 1."""
    index = np.abs(np.arange(first - SSIM_WINDOW // 2, last + SSIM_WINDOW // 2))
    return np.where(index < size, index, 2 * (size - 1) - index)


def _filtered(values: np.ndarray, axis: int) -> np.ndarray:
    """Return float32 values after SSIM's window along one axis, which gets shorter by the window's reach."""
    taps = np.exp(-0.5 * (np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2) ** 2 / SSIM_SIGMA**2)
    taps = (taps / taps.sum()).astype(np.float32)
    count = values.shape[axis] - SSIM_WINDOW + 1
    shifted = [values[(slice(None),) * axis + (slice(shift, shift + count),)] for shift in range(SSIM_WINDOW)]
    total = shifted[SSIM_WINDOW // 2] * taps[SSIM_WINDOW // 2]
    pair = np.empty_like(total)
    for shift in range(SSIM_WINDOW // 2):
        # The window is symmetric.
        np.add(shifted[shift], shifted[-1 - shift], out=pair)
        pair *= taps[shift]
        total += pair
    return total


def _ssim_of_tile(reference: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """Return SSIM summed over the texels of a tile whose borders have the window's reach: `[C]` float64."""
    moments = np.empty((4, *reference.shape), np.float32)
    x, y, squares, product = moments
    np.multiply(reference, np.float32(1 / 255), out=x)
    np.multiply(decoded, np.float32(1 / 255), out=y)
    np.multiply(x, y, out=product)
    # The two variances are needed as their sum alone.
    np.multiply(x, x, out=squares)
    squares += y * y
    mean_x, mean_y, squares, product = _filtered(_filtered(moments, 1), 2)
    mean_product, mean_squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    c1, c2 = np.float32(0.01**2), np.float32(0.03**2)
    similarity = (
        (2 * mean_product + c1)
        * (2 * (product - mean_product) + c2)
        / ((mean_squares + c1) * (squares - mean_squares + c2))
    )
    return similarity.sum((0, 1), dtype=np.float64)


def ssim(reference: np.ndarray, decoded: np.ndarray) -> float | None:
    """Return `ssim_of_channels` of uint8 `[H, W]` or `[H, W, C]` images, mean over channels; `None` below 11 texels."""
    if reference.ndim == 2:
        reference, decoded = reference[..., None], decoded[..., None]
    values = ssim_of_channels(reference, decoded, range(reference.shape[2]))
    return None if values is None else float(values.mean())


def material_ssim(reference: np.ndarray, decoded: np.ndarray, present: Mapping[str, bool]) -> dict[str, float | None]:
    """Return SSIM of each present map of uint8 `[H, W, 11]` sets, and `overall`, their mean; `None` below 11 texels."""
    ranges = present_ranges(present)
    if not ranges:
        raise ValueError("no map is present")
    wanted = [channel for channels in ranges.values() for channel in range(channels.start, channels.stop)]
    of_channels = ssim_of_channels(reference, decoded, wanted)
    if of_channels is None:
        return {"overall": None, **dict.fromkeys(ranges)}
    values = {
        name: float(np.mean([of_channels[wanted.index(channel)] for channel in range(channels.start, channels.stop)]))
        for name, channels in ranges.items()
    }
    return {"overall": sum(values.values()) / len(values), **values}


def normal_angle(reference: np.ndarray, decoded: np.ndarray) -> float:
    """Return the mean angle in degrees between the unit normals coded in uint8 `[H, W, 3]` maps.

    >>> up, right = np.array([[[128, 128, 255]]], np.uint8), np.array([[[255, 128, 128]]], np.uint8)
    >>> round(normal_angle(up, right))
    90
    """
    total = 0.0
    for ours, theirs in _row_blocks(reference, decoded):
        a, b = (block.astype(np.float64) / 127.5 - 1 for block in (ours, theirs))
        # atan2 keeps its precision at small angles, where arccos of the dot product does not.
        total += np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(axis=-1)).sum()
    return math.degrees(total / (reference.shape[0] * reference.shape[1]))


def flip(reference: np.ndarray, decoded: np.ndarray) -> float | None:
    """Return the mean FLIP error, 0 (equal) to 1, of sRGB uint8 `[H, W, 3]` images; `None` without `flip-evaluator`.

    Andersson et al. 2020, low dynamic range, 67 pixels per degree.
    """
    try:
        import flip_evaluator
    except ImportError:
        return None
    images = [np.ascontiguousarray(image, np.float32) / 255 for image in (reference, decoded)]
    return float(flip_evaluator.evaluate(*images, "LDR", applyMagma=False)[1])
