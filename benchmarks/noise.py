"""Periodic noise, cells and filters that procedural materials are made of; every field wraps around without a seam.

Fields are float32 `[size, size]`, row first. `u` runs along a row, `v` down the rows; texel centres are at
(i + 0.5) / size.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

STRIP_ROWS = 256


def texel_centres(size: int) -> np.ndarray:
    """Coordinates of the texels of one axis, in [0, 1)."""
    return ((np.arange(size) + 0.5) / size).astype(np.float32)


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """The cubic step from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a: np.ndarray | float, b: np.ndarray | float, t: np.ndarray) -> np.ndarray:
    """Blend from a (t = 0) to b (t = 1)."""
    return a + (b - a) * t


def mix_color(a: np.ndarray | tuple, b: np.ndarray | tuple, t: np.ndarray) -> np.ndarray:
    """Blend colours `[..., 3]` by a field `[size, size]`, as float32 `[size, size, 3]`."""
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    out = np.empty((*t.shape, 3), np.float32)
    for top in range(0, len(t), STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        start, end = (color[rows] if color.ndim == 3 else color for color in (a, b))
        out[rows] = start + (end - start) * t[rows, :, None]
    return out


def _spline_axis(lattice: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Stretch one axis of a periodic lattice to `size` with the uniform cubic B-spline."""
    n = lattice.shape[axis]
    position = texel_centres(size).astype(np.float64) * n
    cell = np.floor(position).astype(int)
    t = position - cell
    weights = ((1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6)
    shape = (-1, 1) if axis == 0 else (1, -1)
    return sum(
        lattice.take((cell + k - 1) % n, axis) * w.astype(np.float32).reshape(shape) for k, w in enumerate(weights)
    )


def value_noise(size: int, cells_u: int, cells_v: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth random field with `cells_u x cells_v` independent values, of variance 1 or so."""
    lattice = rng.standard_normal((cells_v, cells_u), np.float32)
    return _spline_axis(_spline_axis(lattice, size, 1), size, 0) * np.float32(1.9)


def fbm(size: int, cells_u: int, cells_v: int, seed: int, octaves: int = 6, gain: float = 0.5) -> np.ndarray:
    """Sum of noise octaves, each twice as fine and `gain` as strong; octaves finer than two texels are left out.

    The variance is about 1 whatever the octaves; the coarse octaves are the same at every size.
    """
    total, power = np.zeros((size, size), np.float32), 0.0
    for octave in range(octaves):
        u, v = cells_u << octave, cells_v << octave
        power += gain ** (2 * octave)
        if max(u, v) <= size // 2:
            total += value_noise(size, u, v, np.random.default_rng((seed, octave))) * np.float32(gain**octave)
    return total / np.float32(np.sqrt(power))


def ridged(field: np.ndarray, width: float) -> np.ndarray:
    """Thin lines where a field crosses zero: 1 on the line, 0 from `width` on."""
    return 1 - smoothstep(0, width, np.abs(field))


def blur(field: np.ndarray, sigma: float) -> np.ndarray:
    """Periodic Gaussian blur of standard deviation `sigma`, in parts of the field's side."""
    size = len(field)
    frequency_v = np.fft.fftfreq(size, 1 / size)[:, None]
    frequency_u = np.fft.rfftfreq(size, 1 / size)[None, :]
    spectrum = np.fft.rfft2(field)
    spectrum *= np.exp(-2 * (np.pi * sigma * frequency_v) ** 2).astype(np.float32)
    spectrum *= np.exp(-2 * (np.pi * sigma * frequency_u) ** 2).astype(np.float32)
    return np.fft.irfft2(spectrum, s=field.shape).astype(np.float32)


def normal_from_height(height: np.ndarray, relief: float) -> np.ndarray:
    """OpenGL normal map (green up), float32 `[size, size, 3]` in [0, 1].

    `relief` is the height of the value 1 in parts of the side, so the slopes are the same at every size.
    """
    scale = np.float32(relief * len(height) / 2)
    normal = np.empty((*height.shape, 3), np.float32)
    normal[..., 0] = (np.roll(height, 1, 1) - np.roll(height, -1, 1)) * scale
    # Rows run down while the map's green points up, hence the other sign.
    normal[..., 1] = (np.roll(height, -1, 0) - np.roll(height, 1, 0)) * scale
    normal[..., 2] = 1
    normal /= np.sqrt((normal * normal).sum(-1, keepdims=True))
    return normal * 0.5 + 0.5


def occlusion_from_height(
    height: np.ndarray, strength: float, sigmas: tuple[float, ...] = (0.004, 0.012, 0.03)
) -> np.ndarray:
    """Ambient occlusion in [0, 1]: dark where a place lies below its surroundings, at several reaches."""
    depth = sum(np.maximum(blur(height, sigma) - height, 0) for sigma in sigmas)
    return np.exp(-strength * depth).astype(np.float32)


def save_map(path: Path, values: np.ndarray, **options: object) -> Path:
    """Save values in [0, 1], `[H, W]` or `[H, W, 3]`, as an 8-bit image."""
    coded = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), STRIP_ROWS):
        strip = values[top : top + STRIP_ROWS]
        coded[top : top + STRIP_ROWS] = np.clip(np.floor(strip * 255 + 0.5), 0, 255)
    Image.fromarray(coded).save(path, **options)
    return path
