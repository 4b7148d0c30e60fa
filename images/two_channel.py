"""Normal maps that store two components, which leaves the third to be worked out: z = sqrt(1 - x^2 - y^2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from images.depth import peak
from images.resampling import STRIP_ROWS

_SAMPLES = 64
"""Rows and columns that are looked at first: enough to rule a constant channel out."""


@dataclass(frozen=True)
class CompletedNormals:
    """A normal map whose third component was worked out."""

    texels: np.ndarray
    """`[H, W, 3]`, of the image's type."""
    notice: str
    channels: str
    """The two channels that hold x and y: LA, AG or RG."""


def completed_normals(image: np.ndarray, label: str) -> CompletedNormals | None:
    """Complete a normal map `[H, W, 2 to 4]` that has two components: all three channels.

    Two components are grey and alpha; red and green beside a blue that is 0 or full everywhere (BC5); or alpha and
    green, where red holds nothing (Unity's DXT5nm). None where the image has three.
    """
    channels = image.shape[2]
    if channels == 2:
        x, y, held, where = 0, 1, "LA", "in grey and alpha"
    elif channels == 4 and not _is_constant(image[..., 3]) and _red_is_unused(image):
        x, y, held, where = 3, 1, "AG", "in alpha and green (DXT5nm)"
    elif channels >= 3 and _is_constant(image[..., 2]) and image[0, 0, 2] in (0, peak(image)):
        # A flat map has a full blue as well, and keeps it.
        x, y, held, where = 0, 1, "RG", "in red and green alone"
    else:
        return None
    completed = np.empty((*image.shape[:2], 3), image.dtype)
    completed[..., 0], completed[..., 1] = image[..., x], image[..., y]
    changed = channels != 3
    for top in range(0, len(image), STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        completed[rows, :, 2] = _third(completed[rows, :, 0], completed[rows, :, 1])
        changed = changed or not np.array_equal(completed[rows, :, 2], image[rows, :, 2])
    if not changed:
        return None
    notice = f"{label} has its x and y {where}, completed with z = sqrt(1 - x^2 - y^2)"
    return CompletedNormals(completed, notice, held)


def _is_constant(channel: np.ndarray) -> bool:
    rows, columns = (max(1, side // _SAMPLES) for side in channel.shape)
    sample = channel[::rows, ::columns]
    return bool((sample == sample[0, 0]).all() and channel.min() == channel.max())


def _red_is_unused(image: np.ndarray) -> bool:
    """Whether red holds no x: constant, or a copy of green in a grey image."""
    if _is_constant(image[..., 0]):
        return not _is_constant(image[..., 1])
    rows, columns = (max(1, side // _SAMPLES) for side in image.shape[:2])
    sample = image[::rows, ::columns]
    if (sample[..., 0] != sample[..., 1]).any() or (sample[..., 1] != sample[..., 2]).any():
        return False
    return np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 1], image[..., 2])


def _third(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The coded z of coded x and y, of the same type."""
    most = np.float32(peak(x))
    a, b = (component * (2 / most) - 1 for component in (x.astype(np.float32), y.astype(np.float32)))
    z = (np.sqrt(np.maximum(1 - a * a - b * b, 0)) * np.float32(0.5) + np.float32(0.5)) * most
    return z if x.dtype == np.float32 else np.floor(z + np.float32(0.5)).astype(x.dtype)
