"""Meshes that show a material: a sphere and a plane, with normals, tangents and texture coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh, counter-clockwise from the front, as float32 attributes of N vertices and uint32 indices.

    The texture's first row is at v = 0. The tangent points along u; cross(normal, tangent) * w points to the texture's
    top, as glTF has it.
    """

    positions: np.ndarray
    """`[N, 3]`, y up."""
    normals: np.ndarray
    """`[N, 3]`"""
    tangents: np.ndarray
    """`[N, 4]`"""
    uvs: np.ndarray
    """`[N, 2]`"""
    indices: np.ndarray
    """`[3 T]`"""


def _grid(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return s and t from 0 to 1 of the vertices of a grid of cells, row by row, and two triangles a cell."""
    t, s = (part.ravel() for part in np.mgrid[: rows + 1, : columns + 1])
    corner = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).ravel()
    right, below = corner + 1, corner + columns + 1
    triangles = np.stack([corner, below, right, right, below, below + 1], axis=1).reshape(-1, 3)
    return s / columns, t / rows, triangles


def _mesh(positions: tuple, normals: tuple, tangents: tuple, uvs: tuple, triangles: np.ndarray) -> Mesh:
    def stacked(columns: tuple) -> np.ndarray:
        return np.stack(np.broadcast_arrays(*columns), axis=-1).astype(np.float32)

    return Mesh(
        stacked(positions),
        stacked(normals),
        stacked((*tangents, 1.0)),
        stacked(uvs),
        triangles.ravel().astype(np.uint32),
    )


def plane(width: float, height: float, cells: int = 32) -> Mesh:
    """Return an upright plane around the origin that faces +z, with the texture on it once."""
    s, t, triangles = _grid(cells, cells)
    flat = np.zeros_like(s)
    return _mesh(
        ((s - 0.5) * width, (0.5 - t) * height, flat), (flat, flat, flat + 1), (flat + 1, flat, flat), (s, t), triangles
    )


def sphere(radius: float, repeats: int, rings: int = 48, segments: int = 96) -> Mesh:
    """Return a sphere around the origin with the texture once from pole to pole and `repeats` times around."""
    s, t, triangles = _grid(rings, segments)
    # u = 0 lies behind, so that the seam does not show from +z.
    around, down = 2 * np.pi * s, np.pi * t
    x, y, z = -np.sin(down) * np.sin(around), np.cos(down), -np.sin(down) * np.cos(around)
    # The cells at the poles are triangles: one of their two has no area.
    cell, half = np.divmod(np.arange(len(triangles)), 2)
    row = cell // segments
    whole = ~((row == 0) & (half == 0) | (row == rings - 1) & (half == 1))
    return _mesh(
        (radius * x, radius * y, radius * z),
        (x, y, z),
        (-np.cos(around), np.zeros_like(around), np.sin(around)),
        (s * repeats, t),
        triangles[whole],
    )
