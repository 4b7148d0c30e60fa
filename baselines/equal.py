"""Comparisons at equal rate and at equal error, with what is known where the curve that is compared with ends.

A curve is a list of (bits per texel, value). Between its points values are interpolated over the logarithm of the rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from baselines.bjontegaard import Point, interpolated, psnr_at, rising_curve


@dataclass(frozen=True)
class Figure:
    """A number, or one that the true value is known to be above or below."""

    value: float
    relation: str = ""
    """`>`: the true value is larger, `<`: it is smaller, `~`: a mean of both; empty: this is the value."""

    def text(self, form: str) -> str:
        """Write it with a format such as `+.2f`.

        >>> Figure(2.5, ">").text("+.2f")
        '> +2.50'
        """
        return f"{self.relation} {self.value:{form}}".strip()


def gain_at_equal_rate(curve: Sequence[Point], bpp: float, psnr_db: float) -> Figure | None:
    """Return how far `psnr_db` lies above a curve at a rate, dB; `None` where the curve has no points.

    Below the curve's lowest rate the gain over that point is exceeded, above its highest rate it is not reached.

    >>> gain_at_equal_rate([(2, 30), (8, 34)], 1, 31)
    Figure(value=1, relation='>')
    """
    rising = rising_curve(curve)
    if not rising:
        return None
    at_rate = psnr_at(curve, bpp)
    if at_rate is not None:
        return Figure(psnr_db - at_rate)
    if len(rising) == 1 and abs(bpp / rising[0][0] - 1) < 1e-6:
        return Figure(psnr_db - rising[0][1])
    if bpp < rising[0][0]:
        return Figure(psnr_db - rising[0][1], ">")
    return Figure(psnr_db - rising[-1][1], "<")


def rate_of_equal_error(curve: Sequence[Point], error: float) -> Figure | None:
    """Return the bits per texel at which a curve of (bits per texel, error) has an error; `None` without points.

    More than the highest rate where no point is so good, less than the lowest where all are better.

    >>> rate_of_equal_error([(2, 0.08), (8, 0.04)], 0.06).value, rate_of_equal_error([(2, 0.08), (8, 0.04)], 0.03)
    (4.0, Figure(value=8, relation='>'))
    """
    falling = rising_curve([(bpp, -value) for bpp, value in curve])
    if not falling:
        return None
    rates, qualities = np.array(falling, np.float64).T
    if -error > qualities[-1]:
        return Figure(falling[-1][0], ">")
    if -error < qualities[0]:
        return Figure(falling[0][0], "<")
    if len(rates) == 1:
        return Figure(falling[0][0])
    return Figure(float(2 ** interpolated(qualities, np.log2(rates), -error)))


def mean_figure(figures: Iterable[Figure | None]) -> Figure | None:
    """Return the mean of those that are there; of limits in one direction it is such a limit itself."""
    known = [figure for figure in figures if figure is not None]
    if not known:
        return None
    relations = {figure.relation for figure in known} - {""}
    relation = "" if not relations else relations.pop() if len(relations) == 1 else "~"
    return Figure(sum(figure.value for figure in known) / len(known), relation)
