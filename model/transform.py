"""The block transform of a material in closed form: components, their curves, and bits shared out among them.

A material is cut into blocks; the principal components of the blocks are the transform that packs most of the variance
into few coefficients (Karhunen-Loeve). A coefficient of b bits takes 2^b values on a cubic curve of its code, fitted to
where the coefficient's values lie. Bits go where they lower the squared error most: since that falls in steps that are
not always one after the other smaller, along the lower convex hull of the error over the bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torchtyping import TensorType

MOST_BITS = 8
_MOST_SAMPLES = 1 << 15
_CURVE_SAMPLES = 1 << 13
_ERROR_SAMPLES = 1 << 12
_FITTED_BITS = 5
_WORTH_OF_A_BIT = 0.27
_FIT_ROUNDS = 6
_WITHIN = 0.45
"""How far, in quantisation steps, a feature may begin from its code."""
_STIFFNESS = 1e-8
"""How much a curve's bend counts against its fit: keeps curves of few levels from turning back between them."""


@dataclass(frozen=True)
class Transform:
    """Blocks of `side x side` texels of C channels, mean colour removed, as coefficients: block @ vectors."""

    side: int
    vectors: TensorType["K", "n", float]
    """Orthonormal, the component of the largest variance first; K = side * side * C in the order (y, x, channel)."""


def resized(image: TensorType["H", "W", "C", float], rows: int, columns: int) -> torch.Tensor:
    """Resize an image [H, W, C] to [rows, columns, C]: area average where it shrinks, repetition where it grows."""
    if image.shape[:2] == (rows, columns):
        return image
    planes = image.permute(2, 0, 1)[None]
    if rows > image.shape[0] or columns > image.shape[1]:
        planes = torch.nn.functional.interpolate(planes, size=(rows, columns), mode="nearest")
    else:
        planes = torch.nn.functional.adaptive_avg_pool2d(planes, (rows, columns))
    return planes[0].permute(1, 2, 0)


def cut_blocks(image: TensorType["H", "W", "C", float], resolution: int, side: int) -> torch.Tensor:
    """Cut an image into the blocks of a grid of `resolution` texels a side: [r * r, side * side * C]."""
    image = resized(image, resolution * side, resolution * side)
    blocks = image.reshape(resolution, side, resolution, side, -1).permute(0, 2, 1, 3, 4)
    return blocks.reshape(resolution * resolution, -1)


def block_transform(blocks: TensorType["N", "K", float], side: int, generator: torch.Generator) -> Transform:
    """Return the Karhunen-Loeve transform of blocks, worked out on the host: the same on every device.

    The blocks' own mean stays in: a pattern that is in every block is a component too, whose curve holds it.
    """
    if len(blocks) > _MOST_SAMPLES:
        chosen = torch.randint(0, len(blocks), (_MOST_SAMPLES,), generator=generator)
        blocks = blocks[chosen.to(blocks.device)]
    blocks = blocks.cpu()
    _, vectors = torch.linalg.eigh((blocks.t() @ blocks / len(blocks)).double())
    vectors = vectors.flip(1)
    # A component and its negative are the same; the one whose entries sum up to more is taken on every machine.
    vectors = vectors * torch.where(vectors.sum(0) < 0, -1.0, 1.0)
    return Transform(side, vectors.float())


def _codes(bits: int) -> torch.Tensor:
    """Return the features of all codes, float64 [2^bits]."""
    steps = 1 << bits
    return (torch.arange(steps, dtype=torch.float64) - (steps - 1) / 2) / steps


def _on_curve(curves: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Return points of curves [n, 4] at features [T] or [n, T]: [n, T]."""
    c0, c1, c2, c3 = (part[:, None] for part in curves.unbind(1))
    return c0 + t * (c1 + t * (c2 + t * c3))


def fit_curves(
    values: TensorType["N", "n", float], bits: int, generator: torch.Generator
) -> tuple[TensorType["n", 4], TensorType["n"]]:
    """Return, for each column of coefficients, a curve that `bits` bits index, float32 [n, 4], and the mean squared error.

    Lloyd's iteration (S. Lloyd, "Least squares quantization in PCM", 1982) with levels held to a cubic of the code: every
    value goes to the nearest level, the cubic is fitted to what went where. It starts from the quantiles and from
    even steps over the range; the better end is taken. With one bit the curve is straight.
    """
    if len(values) > _CURVE_SAMPLES:
        values = values[torch.randint(0, len(values), (_CURVE_SAMPLES,), generator=generator)]
    samples = values.t().double().contiguous()
    # A single block has no spread.
    scale = samples.std(1, correction=0).clamp(min=1e-9)
    samples = samples / scale[:, None]
    t = _codes(bits)
    degree = 3 if bits > 1 else 1
    powers = torch.stack([t**power for power in range(degree + 1)], 1)
    stiffness = torch.diag(torch.tensor([1e-12, 1e-12, _STIFFNESS, _STIFFNESS][: degree + 1], dtype=torch.float64))
    best_error = torch.full((len(samples),), torch.inf, dtype=torch.float64)
    best = torch.zeros(len(samples), 4, dtype=torch.float64)
    share = (torch.arange(1 << bits, dtype=torch.float64) + 0.5) / (1 << bits)
    low, high = samples.min(1, keepdim=True).values, samples.max(1, keepdim=True).values
    ordered = samples.sort(1).values
    quantiles = ordered[:, (share * (ordered.shape[1] - 1)).round().long()]
    for levels in (quantiles, low + (high - low) * share):
        for _ in range(_FIT_ROUNDS):
            levels = levels.sort(1).values
            nearest = torch.searchsorted((levels[:, 1:] + levels[:, :-1]).contiguous() / 2, samples)
            rows = powers[nearest]
            normal = torch.einsum("nsi,nsj->nij", rows, rows) / samples.shape[1] + stiffness
            right = torch.einsum("nsi,ns->ni", rows, samples) / samples.shape[1]
            fitted = torch.zeros_like(best)
            fitted[:, : degree + 1] = torch.linalg.solve(normal, right)
            levels = _on_curve(fitted, t)
        levels = levels.sort(1).values
        nearest = torch.searchsorted((levels[:, 1:] + levels[:, :-1]).contiguous() / 2, samples)
        error = (levels.gather(1, nearest) - samples).square().mean(1)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best = torch.where(better[:, None], fitted, best)
    return (best * scale[:, None]).float(), (best_error * scale.square()).float()


def features_on_curves(
    values: TensorType["N", "n", float], curves: TensorType["n", 4], bits: Sequence[int]
) -> TensorType["N", "n", float]:
    """Return the features whose points on the curves lie nearest to coefficients, not rounded: float32 [N, n]."""
    features = torch.empty_like(values)
    for index, count in enumerate(bits):
        codes, column = _codes(count), values[:, index].cpu().contiguous()
        curve, limit = curves[index : index + 1].cpu(), codes[-1].item()
        # The code whose level is nearest, then where within it the curve comes nearest.
        nearest = codes[_nearest(_on_curve(curve, codes)[0], column)]
        fine = torch.linspace(-limit, limit, 1 << max(count + 2, 9), dtype=torch.float64)
        exact = fine[_nearest(_on_curve(curve, fine)[0], column)]
        reach = _WITHIN / (1 << count)
        features[:, index] = nearest + (exact - nearest).clamp(-reach, reach)
    return features


def _nearest(points: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return, for each value, the number of the point that is nearest to it."""
    points, order = points.double().sort()
    bounds = (points[1:] + points[:-1]) / 2
    return order[torch.bucketize(values.double(), bounds)]


def share_bits(errors: np.ndarray, total: int) -> list[int]:
    """Return bits for each component, `total` in all or fewer where more would not help.

    `errors` [n, 1 + MOST_BITS]: a component's mean squared error with 0, 1, ... bits.

    >>> share_bits(np.array([[4.0, 1.0, 0.25], [1.0, 0.25, 0.06]]), 3)
    [2, 1]
    """
    bits = [0] * len(errors)
    most = errors.shape[1] - 1

    def best_step(index: int, left: int) -> tuple[float, int]:
        """Gain per bit, and the bits to which it leads."""
        now = bits[index]
        steps = [
            ((errors[index, now] - errors[index, to]) / (to - now), to)
            for to in range(now + 1, min(most, now + left) + 1)
        ]
        return max(steps, default=(0.0, now))

    while total > 0:
        gain, to, index = max((*best_step(index, total), index) for index in range(len(errors)))
        if gain <= 0:
            break
        total -= to - bits[index]
        bits[index] = to
    return bits


def component_errors(coefficients: TensorType["N", "n", float], generator: torch.Generator) -> np.ndarray:
    """Return each component's mean squared error by bits, float64 [n, 1 + MOST_BITS].

    Beyond `_FITTED_BITS` a bit more is taken to be worth what it is for many levels: about 6 dB.
    """
    if len(coefficients) > _ERROR_SAMPLES:
        chosen = torch.randint(0, len(coefficients), (_ERROR_SAMPLES,), generator=generator)
        coefficients = coefficients[chosen]
    errors = np.zeros((coefficients.shape[1], MOST_BITS + 1))
    errors[:, 0] = coefficients.double().square().mean(0).numpy()
    for bits in range(1, MOST_BITS + 1):
        if bits > _FITTED_BITS:
            errors[:, bits] = errors[:, bits - 1] * _WORTH_OF_A_BIT
            continue
        error = fit_curves(coefficients, bits, generator)[1]
        errors[:, bits] = np.minimum(error.double().numpy(), errors[:, bits - 1])
    return errors
