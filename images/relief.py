"""What the normals and heights of a material say of each other: which way green points, and which way heights go.

Normals `n` of a surface of height `h` have the slopes `p = -n_x / n_z = dh/dx` and, with green up,
`q = -n_y / n_z = -dh/dy`, y counted downwards as rows are. So `dp/dy = -dq/dx`, whatever the surface; with green down
the signs of q and of the second equation are the other ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from images.depth import peak
from images.samples import COARSE, Level, levels

LEAST_ERRORS = 6.0
"""Standard errors that a correlation has to be away from 0. Four would do, were the blocks independent; stripes that
run through several of them make the error look smaller than it is."""
LEAST_CORRELATION = 0.1
"""A weaker one explains less than 1 % of the other field, which a filter or an encoder may have left."""
_LEAST_Z = 0.1
"""Below it a normal lies all but in the surface, or is no normal; its slope counts as flat."""
_LEAST_COLOUR = 0.25
"""Energy of the detail of red minus green over that of their sum, 1 where they are independent; chroma subsampling
leaves less than a tenth."""


@dataclass(frozen=True)
class Agreement:
    """How far two fields are the same but for a factor."""

    sign: int = 0
    """1 or -1 where the resolutions that tell agree in it; 0: cannot tell."""
    correlation: float = 0.0
    """-1 to 1, at the resolution where it is largest."""


@dataclass(frozen=True)
class Relief:
    """What the pixels say of a normal map, and of heights and occlusion where the material has them."""

    curl: Agreement = field(default_factory=Agreement)
    """dp/dy with dq/dx: negative for OpenGL normals."""
    along: Agreement = field(default_factory=Agreement)
    """dh/dx with p, which no convention touches: negative for heights that are upside down."""
    down: Agreement = field(default_factory=Agreement)
    """dh/dy with q: negative for OpenGL normals beside heights that are not upside down."""
    shade: Agreement = field(default_factory=Agreement)
    """Slopes of the heights with those of occlusion, which is dark in the depths: negative for what is upside down."""
    is_flat: bool = False
    """Whether the normals have no slopes."""

    @property
    def directx(self) -> Agreement:
        """1: green points down, -1: up, 0: cannot tell."""
        by_height = self.along.sign * self.down.sign
        if self.curl.sign and by_height and self.curl.sign != by_height:
            return Agreement()
        if by_height:
            strength = min(abs(self.along.correlation), abs(self.down.correlation))
            return Agreement(by_height, by_height * strength)
        return self.curl

    @property
    def by_height(self) -> bool:
        """Whether `directx` is told by the heights, and not by the normals alone."""
        return bool(self.directx.sign and self.along.sign and self.down.sign)

    @property
    def upright(self) -> Agreement:
        """1: heights go up where normals or occlusion say so, -1: they are upside down, 0: cannot tell."""
        by_down = Agreement(self.down.sign * self.curl.sign, self.down.correlation * self.curl.sign)
        found = [one for one in (self.along, by_down, self.shade) if one.sign]
        return found[0] if len({one.sign for one in found}) == 1 else Agreement()

    @property
    def by_normals(self) -> bool:
        """Whether `upright` is told by the normals, and not by occlusion."""
        return bool(self.upright.sign and (self.along.sign or self.down.sign * self.curl.sign))


def slopes(normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes `p` and `q`, `[...]`, of normals `[..., 3]` coded in [0, 1]; their length does not matter."""
    x, y, z = (normals[..., c] * 2 - 1 for c in range(3))
    valid = z >= _LEAST_Z
    divisor = np.where(valid, -z, -1)
    return np.where(valid, x / divisor, 0), np.where(valid, y / divisor, 0)


def along_x(values: np.ndarray) -> np.ndarray:
    """Twice the derivative of `[B, H, W]` along rows: `[B, H - 2, W - 2]`."""
    return values[:, 1:-1, 2:] - values[:, 1:-1, :-2]


def down_y(values: np.ndarray) -> np.ndarray:
    """Twice the derivative of `[B, H, W]` down columns: `[B, H - 2, W - 2]`."""
    return values[:, 2:, 1:-1] - values[:, :-2, 1:-1]


def correlation(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Correlation about zero of two fields `[B, H, W]`, and how many standard errors it is away from 0.

    The error is the jackknife's over the blocks, so what a single block says, however loudly, counts for little.
    """
    both, one, other = (
        np.einsum("bhw,bhw->b", a, b, dtype=np.float64) for a, b in ((first, second), (first, first), (second, second))
    )
    energy = np.sqrt(one.sum() * other.sum())
    if energy <= 0:
        return 0.0, 0.0
    value = both.sum() / energy
    rest = np.sqrt(np.maximum(one.sum() - one, 0) * np.maximum(other.sum() - other, 0))
    # Nothing is left where one block holds all there is.
    without = np.divide(both.sum() - both, rest, out=np.zeros_like(rest), where=rest > 1e-6 * energy)
    error = np.sqrt((len(both) - 1) / len(both) * np.square(without - without.mean()).sum())
    return float(value), float(value / max(error, 1e-9))


def agreement(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Agreement:
    """Judge pairs of fields `[B, H, W]`, one pair a resolution."""
    found = [correlation(*pair) for pair in pairs]
    sure = [value for value, errors in found if abs(value) >= LEAST_CORRELATION and abs(errors) >= LEAST_ERRORS]
    value = max(sure or [value for value, _ in found], key=abs, default=0.0)
    return Agreement(int(np.sign(value)) if len({one > 0 for one in sure}) == 1 else 0, value)


def channels_are_apart(normals: np.ndarray) -> bool:
    """Whether the finest detail of red and green, `[B, H, W, 3]`, is each channel's own.

    An encoder that halves the resolution of colour leaves the detail of brightness, which is the same in both.
    """
    total, difference = normals[..., 0] + normals[..., 1], normals[..., 0] - normals[..., 1]
    energy = [sum(float(np.square(np.diff(part, 2, axis)).sum()) for axis in (1, 2)) for part in (total, difference)]
    return energy[1] >= _LEAST_COLOUR * energy[0]


def _with_normals(found: Sequence[Level]) -> list[Level]:
    """The levels at which normals, the first of the maps, can be trusted."""
    return [level for level in found if level.texels >= COARSE or channels_are_apart(level.blocks[0])]


def read_relief(
    normal: np.ndarray | None, height: np.ndarray | None = None, occlusion: np.ndarray | None = None
) -> Relief:
    """Compare the maps of a material, stored values `[H, W, 3]` and `[H, W, 1]` of any sizes and depths.

    Normals have three components, coded in [0, 1] or in integers.
    """
    along = down = shade = curl = Agreement()
    flat = False
    if normal is not None:
        flat = _is_flat(normal)
        alone, together = None, None
        if height is not None:
            together = _with_normals(levels([normal, height]))
            fields = [(slopes(level.blocks[0]), level.blocks[1][..., 0]) for level in together]
            along = agreement([(along_x(h), p[:, 1:-1, 1:-1]) for (p, _), h in fields])
            down = agreement([(down_y(h), q[:, 1:-1, 1:-1]) for (_, q), h in fields])
        same = height is not None and height.shape[:2] == normal.shape[:2]
        alone = together if same and together is not None else _with_normals(levels([normal]))
        found = [slopes(level.blocks[0]) for level in alone]
        curl = agreement([(down_y(p), along_x(q)) for p, q in found])
    if height is not None and occlusion is not None:
        shade = agreement([_both_slopes(level) for level in levels([height, occlusion])])
    return Relief(curl, along, down, shade, flat)


def _is_flat(normal: np.ndarray) -> bool:
    """Whether red and green are the same all over."""
    first = normal[0, 0, :2]
    return bool((normal[::7, ::7, :2] == first).all()) and bool((normal[..., :2] == first).all())


def _both_slopes(level: Level) -> tuple[np.ndarray, np.ndarray]:
    first, second = (np.concatenate([along_x(b[..., 0]), down_y(b[..., 0])], 2) for b in level.blocks)
    return first, second


def components(normal: np.ndarray) -> np.ndarray:
    """Normals `[H, W, 3]` as vectors in [-1, 1], float32."""
    return normal.astype(np.float32) * np.float32(2 / peak(normal)) - 1
