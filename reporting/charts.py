"""Line charts as SVG, legible on light and on dark ground."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axis import Axis

INK = "#808080"
COLORS = (
    *("#e4572e", "#2e86de", "#28a745", "#a55eea", "#d4a017", "#17a2b8"),
    *("#d6336c", "#7f8c8d", "#8d5524", "#6b8e23", "#4b5fd6", "#c77dba"),
)
FEWEST_TICKS = 3


@dataclass
class Series:
    """Points of one line; drawn as a marker alone where there is one point."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False


def log_ticks(low: float, high: float, base: int) -> list[float]:
    """Return values to label on a logarithmic axis from `low` to `high`, at least two however short it is.

    Powers of two for `base` 2, else 1, 2 and 5 times the powers of ten; where fewer than three of these lie in the
    range, evenly spaced round values.

    >>> log_ticks(0.9, 30, 2), log_ticks(0.0021, 0.0083, 10)
    ([1.0, 2.0, 4.0, 8.0, 16.0], [0.003, 0.0045, 0.006, 0.0075])
    """
    from matplotlib.ticker import MaxNLocator

    steps = (1,) if base == 2 else (1, 2, 5)
    powers = range(math.floor(math.log(low, base)), math.ceil(math.log(high, base)) + 1)
    ticks = [step * float(base) ** power for power in powers for step in steps]
    inside = [tick for tick in ticks if low <= tick <= high]
    if len(inside) >= FEWEST_TICKS:
        return inside
    return [float(f"{tick:.12g}") for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]


def _label_log_axis(axis: Axis, low: float, high: float, base: int) -> None:
    from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator

    axis.set_major_locator(FixedLocator(log_ticks(low, high, base)))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_locator(NullLocator())


def line_chart(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
    markers: bool = True,
    size: tuple[float, float] = (8, 4.5),
) -> bytes:
    """Draw lines over common axes and return the chart as SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    # An SVG that says nothing of the moment it was made, so that equal data give equal files.
    with matplotlib.rc_context({"svg.hashsalt": "neural-texture"}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        for index, line in enumerate(series):
            axes.plot(
                line.x,
                line.y,
                label=line.label,
                color=COLORS[index % len(COLORS)],
                linewidth=1.6,
                linestyle="--" if line.dashed else "-",
                marker="o" if markers or len(line.x) == 1 else "",
                markersize=4.5,
            )
        if log_x:
            axes.set_xscale("log", base=2)
            _label_log_axis(axes.xaxis, *axes.get_xlim(), 2)
        if log_y:
            axes.set_yscale("log")
            _label_log_axis(axes.yaxis, *axes.get_ylim(), 10)
        axes.set_xlabel(x_label, color=INK)
        axes.set_ylabel(y_label, color=INK)
        axes.tick_params(which="both", colors=INK)
        axes.grid(True, color=INK, alpha=0.25, linewidth=0.6)
        for spine in axes.spines.values():
            spine.set_color(INK)
        if len(series) > 1:
            axes.legend(frameon=False, labelcolor=INK, fontsize=9)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        return buffer.getvalue()
