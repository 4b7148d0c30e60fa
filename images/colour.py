"""The piecewise sRGB transfer curve of IEC 61966-2-1."""

from __future__ import annotations

import numpy as np


def srgb_to_linear(coded: np.ndarray) -> np.ndarray:
    """Decode sRGB values in [0, 1] to linear light, same shape, float32.

    >>> float(srgb_to_linear(np.float32(0.5)).round(4))
    0.214
    """
    coded = np.asarray(coded, np.float32)
    return np.where(coded <= 0.04045, coded / 12.92, ((np.maximum(coded, 0) + 0.055) / 1.055) ** 2.4).astype(np.float32)


def linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    """Code linear light in [0, 1] as sRGB, same shape, float32.

    >>> float(linear_to_srgb(np.float32(0.214)).round(2))
    0.5
    """
    linear = np.asarray(linear, np.float32)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 1e-8) ** (1 / 2.4) - 0.055).astype(
        np.float32
    )
