"""Mean differences between rate-distortion curves.

G. Bjontegaard, "Calculation of average PSNR differences between RD-curves", ITU-T VCEG-M33 (2001), with the
piecewise-cubic interpolation of VCEG-AI11 (2008): PCHIP, which unlike the first document's polynomial cannot overshoot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.interpolate import PchipInterpolator

Point = tuple[float, float]
"""Bits per texel and PSNR in dB."""


def rising_curve(points: Sequence[Point]) -> list[Point]:
    """Return the points sorted by rate without those that a cheaper point equals or beats, so both axes rise strictly.

    >>> rising_curve([(4, 30), (2, 28), (3, 27), (4, 31)])
    [(2, 28), (4, 31)]
    """
    curve: list[Point] = []
    for bpp, psnr_db in sorted(points, key=lambda point: (point[0], -point[1])):
        if not curve or psnr_db > curve[-1][1]:
            curve.append((bpp, psnr_db))
    return curve


def _pchip(x: np.ndarray, y: np.ndarray) -> PchipInterpolator:
    """Return the monotone piecewise cubic through points; SciPy is slow to import, so it is only where curves are."""
    from scipy.interpolate import PchipInterpolator

    return PchipInterpolator(x, y)


def interpolated(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """Return the monotone piecewise cubic through rising `x` [N] and `y` [N] at a place between the first and last x."""
    return float(_pchip(x, y)(np.clip(at, x[0], x[-1])))


def _mean_difference(anchor: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> float | None:
    """Return the mean of test's y minus anchor's y over the x that both cover; `None` where they share no interval."""
    if len(anchor[0]) < 2 or len(test[0]) < 2:
        return None
    low, high = max(anchor[0][0], test[0][0]), min(anchor[0][-1], test[0][-1])
    if high <= low:
        return None
    ours, theirs = (_pchip(x, y).integrate(low, high) for x, y in (test, anchor))
    return float((ours - theirs) / (high - low))


def _axes(points: Sequence[Point]) -> tuple[np.ndarray, np.ndarray]:
    curve = np.array(rising_curve(points), np.float64).reshape(-1, 2)
    return np.log10(curve[:, 0]), curve[:, 1]


def bd_psnr(anchor: Sequence[Point], test: Sequence[Point]) -> float | None:
    """Return the mean PSNR gain of `test` over `anchor` in dB at equal rate; `None` where the rates do not overlap.

    >>> round(bd_psnr([(1, 30), (2, 33), (4, 36)], [(1, 31), (2, 34), (4, 37)]), 6)
    1.0
    """
    return _mean_difference(_axes(anchor), _axes(test))


def bd_rate(anchor: Sequence[Point], test: Sequence[Point]) -> float | None:
    """Return the mean change of rate of `test` against `anchor` in percent at equal PSNR (negative: fewer bits).

    >>> round(bd_rate([(1, 30), (2, 33), (4, 36)], [(0.5, 30), (1, 33), (2, 36)]), 6)
    -50.0
    """
    mean = _mean_difference(_axes(anchor)[::-1], _axes(test)[::-1])
    return None if mean is None else (10**mean - 1) * 100


def psnr_at(curve: Sequence[Point], bpp: float) -> float | None:
    """Return a curve's PSNR in dB at a rate, interpolated over log rate; `None` outside the curve."""
    x, y = _axes(curve)
    if len(x) < 2 or not x[0] - 1e-9 <= math.log10(bpp) <= x[-1] + 1e-9:
        return None
    return interpolated(x, y, math.log10(bpp))
