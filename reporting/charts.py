"""Line charts as SVG, legible on light and on dark ground."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib

matplotlib.use("Agg")
# An SVG that says nothing of the moment it was made, so that equal data give equal files.
matplotlib.rcParams["svg.hashsalt"] = "neural-texture"

from matplotlib import ticker  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

INK = "#808080"
COLORS = ("#e4572e", "#2e86de", "#28a745", "#a55eea", "#d4a017", "#17a2b8", "#d6336c", "#7f8c8d")


@dataclass
class Series:
    """Points of one line; drawn as a marker alone where there is one point."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False


def line_chart(series: Sequence[Series], x_label: str, y_label: str, *, log_x: bool = False, log_y: bool = False,
               markers: bool = True, size: tuple[float, float] = (8, 4.5)) -> bytes:
    """Draw lines over common axes and return the chart as SVG."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    for index, line in enumerate(series):
        axes.plot(line.x, line.y, label=line.label, color=COLORS[index % len(COLORS)], linewidth=1.6,
                  linestyle="--" if line.dashed else "-", marker="o" if markers or len(line.x) == 1 else "",
                  markersize=4.5)
    if log_x:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    if log_y:
        axes.set_yscale("log")
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
