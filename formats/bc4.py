"""BC4 and BC5 blocks: two 8-bit ends and, for each of 16 texels, one of eight values that follow from them.

The values are either the ends and six between them, or the ends, four between them, 0 and 255. The ends are searched,
because the plain choice, the least and greatest texel, loses 1 to 3 dB: least squares from ends at several insets, then
the neighbours of the best. BC5 is two blocks of BC4, one a channel.
"""

from __future__ import annotations

import itertools

import numpy as np

BC4_ENCODER_VERSION = 1
"""Raised where blocks come out otherwise than before, so that measurements kept from before are not used."""
STEPS = 7
"""Steps between the two ends."""
STEPS_WITH_LIMITS = 5
"""Steps between the two ends where 0 and 255 are values of their own, which stand for the two steps beyond these."""
_NEAR_LIMITS = 4
"""Blocks with texels as near to 0 or 255 as this are tried with 0 and 255, and the ends laid around the others."""
_INSETS = (0, 0.1)
"""Where the search begins: parts of the range of values that each end lies within it."""
_NEIGHBOURS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1))
_ROUNDS = 2
"""Times that the neighbours of the best ends are tried."""
_BLOCKS_AT_ONCE = 1 << 15


def _nearest(blocks: np.ndarray, high: np.ndarray, low: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return steps from `high` down to `low` of every texel `[N, 16]`, and each block's squared error `[N]`."""
    span = np.maximum(high - low, 1)
    steps = np.clip(np.rint((high - blocks) * (count / span)), 0, count)
    error = np.square(high - steps * ((high - low) / count) - blocks)
    if count == STEPS_WITH_LIMITS:
        for step, limit in ((count + 1, 0), (count + 2, 255)):
            limit_error = np.square(limit - blocks)
            steps = np.where(limit_error < error, step, steps)
            error = np.minimum(limit_error, error)
    return steps, error.sum(axis=1)


def _refit(blocks: np.ndarray, steps: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends `[N, 1]`, in 8 bits, that suit the steps best by least squares."""
    between = steps <= count
    to_low = between * (steps / count)
    to_high = between - to_low
    hh, hl, ll = (part.sum(axis=1) for part in (to_high * to_high, to_high * to_low, to_low * to_low))
    hb, lb = (to_high * blocks).sum(axis=1), (to_low * blocks).sum(axis=1)
    determinant = hh * ll - hl * hl
    # All texels at one step: any ends on a line do, and the old ones are kept by their error.
    scale = 1 / np.where(np.abs(determinant) < 1e-6, np.inf, determinant)
    ends = np.stack([(hb * ll - lb * hl) * scale, (lb * hh - hb * hl) * scale])
    high, low = np.clip(np.rint(ends), 0, 255)[..., None]
    return high, low


class _Search:
    """The best ends `[N, 1]` found for blocks `[N, 16]`, with the steps and errors that they give."""

    def __init__(self, blocks: np.ndarray, high: np.ndarray, low: np.ndarray, count: int) -> None:
        self.blocks, self.count, self.high, self.low = blocks, count, high, low
        self.steps, self.error = _nearest(blocks, high, low, count)
        span = high - low
        for from_high, from_low in itertools.product(_INSETS, _INSETS):
            steps = self._offer(np.rint(high - from_high * span), np.rint(low + from_low * span))
            self._offer(*_refit(blocks, steps, count))
        self._offer(*_refit(blocks, self.steps, count))
        for _ in range(_ROUNDS):
            high, low = self.high, self.low
            for up, down in _NEIGHBOURS:
                self._offer(np.clip(high + up, 0, 255), np.clip(low + down, 0, 255))

    def _offer(self, high: np.ndarray, low: np.ndarray) -> np.ndarray:
        """Keep these ends where they are better; returns their steps."""
        steps, error = _nearest(self.blocks, high, low, self.count)
        # The order of the ends tells which eight values are meant.
        better = (error < self.error) & (high > low)[:, 0]
        column = better[:, None]
        self.high, self.low = np.where(column, high, self.high), np.where(column, low, self.low)
        self.steps, self.error = np.where(column, steps, self.steps), np.where(better, error, self.error)
        return steps


def _encode(blocks: np.ndarray) -> np.ndarray:
    """Return blocks `[N, 16]` of values 0 .. 255 as `[N, 8]` bytes."""
    highest, lowest = blocks.max(axis=1, keepdims=True), blocks.min(axis=1, keepdims=True)
    found = _Search(blocks, highest, lowest, STEPS)
    first, second, steps = found.high, found.low, found.steps
    # Index 0 is the high end, 1 the low one, 2 to 7 lie between them.
    indices = np.where(steps == 0, 0, np.where(steps == STEPS, 1, steps + 1))

    at_limits = ((lowest <= _NEAR_LIMITS) | (highest >= 255 - _NEAR_LIMITS))[:, 0] & (found.error > 0)
    part = blocks[at_limits]
    inside = (part > _NEAR_LIMITS) & (part < 255 - _NEAR_LIMITS)
    high = np.where(inside, part, 0).max(axis=1, keepdims=True)
    low = np.minimum(np.where(inside, part, 255).min(axis=1, keepdims=True), high)
    limited = _Search(part, high, low, STEPS_WITH_LIMITS)
    better = limited.error < found.error[at_limits]
    rows, steps = np.flatnonzero(at_limits)[better], limited.steps[better]
    first[rows], second[rows] = limited.low[better], limited.high[better]
    # Index 0 is the low end, 1 the high one, 2 to 5 lie between them, 6 is 0 and 7 is 255.
    between = np.where(steps == 0, 1, np.where(steps == STEPS_WITH_LIMITS, 0, STEPS_WITH_LIMITS + 1 - steps))
    indices[rows] = np.where(steps > STEPS_WITH_LIMITS, steps, between)

    packed = (indices.astype(np.uint64) << (3 * np.arange(16, dtype=np.uint64))).sum(axis=1, dtype=np.uint64)
    packed = packed << np.uint64(16) | second[:, 0].astype(np.uint64) << np.uint64(8) | first[:, 0].astype(np.uint64)
    return packed.astype("<u8").view(np.uint8).reshape(-1, 8)


def bc4_blocks(channel: np.ndarray) -> np.ndarray:
    """Compress uint8 `[H, W]`, both sides multiples of 4, to uint8 `[blocks, 8]`, row of blocks after row."""
    height, width = channel.shape
    blocks = channel.reshape(height // 4, 4, width // 4, 4).swapaxes(1, 2).reshape(-1, 16)
    out = np.empty((len(blocks), 8), np.uint8)
    for start in range(0, len(blocks), _BLOCKS_AT_ONCE):
        part = slice(start, start + _BLOCKS_AT_ONCE)
        out[part] = _encode(blocks[part].astype(np.float32))
    return out


def bc5_blocks(channels: np.ndarray) -> np.ndarray:
    """Compress the first two channels of uint8 `[H, W, C]`, sides multiples of 4, to uint8 `[blocks, 16]`."""
    return np.concatenate([bc4_blocks(channels[..., channel]) for channel in (0, 1)], axis=1)


def bc4_texels(blocks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Decompress uint8 `[blocks, 8]` to uint8 `[height, width]`, multiples of 4, rounded to the nearest.

    The format's values are fractions, which a GPU does not cut off.
    """
    first, second = (blocks[:, end].astype(np.int32)[:, None] for end in (0, 1))
    k = np.arange(1, STEPS)
    # One half is added before the division.
    plain = (2 * ((STEPS - k) * first + k * second) + STEPS) // (2 * STEPS)
    k = np.arange(1, STEPS_WITH_LIMITS)
    between = (2 * ((STEPS_WITH_LIMITS - k) * first + k * second) + STEPS_WITH_LIMITS) // (2 * STEPS_WITH_LIMITS)
    limited = np.concatenate([between, 0 * first, 0 * first + 255], axis=1)
    values = np.concatenate([first, second, np.where(first > second, plain, limited)], axis=1).astype(np.uint8)
    packed = np.ascontiguousarray(blocks).view("<u8") >> np.uint64(16)
    indices = (packed >> (3 * np.arange(16, dtype=np.uint64))) & np.uint64(7)
    texels = np.take_along_axis(values, indices.astype(np.intp), axis=1)
    return texels.reshape(height // 4, width // 4, 4, 4).swapaxes(1, 2).reshape(height, width)


def bc5_texels(blocks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Decompress uint8 `[blocks, 16]` to uint8 `[height, width, 2]` as `bc4_texels` does."""
    return np.stack([bc4_texels(half, height, width) for half in (blocks[:, :8], blocks[:, 8:])], axis=2)
