"""The places in their cells that the texels of a material's mips have: few where cells are a whole number of texels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from images.mips import mip_size

MOST_PLACES = 128
"""Places beyond which folding is not tried: two grids with cells of 8 texels have 64, and coarse mips some more."""


@dataclass(frozen=True)
class Place:
    """A texel's place along both axes, (x, y)."""

    cells: tuple[tuple[Fraction, ...], tuple[Fraction, ...]]
    """In each gathered grid's cell, 0 to 1 from tap to tap."""
    period: tuple[Fraction, Fraction] | None
    """In the period of the positional encoding, where places tell it."""


@dataclass(frozen=True)
class Places:
    """All places, and which texel has which."""

    places: list[Place]
    periods: list[tuple[int, int]]
    """Per mip, after how many texels along the width and the height places repeat."""
    firsts: list[int]
    """Per mip, its first place; that of texel (x, y) is `(y mod py) * px + x mod px` further."""
    tell_encoding: bool
    """Whether the positional encoding is the same for all texels at a place."""


def find_places(manifest: dict, mips: int) -> Places | None:
    """Return the places of all texels of the first `mips` mips; None: there are too many.

    They tell the positional encoding too where there is none or it repeats soon enough.
    """
    encoding = manifest["positional_encoding"]
    if encoding["n_frequencies"] == 0:
        return _find(manifest, mips, None, True)
    if encoding["period_cells"]:
        found = _find(manifest, mips, encoding["period_cells"], True)
        if found:
            return found
    return _find(manifest, mips, None, False)


def _find(manifest: dict, mips: int, period_cells: int | None, tell_encoding: bool) -> Places | None:
    gathered = [g for g, grid in enumerate(manifest["grids"]) if grid["interpolation"] == "gather"]
    known: dict[tuple, int] = {}
    places: list[Place] = []
    periods, firsts = [], []
    for mip in range(mips):
        sides = [
            grid["base_resolution"] << level for grid, level in zip(manifest["grids"], manifest["mip_levels"][mip])
        ]
        axes = []
        for size in mip_size(manifest["width"], manifest["height"], mip):
            repeats = [Fraction(sides[g], size) for g in gathered]
            period = Fraction(sides[0], size * period_cells) if period_cells else None
            # A place repeats after as many texels as make whole cells, or periods.
            count = math.lcm(*(step.denominator for step in repeats), period.denominator if period else 1)
            if count > MOST_PLACES:
                return None
            centres = [Fraction(2 * x + 1, 2) for x in range(count)]
            axes.append(
                [
                    (
                        tuple((centre * step - Fraction(1, 2)) % 1 for step in repeats),
                        None if period is None else centre * period % 1,
                    )
                    for centre in centres
                ]
            )
        key = tuple(map(tuple, axes))
        if key not in known:
            known[key] = len(places)
            places += [
                Place((x, y), None if px is None or py is None else (px, py)) for y, py in axes[1] for x, px in axes[0]
            ]
            if len(places) > MOST_PLACES:
                return None
        periods.append((len(axes[0]), len(axes[1])))
        firsts.append(known[key])
    return Places(places, periods, firsts, tell_encoding)


def place_functions(place: Place, grid: int, order: int) -> np.ndarray:
    """Return P_j(y) P_i(x) at a place in the cell of the `grid`-th gathered grid, j slow and i fast, (0, 0) left out."""
    x, y = (np.polynomial.legendre.legvander(2 * float(axis[grid]) - 1, order).reshape(-1) for axis in place.cells)
    return np.outer(y, x).reshape(-1)[1:]


def place_encoding(place: Place, manifest: dict) -> np.ndarray:
    """Return the positional encoding at a place: all of u's values, then all of v's."""
    encoding = manifest["positional_encoding"]
    if place.period is None:
        return np.zeros(0)
    octaves, phases = np.arange(encoding["n_frequencies"]), np.arange(encoding["phases"])
    values = []
    for within in place.period:
        t = 2.0 ** octaves[:, None] * float(within) + octaves[:, None] / 4 + phases / 4
        values.append((4 * np.abs(t - np.floor(t) - 0.5) - 1).reshape(-1))
    return np.concatenate(values)
