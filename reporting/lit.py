"""How visible errors of a material are under light: FLIP of a plane of its texels under four lights.

PSNR spreads its attention over all channels alike; light does not. Each map counts here as far as a lit pixel shows it:
the displacement map not at all, occlusion little, and normals and roughness most where a highlight lies.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reporting.metrics import flip
from reporting.rendering import render_plane
from reporting.shading import Light, Lighting

FOUR_LIGHTS = Lighting(
    lights=(
        Light((-0.60, 0.60, 0.53), (2.6, 2.4, 2.1), distant=True),
        Light((0.72, 0.36, 0.60), (1.2, 1.4, 1.7), distant=True),
        Light((0.30, -0.82, 0.49), (0.9, 0.8, 0.8), distant=True),
        Light((-0.16, -0.20, 0.97), (1.0, 1.0, 1.0), distant=True),
    ),
    zenith=(0.22, 0.22, 0.22),
    nadir=(0.22, 0.22, 0.22),
)
"""A warm key light, a cool one at the right, a low one from below, and one near the viewer that smooth surfaces mirror.

Distant, so that all texels are lit alike; unequal, so that errors of normals do not cancel; and an even, dim sky, without
which occlusion would not be seen.
"""
LARGEST = 2048
"""Texels of the longest side that is compared; of larger materials it is the middle."""


def _middle(side: int) -> slice:
    shown = min(side, LARGEST)
    return slice((side - shown) // 2, (side + shown) // 2)


def lit_flip(
    reference: np.ndarray, decoded: np.ndarray, present: Mapping[str, bool], normal_convention: str
) -> float | None:
    """Return the mean FLIP error, 0 (equal) to 1, of `decoded` under `FOUR_LIGHTS` beside the reference.

    Both are uint8 `[H, W, 11]` in file coding; `present` are the maps that shading takes for what their names say. A
    texel is a pixel. `None` without `flip-evaluator`.
    """
    rows, columns = _middle(reference.shape[0]), _middle(reference.shape[1])
    ours, theirs = (
        render_plane(texels[rows, columns], present, normal_convention, FOUR_LIGHTS) for texels in (reference, decoded)
    )
    return flip(ours, theirs)
