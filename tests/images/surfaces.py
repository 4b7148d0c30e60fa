"""Surfaces to test with: random heights, their normals in either convention, and both as image files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image


def heights(side: int = 256, seed: int = 0, roughness: float = 1.5, angle: float | None = None) -> np.ndarray:
    """Tiling random heights `[side, side]` of deviation 1; with an angle, mostly grooves of that direction."""
    y, x = np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None]
    if angle is not None:
        x, y = x * np.cos(angle) + y * np.sin(angle), 10 * (y * np.cos(angle) - x * np.sin(angle))
    frequency = np.hypot(x, y)
    frequency[0, 0] = np.inf
    noise = np.fft.fft2(np.random.default_rng(seed).standard_normal((side, side)))
    field = np.fft.ifft2(noise * frequency**-roughness).real
    return field / field.std()


def normals(
    height: np.ndarray, *, directx: bool = False, slope: float = 0.3, noise: float = 0.0, seed: int = 9
) -> np.ndarray:
    """Normal vectors `[H, W, 3]` of heights, with slopes of that deviation and noise of so many times it."""
    p = np.roll(height, -1, 1) - np.roll(height, 1, 1)
    up = np.roll(height, 1, 0) - np.roll(height, -1, 0)
    scale = slope / np.sqrt((p**2 + up**2).mean())
    p, up = (part * scale for part in (p, up))
    if noise:
        p, up = (
            part + noise * slope * np.random.default_rng(seed + i).standard_normal(p.shape)
            for i, part in enumerate((p, up))
        )
    vectors = np.stack([-p, up if directx else -up, np.ones_like(p)], 2)
    return vectors / np.linalg.norm(vectors, axis=2, keepdims=True)


def coded(values: np.ndarray, bits: int = 8) -> np.ndarray:
    """Vectors or heights (about 4 deviations either way) as integers."""
    unit = values / 2 + 0.5 if values.ndim == 3 else values / 8 + 0.5
    most = 2**bits - 1
    return np.clip(np.floor(unit * most + 0.5), 0, most).astype(np.uint8 if bits == 8 else np.uint16)


def write(path: Path, texels: np.ndarray, **options: object) -> Path:
    Image.fromarray(texels).save(path, **options)
    return path


def as_jpeg(texels: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(texels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))
