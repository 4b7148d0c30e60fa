"""What normals and heights say of each other: which way green points, and whether heights are upside down.

Normals `n` of a surface of height `h` have the slopes `p = -n_x / n_z = dh/dx` and, with green up,
`q = -n_y / n_z = -dh/dy`, `y` counted downwards as rows are. So `dp/dy = -dq/dx`; with green down the sign is the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


LEAST_ERRORS = 4.0
"""Standard errors that a correlation has to be away from 0. Six correlations, one a resolution, of fields that have
nothing to do with each other get there once in two thousand materials."""
LEAST_CORRELATION = 0.1
"""What is weaker explains less than 1 % of the other field, as little as compression or a filter may have left."""
_LEAST_Z = 0.1
"""Below it a normal lies all but in the surface, or is no normal; its slope counts as flat."""


@dataclass(frozen=True)
class Agreement:
    """How far two fields are the same but for a factor: positive, negative, or cannot tell."""

    correlation: float = 0.0
    """-1 to 1, at the resolution where it is surest."""
    errors: float = 0.0
    """The correlation over its standard error."""
    sign: int = 0
    """1 or -1 where resolutions say so and none says otherwise; 0: cannot tell."""


def slopes(normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes `p` and `q`, `[...]`, of stored normals `[..., 2 or more]` in [0, 1]; without blue, of unit normals."""
    x, y = (normals[..., c] * 2 - 1 for c in range(2))
    if normals.shape[-1] > 2:
        z = normals[..., 2] * 2 - 1
    else:
        z = np.sqrt(np.maximum(1 - x * x - y * y, 0))
    valid = z >= _LEAST_Z
    z = np.where(valid, -z, -1)
    return np.where(valid, x / z, 0), np.where(valid, y / z, 0)


def along_x(field: np.ndarray) -> np.ndarray:
    """Twice the derivative of `[B, H, W]` along rows: `[B, H - 2, W - 2]`."""
    return field[:, 1:-1, 2:] - field[:, 1:-1, :-2]


def along_y(field: np.ndarray) -> np.ndarray:
    """Twice the derivative of `[B, H, W]` down columns: `[B, H - 2, W - 2]`."""
    return field[:, 2:, 1:-1] - field[:, :-2, 1:-1]


def correlation(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Correlation of two fields `[B, H, W]` about zero, and how many standard errors it is away from 0.

    The error is the jackknife's over the blocks, so what a single block says, however loudly, counts for little.
    """
    products = [np.einsum("bhw,bhw->b", a, b, dtype=np.float64) for a, b in ((first, second), (first, first), (second, second))]
    totals = [float(part.sum()) for part in products]
    if totals[1] <= 0 or totals[2] <= 0:
        return 0.0, 0.0
    value = totals[0] / np.sqrt(totals[1] * totals[2])
    left = [np.maximum(total - part, 0) if index else total - part for index, (total, part) in enumerate(zip(totals, products))]
    scale = np.sqrt(left[1] * left[2])
    without = np.divide(left[0], scale, out=np.zeros_like(scale), where=scale > 1e-9 * np.sqrt(totals[1] * totals[2]))
    n_blocks = len(without)
    error = np.sqrt((n_blocks - 1) / n_blocks * np.square(without - without.mean()).sum())
    return float(value), float(value / max(error, 1e-9))


def channels_are_apart(normals: np.ndarray) -> bool:
    """Whether the finest detail of red and green, `[B, H, W, 2 or more]`, is each channel's own.

    Where an encoder kept brightness alone, their difference has none of the detail that their sum has.
    """
    total, difference = normals[..., 0] + normals[..., 1], normals[..., 0] - normals[..., 1]
    energy = [sum(np.square(np.diff(field, 2, axis)).sum() for axis in (1, 2)) for field in (total, difference)]
    return bool(energy[1] >= energy[0] / 4)


def agreement(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Agreement:
    """Judge pairs of fields `[B, H, W]`, one pair a resolution."""
    found = [correlation(*pair) for pair in pairs]
    if not found:
        return Agreement()
    sure = [one for one in found if abs(one[0]) >= LEAST_CORRELATION and abs(one[1]) >= LEAST_ERRORS]
    value, errors = max(sure or found, key=lambda one: abs(one[0]))
    agreed = len({one[0] > 0 for one in sure}) == 1
    return Agreement(value, errors, int(np.sign(value)) if agreed else 0)
