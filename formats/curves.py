"""Feature curves: a cubic polynomial of each feature's level value, in whose values features are interpolated."""

from __future__ import annotations

import numpy as np

CURVE_NUMBERS = 4
"""Numbers of a feature's curve, c0 to c3: `c0 + t * (c1 + t * (c2 + t * c3))`."""


def along_curve(values: np.ndarray, curves: np.ndarray | None, feature: int) -> np.ndarray:
    """Return a feature's level values (float32) along its curve, of float32 `[F, 4]`; as they are without curves.

    >>> along_curve(np.float32([0.5, -0.5]), np.float32([[0, 1, 1, 0]]), 0)
    array([ 0.75, -0.25], dtype=float32)
    """
    if curves is None:
        return values
    c0, c1, c2, c3 = curves[feature].astype(np.float64)
    t = values.astype(np.float64)
    # What float32 cannot hold becomes infinite, as on a GPU.
    with np.errstate(over="ignore"):
        return (c0 + t * (c1 + t * (c2 + t * c3))).astype(np.float32)
