"""Decoded materials rendered beside their reference under the same light: a picture and its figures."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from reporting.metrics import flip, psnr
from reporting.pictures import amplified_error, image_grid, png_bytes
from reporting.rendering import render_plane, render_sphere
from reporting.report import Picture, Section, Table
from utils.threads import processors

WINDOW = 400
"""Side of the shown part of a wall, texels and pixels."""
SPHERE = 320
"""Side of a sphere's picture, pixels."""
DIFFERENCE = 8
"""How many times a difference is amplified."""
_CAPTION = (
    "The same light on all: a wall, which shows {part}, a texel a pixel, and a sphere. "
    "The figures below are those of the wall."
)


@dataclass
class Rendered:
    """Renders of one material."""

    picture: bytes
    """PNG: a column for the reference, each decoded material and the first one's difference."""
    caption: str
    figures: dict[str, tuple[float, float | None]]
    """PSNR in dB and FLIP (`None` without `flip-evaluator`) of a render beside the reference's, by label."""


def render_beside(
    reference: np.ndarray, decoded: Mapping[str, np.ndarray], present: Mapping[str, bool], normal_convention: str
) -> Rendered:
    """Render the finest mip of a material, uint8 `[H, W, 11]` in file coding, and what codecs made of it, by label."""
    height, width = reference.shape[:2]
    rows, columns = _middle(height), _middle(width)

    def render(texels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        wall = render_plane(texels, present, normal_convention, rows=rows, columns=columns)
        return wall, render_sphere(texels, present, normal_convention, side=SPHERE, samples=2)

    with ThreadPoolExecutor(processors()) as pool:
        renders = list(pool.map(render, (reference, *decoded.values())))
    names = ["reference", *decoded]
    figures = {
        name: (psnr(renders[0][0], wall), flip(renders[0][0], wall)) for name, (wall, _) in zip(names[1:], renders[1:])
    }
    if len(decoded) == 1:
        names.append(f"difference x {DIFFERENCE}")
        renders.append(tuple(amplified_error(ours, theirs, DIFFERENCE) for ours, theirs in zip(*renders)))  # type: ignore[arg-type]
    sheet = image_grid(
        [[_enlarged(wall) for wall, _ in renders], [Image.fromarray(sphere) for _, sphere in renders]],
        ["wall", "sphere"],
        names,
    )
    whole = max(height, width) <= WINDOW
    middle = f"the middle {columns.stop - columns.start} x {rows.stop - rows.start} texels"
    part = "the whole material" if whole else middle
    return Rendered(png_bytes(sheet), _CAPTION.format(part=part), figures)


def _middle(side: int) -> slice:
    """Return the shown part of a side of so many texels."""
    shown = min(side, WINDOW)
    return slice((side - shown) // 2, (side + shown) // 2)


def _enlarged(wall: np.ndarray) -> Image.Image:
    """Return a wall as a picture, a small one enlarged by whole steps."""
    image, scale = Image.fromarray(wall), max(1, WINDOW // max(wall.shape[:2]))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def rendered_section(rendered: Rendered) -> Section:
    """Show renders with their figures."""
    rows = [
        [name, psnr_db, None if error is None else f"{error:.4f}"]
        for name, (psnr_db, error) in rendered.figures.items()
    ]
    return Section(
        "Under light",
        [
            Picture(rendered.picture, rendered.caption),
            Table(
                ["render", "PSNR, dB", "FLIP"],
                rows,
                "Of the 8-bit sRGB render beside the reference's; FLIP: 0 is equal.",
            ),
        ],
    )
