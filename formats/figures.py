"""Quality figures of a manifest: how they are written, and the states that one of them can be in.

A manifest lists a figure per mip, finest first: a number, or null where the decoded map is identical to the original.
A list ends before the first mip that the files do not hold, or for which there is no such figure (SSIM of a mip that is
smaller than its window). With `--dds_mips False` a mip is held where every grid is read at its finest level, which is
mip 0 alone unless all grids have one level; so the mips that an export holds are always the first ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import Enum


class State(Enum):
    """What a figure is where it is no number."""

    IDENTICAL = "identical"
    """The decoded map equals the original."""
    NOT_STORED = "not stored"
    """The files do not hold the grid levels that the mip reads."""
    NOT_MEASURED = "-"
    """The files hold the mip, but there is no such figure: nothing to compare with, or a mip too small for it."""


def stored_mips(manifest: Mapping) -> list[int]:
    """Return the mips that an export's files hold, by what its manifest says."""
    if manifest.get("dds_mips", True):
        return list(range(manifest["mips"]))
    finest = [grid["n_levels"] - 1 for grid in manifest["grids"]]
    return [mip for mip, levels in enumerate(manifest["mip_levels"]) if list(levels) == finest]


def figure(manifest: Mapping, metric: str, name: str, mip: int) -> float | State:
    """Return one quality figure of a manifest, or the state that it is in.

    `metric` is "psnr", "psnr_16bit", "ssim", "flip", "lpips" or "normal_angle_deg"; `name` is a map's name or
    "overall", and ignored where the manifest has one list alone (normal_angle_deg). Manifests of earlier releases, whose
    lists hold null for mips that are not stored or too small as well, give the same states.
    """
    if mip not in stored_mips(manifest):
        return State.NOT_STORED
    values = manifest.get(metric, ())
    if isinstance(values, Mapping):
        values = values.get(name, ())
    if mip >= len(values):
        return State.NOT_MEASURED
    if values[mip] is not None:
        return values[mip]
    if metric in ("psnr", "psnr_16bit"):
        return State.IDENTICAL
    # Only PSNR was always written for every mip, so its null tells what another figure's null means.
    psnr = figure(manifest, "psnr", "normal" if metric == "normal_angle_deg" else name, mip)
    return State.IDENTICAL if psnr is State.IDENTICAL else State.NOT_MEASURED


def figure_list(values: Iterable[float | State | None]) -> list[float | None]:
    """Return the figures of mips 0, 1, 2, ... as a manifest lists them.

    An infinite value (PSNR) or `State.IDENTICAL` becomes null; the list ends at the first that is no figure: `None`,
    `State.NOT_STORED` or `State.NOT_MEASURED`.

    >>> figure_list([36.2, math.inf, State.IDENTICAL, 40.0, None, None])
    [36.2, None, None, 40.0]
    """
    listed: list[float | None] = []
    for value in values:
        if value is None or value in (State.NOT_STORED, State.NOT_MEASURED):
            break
        listed.append(None if value is State.IDENTICAL or math.isinf(value) else float(value))
    return listed


def show(value: float | State, decimals: int = 2) -> str:
    """Write a figure with so many decimals, or its state in words.

    >>> show(0.98765, 4), show(State.NOT_STORED), show(State.NOT_MEASURED)
    ('0.9877', 'not stored', '-')
    """
    return value.value if isinstance(value, State) else f"{value:.{decimals}f}"


def show_db(value: float | State) -> str:
    """Write a PSNR, without its unit.

    >>> show_db(36.2091), show_db(math.inf), show_db(State.IDENTICAL)
    ('36.21', 'identical', 'identical')
    """
    return show(State.IDENTICAL if not isinstance(value, State) and math.isinf(value) else value)
