"""BC4 and BC5 blocks: two 8-bit ends and, for each of 16 texels, which of eight values between them it takes.

The ends are searched, because the plain choice, the least and greatest texel, loses 1 to 3 dB: least squares from ends
at several insets, then the neighbours of the best. BC5 is two blocks of BC4, one a channel.
"""

from __future__ import annotations

import itertools

import numpy as np

BC4_ENCODER_VERSION = 1
"""Raised where blocks come out otherwise than before, so that measurements kept from before are not used."""
STEPS = 7
"""Steps between the two ends."""
_INSETS = (0, 0.1)
"""Where the search begins: parts of the range of values that each end lies within it."""
_NEIGHBOURS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1))
_ROUNDS = 2
"""Times that the neighbours of the best ends are tried."""
_BLOCKS_AT_ONCE = 1 << 15


def _nearest(blocks: np.ndarray, high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return steps from `high` down to `low` of every texel `[N, 16]`, and each block's squared error `[N]`."""
    span = np.maximum(high - low, 1)
    steps = np.clip(np.rint((high - blocks) * (STEPS / span)), 0, STEPS)
    return steps, np.square(high - steps * ((high - low) / STEPS) - blocks).sum(axis=1)


def _refit(blocks: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends `[N, 1]`, in 8 bits, that suit the steps best by least squares."""
    to_low = steps / STEPS
    to_high = 1 - to_low
    hh, hl, ll = (part.sum(axis=1) for part in (to_high * to_high, to_high * to_low, to_low * to_low))
    hb, lb = (to_high * blocks).sum(axis=1), (to_low * blocks).sum(axis=1)
    determinant = hh * ll - hl * hl
    # All texels at one step: any ends on a line do, and the old ones are kept by their error.
    scale = 1 / np.where(np.abs(determinant) < 1e-6, np.inf, determinant)
    ends = np.stack([(hb * ll - lb * hl) * scale, (lb * hh - hb * hl) * scale])
    high, low = np.clip(np.rint(ends), 0, 255)[..., None]
    return high, low


class _Search:
    """The best ends so far of blocks `[N, 16]`, and the steps and errors that they give."""

    def __init__(self, blocks: np.ndarray) -> None:
        self.blocks = blocks
        self.high, self.low = blocks.max(axis=1, keepdims=True), blocks.min(axis=1, keepdims=True)
        self.steps, self.error = _nearest(blocks, self.high, self.low)

    def offer(self, high: np.ndarray, low: np.ndarray) -> np.ndarray:
        """Keep the ends `[N, 1]` where they are better; returns their own steps `[N, 16]`."""
        steps, error = _nearest(self.blocks, high, low)
        # Ends in the other order would mean six values, 0 and 255.
        better = (error < self.error) & (high > low)[:, 0]
        column = better[:, None]
        self.high, self.low = np.where(column, high, self.high), np.where(column, low, self.low)
        self.steps, self.error = np.where(column, steps, self.steps), np.where(better, error, self.error)
        return steps


def _encode(blocks: np.ndarray) -> np.ndarray:
    """Return blocks `[N, 16]` of values 0 .. 255 as `[N, 8]` bytes."""
    best = _Search(blocks)
    highest, lowest = best.high, best.low
    for from_high, from_low in itertools.product(_INSETS, _INSETS):
        span = highest - lowest
        steps = best.offer(np.rint(highest - from_high * span), np.rint(lowest + from_low * span))
        best.offer(*_refit(blocks, steps))
    best.offer(*_refit(blocks, best.steps))
    for _ in range(_ROUNDS):
        high, low = best.high, best.low
        for up, down in _NEIGHBOURS:
            best.offer(np.clip(high + up, 0, 255), np.clip(low + down, 0, 255))
    high, low, steps = best.high, best.low, best.steps
    # Index 0 is the high end, 1 the low one, 2 to 7 lie between them.
    indices = np.where(steps == 0, 0, np.where(steps == STEPS, 1, steps + 1)).astype(np.uint64)
    packed = (indices << (3 * np.arange(16, dtype=np.uint64))).sum(axis=1, dtype=np.uint64)
    packed = packed << np.uint64(16) | low[:, 0].astype(np.uint64) << np.uint64(8) | high[:, 0].astype(np.uint64)
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
