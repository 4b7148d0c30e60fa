"""What the values of single maps say: vectors of a wrong length, maps of one value, colour that is too dark, and more.

Each check looks at every n-th row and column and gives a sentence where something is out of the ordinary.
"""

from __future__ import annotations

import numpy as np

from images.colour import srgb_to_linear
from images.depth import bits_of, coarse_codes, peak

LENGTH_ERROR = 0.1
"""How far from 1 a vector's length may be: rounding to 8 bits leaves 0.01, and JPEG 0.05 but for fine detail."""
LEAST_PART = 0.05
"""Parts of a map below it, such as the gaps of an atlas, are not worth a line."""
LEAST_STEPS = 16
"""Steps of an 8-bit height map below which they show: the slope of a surface then has a handful of values."""
COAL = 0.02
"""Part of the light that coal reflects, of which hardly any surface is made."""
BRIGHT = 0.1
"""Part of the light that bare earth reflects; most surfaces have something brighter in them."""
GRAIN_LEAST, GRAIN_FACTOR = 8 / 255, 8
"""A channel carries a map's grain where 98 % of its values span this much, and this many times what another's do."""


def _shares(values: np.ndarray, shares: tuple[float, ...] = (0.01, 0.99)) -> list[float]:
    """The values below which each share of all lies, over the largest code."""
    return [float(value) / peak(values) for value in np.quantile(values, shares, method="nearest")]


def span(values: np.ndarray) -> float:
    """The part of the range that 98 % of the values lie in."""
    low, high = _shares(values)
    return high - low


def is_normal_map(sample: np.ndarray) -> bool:
    """Whether vectors point out of the surface, as those of tangent space do, but for what `LEAST_PART` allows.

    `sample` is `[H, W, 3]`. Black texels are gaps of an atlas and do not count.
    """
    inside = sample[..., 2] < peak(sample) / 2
    black = (sample[..., 0] == 0) & (sample[..., 1] == 0) & (sample[..., 2] == 0)
    return bool((inside & ~black).mean() <= LEAST_PART)


def normal_notices(sample: np.ndarray, name: str) -> list[str]:
    """Say what is wrong with the vectors of a normal map, `[H, W, 3]`."""
    coded = sample.astype(np.float32) / peak(sample)
    length = np.sqrt(np.square(coded * 2 - 1).sum(-1))
    near = np.abs(length - 1) <= LENGTH_ERROR
    if not is_normal_map(sample):
        spread = np.abs(coded[..., :2] - coded[..., 2:]).mean()
        if spread < GRAIN_LEAST:
            return [
                f"normal: {name} is grey, as heights are, where normals are mostly blue; rename it if it holds them"
            ]
        part = f"{(coded[..., 2] < 0.5).mean():.0%} of its vectors point into the surface"
        if near.mean() >= 1 - LEAST_PART:
            return [f"normal: {name} looks like normals of object space, {part}; bake it in tangent space"]
        return [f"normal: {name} does not look like a normal map, {part} and {1 - near.mean():.0%} have no unit length"]
    if 1 - near.mean() <= LEAST_PART:
        return []
    low, high = np.quantile(length, (0.01, 0.99))
    return [
        f"normal: {1 - near.mean():.0%} of the vectors of {name} are further than {LENGTH_ERROR:g} from unit length "
        f"({low:.2f} .. {high:.2f}); they are kept as they are"
    ]


def diffuse_notices(sample: np.ndarray, name: str) -> list[str]:
    """Say where colour `[H, W, 1 or 3]`, in sRGB coding, is as dark as linear light taken for it."""
    if bits_of(sample) == 32:
        # Floating point holds linear light as it should.
        return []
    codes = coarse_codes(sample)
    light = srgb_to_linear(np.arange(256, dtype=np.float32) / 255)[codes].mean(-1)
    middle, high = np.quantile(light, (0.5, 0.99))
    if middle >= COAL or high >= BRIGHT:
        return []
    return [
        f"diffuse: {name} is very dark, half of it below {middle:.1%} and nearly all below {high:.0%} of the light; "
        "if it holds linear light, save it in sRGB coding"
    ]


def metallic_notices(sample: np.ndarray, name: str) -> list[str]:
    """Say where a metallic map `[H, W, 1]` is neither metal nor not, for the most part."""
    values = sample.astype(np.float32) / peak(sample)
    between = float(((values > 0.2) & (values < 0.8)).mean())
    if between < 0.5:
        return []
    return [
        f"metallic: {between:.0%} of {name} is neither metal (1) nor not (0), as surfaces are; it may hold something else"
    ]


def displacement_notices(sample: np.ndarray, name: str) -> list[str]:
    """Say where heights `[H, W, 1]` of 8 bits have so few steps that these show."""
    steps = round(span(sample) * 255)
    if bits_of(sample) > 8 or not 0 < steps < LEAST_STEPS:
        return []
    return [
        f"displacement: 98 % of {name} lie within {steps} of the 255 steps of 8 bits; save it in 16 bits if it can be"
    ]


def carries_grain(sample: np.ndarray, other: np.ndarray) -> bool:
    """Whether a channel varies and another one, `[H, W]`, is all but constant beside it."""
    varies = span(sample)
    return varies >= GRAIN_LEAST and varies >= GRAIN_FACTOR * span(other)


def is_mask(sample: np.ndarray) -> bool:
    """Whether nearly all values are 0 or 1, as those of metal are."""
    values = sample.astype(np.float32) / peak(sample)
    return bool(((values <= 0.1) | (values >= 0.9)).mean() >= 1 - LEAST_PART)


def is_no_mask(sample: np.ndarray) -> bool:
    """Whether nearly no values are 0 or 1."""
    values = sample.astype(np.float32) / peak(sample)
    return bool(((values <= 0.1) | (values >= 0.9)).mean() <= LEAST_PART)


def the_value(values: np.ndarray) -> np.ndarray | None:
    """The one value `[C]` that `[H, W, C]` has everywhere, over the largest code; None where there are several."""
    first = values[0, 0]
    # A look at a part rules nearly all maps out.
    if (values[::31, ::31] != first).any() or any((row != first).any() for row in values):
        return None
    return first.astype(np.float32) / peak(values)


def shown_value(value: np.ndarray) -> str:
    """Write a value `[C]` in the units of its file, from 0 to 1."""
    return ", ".join(f"{part:.2g}" for part in value)
