"""A material under light as a picture: on a wall that faces the viewer, and on a sphere.

What reports show beside maps, and the measure of an error that a viewer sees. `reporting/shading.py` has space, light
and formulas.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from images.colour import linear_to_srgb
from reporting.shading import STUDIO, Lighting, Surface, shade, surface

BLOCK_POINTS = 1 << 14
"""Points that are shaded at once: few enough for a processor's cache."""
_CODES = 1 << 14
"""Entries of the table that codes linear light; the darkest sRGB step spans five of them."""


def tone_map(radiance: np.ndarray) -> np.ndarray:
    """Return `[3, N]` linear light in [0, 1]: Khronos PBR Neutral (2024), which keeps base colours as they are.

    >>> tone_map(np.full((3, 1), 0.5)).ravel().round(2).tolist()
    [0.46, 0.46, 0.46]
    """
    least = radiance.min(0)
    mapped = radiance - np.where(least < 0.08, least - 6.25 * least * least, 0.04)
    peak = np.maximum(mapped.max(0), 1e-6)
    start, desaturation = 0.8 - 0.04, 0.15
    room = 1 - start
    # Below `start` nothing changes; above it, values close in on 1.
    bright = np.where(peak > start, 1 - room * room / np.maximum(peak + room - start, room), peak)
    grey = 1 / (desaturation * (peak - bright) + 1)
    return mapped * (bright / peak) * grey + bright * (1 - grey)


def to_srgb8(linear: np.ndarray) -> np.ndarray:
    """Code `[3, N]` linear light as sRGB, uint8 `[N, 3]`."""
    table = np.floor(linear_to_srgb(np.linspace(0, 1, _CODES, dtype=np.float32)) * 255 + 0.5).astype(np.uint8)
    index = (np.clip(linear, 0, 1) * (_CODES - 1) + 0.5).astype(np.int32)
    return np.ascontiguousarray(table[index].T)


def _shade_blocks(
    points: Surface, normal: np.ndarray, position: np.ndarray, lighting: Lighting, samples: int = 1
) -> np.ndarray:
    """Return tone-mapped light `[3, N / samples]`, the mean of each `samples` points in a row."""
    count = normal.shape[1]
    result = np.empty((3, count // samples), np.float32)
    step = BLOCK_POINTS - BLOCK_POINTS % samples
    for first in range(0, count, step):
        block = slice(first, min(first + step, count))
        # Before the mean, as a display would: a highlight of one sample does not bleed into its pixel.
        mapped = tone_map(shade(points.part(block), normal[:, block], position[:, block], lighting))
        result[:, first // samples : block.stop // samples] = mapped.reshape(3, -1, samples).mean(2)
    return result


def render_plane(
    texels: np.ndarray,
    present: Mapping[str, bool],
    normal_convention: str,
    lighting: Lighting = STUDIO,
    rows: slice = slice(None),
    columns: slice = slice(None),
) -> np.ndarray:
    """Return a wall of texels `[H, W, 11]`, uint8 in file coding, as an sRGB picture uint8, a texel a pixel.

    The wall spans -1 .. 1 along its longer side. `rows` and `columns` are the part of it that is drawn, which is lit as
    in the whole.
    """
    height, width = texels.shape[:2]
    shown = texels[rows, columns]
    points = surface(shown.reshape(-1, texels.shape[2]), present, normal_convention)
    pixel = np.float32(2 / max(height, width))
    y, x = np.meshgrid(
        (np.arange(height, dtype=np.float32)[rows] + (0.5 - height / 2)) * pixel,
        (np.arange(width, dtype=np.float32)[columns] + (0.5 - width / 2)) * pixel,
        indexing="ij",
    )
    position = np.stack([x.ravel(), -y.ravel(), np.zeros(x.size, np.float32)])
    light = _shade_blocks(points, points.normal, position, lighting)
    return to_srgb8(light).reshape(*shown.shape[:2], 3)


def render_sphere(
    texels: np.ndarray,
    present: Mapping[str, bool],
    normal_convention: str,
    lighting: Lighting = STUDIO,
    *,
    side: int = 384,
    around: float = 2.0,
    samples: int = 1,
    background: tuple[int, int, int] = (28, 28, 30),
) -> np.ndarray:
    """Return a sphere of radius 1 wrapped in texels `[H, W, 11]`, uint8 in file coding, as sRGB uint8 `[side, side, 3]`.

    The texture repeats `around` times along the equator and half as often from pole to pole. Each pixel is the mean of
    `samples x samples` points, each of them read bilinearly.
    """
    sub = side * samples
    offset = (np.arange(sub, dtype=np.float32) + 0.5) / sub * 2.04 - 1.02
    # Samples of a pixel lie one after another.
    order = offset.reshape(side, samples)
    y = np.broadcast_to(-order[:, None, :, None], (side, side, samples, samples)).reshape(-1)
    x = np.broadcast_to(order[None, :, None, :], (side, side, samples, samples)).reshape(-1)
    radius2 = x * x + y * y
    inside = (radius2 < 1).reshape(-1, samples * samples)
    shown = inside.any(1)
    chosen = np.repeat(shown, samples * samples)
    # A sample just outside of the outline takes the outline's point, and counts as background below.
    scale = 1 / np.sqrt(np.maximum(radius2[chosen], 1))
    x, y = x[chosen] * scale, y[chosen] * scale
    z = np.sqrt(np.maximum(1 - x * x - y * y, np.float32(1e-6)))
    position = np.stack([x, y, z])
    u = (np.arctan2(x, z) / np.float32(2 * np.pi) + np.float32(0.5)) * around
    v = np.arccos(np.clip(y, -1, 1)) / np.float32(np.pi) * np.float32(around / 2)
    points = surface(_bilinear(texels, u, v), present, normal_convention)
    # u runs to the right around the axis y; v runs down, and green points up.
    level = 1 / np.sqrt(np.maximum(x * x + z * z, np.float32(1e-6)))
    tangent = np.stack([z * level, np.zeros_like(x), -x * level])
    bitangent = np.stack([-y * x * level, 1 / level, -y * z * level])
    normal = tangent * points.normal[0] + bitangent * points.normal[1] + position * points.normal[2]
    light = _shade_blocks(points, normal, position, lighting, samples * samples)
    covered = inside[shown].mean(1, dtype=np.float32)[:, None]
    picture = np.full((side * side, 3), background, np.uint8)
    picture[shown] = to_srgb8(light) * covered + picture[shown] * (1 - covered) + 0.5
    return picture.reshape(side, side, 3)


def _bilinear(texels: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return `[H, W, C]` uint8 at wrapped coordinates, texel centres at half integers, as float32 `[N, C]`."""
    height, width, channels = texels.shape
    flat = texels.reshape(-1, channels)
    result = np.empty((len(u), channels), np.float32)
    for first in range(0, len(u), BLOCK_POINTS):
        block = slice(first, first + BLOCK_POINTS)
        x, y = u[block] * width - np.float32(0.5), v[block] * height - np.float32(0.5)
        left, top = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
        t, s = (x - left)[:, None], (y - top)[:, None]
        rows, columns = (top % height * width, (top + 1) % height * width), (left % width, (left + 1) % width)
        upper, lower = (flat[row + columns[0]] * (1 - t) + flat[row + columns[1]] * t for row in rows)
        result[block] = upper * (1 - s) + lower * s
    return result
