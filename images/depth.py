"""Values beyond 8 bits: the 8-bit code that everything reads, and beside it, in 16 bits, what it leaves out.

    value = code / 255 + fine * FINE_STEP

`code` is the value rounded to 8 bits, so `fine` spans half a code to either side. 16-bit values are held exactly, and
floating point to 2^-23, as fine as its numbers next to 1 are.
"""

from __future__ import annotations

import numpy as np

FINE_STEP = 1 / (65535 * 128)
"""What one unit of `fine` stands for: 1/128 of a 16-bit step, the smallest that fits."""

_ROUNDED_16BIT = ((np.arange(65536) * 255 + 32767) // 65535).astype(np.uint8)
"""Every 16-bit value rounded to 8 bits."""


def peak(texels: np.ndarray) -> int:
    """The code that stands for 1: 255, 65535, or 1 in floating point."""
    return 1 if texels.dtype.kind == "f" else np.iinfo(texels.dtype).max


def bits_of(texels: np.ndarray) -> int:
    """Bits of a texel's value: 8, 16, or 32 for floating point."""
    return 8 * texels.dtype.itemsize


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Round values in [0, 1] to 8 bits."""
    scaled = values * 255
    scaled += 0.5
    return np.clip(np.floor(scaled, out=scaled), 0, 255, out=scaled).astype(np.uint8)


def coarse_codes(texels: np.ndarray) -> np.ndarray:
    """Round texels of any depth to 8 bits: uint8, uint16, or floating point in [0, 1]."""
    if texels.dtype == np.uint8:
        return texels
    return _ROUNDED_16BIT[texels] if texels.dtype == np.uint16 else to_uint8(texels)


def fine_part(values: np.ndarray, code: np.ndarray) -> np.ndarray:
    """What 8-bit codes leave out of values in [0, 1] (float32 or float64) or uint16: int16 of the same shape."""
    if values.dtype == np.uint16:
        return ((values.astype(np.int32) - code.astype(np.int32) * 257) * 128).astype(np.int16)
    difference = np.subtract(values, code * np.float64(1 / 255), dtype=np.float64)
    return np.rint(difference / FINE_STEP).astype(np.int16)


def deep_values(code: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """Put codes and their fine part together: float32 in [0, 1]."""
    values = code * np.float64(1 / 255)
    values += fine * np.float64(FINE_STEP)
    return values.astype(np.float32)


def deep_codes(code: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """Round codes and their fine part to 16 bits: uint16, exact for what was read from 16 bits."""
    # Halves round up, as they do where values are rounded to 8 bits.
    return (code.astype(np.int32) * 257 + ((fine.astype(np.int32) + 64) >> 7)).clip(0, 65535).astype(np.uint16)
