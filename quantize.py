"""Quantisation of grid features: levels, straight-through rounding with noise and codes.

A feature of `b` bits takes the values `(k - (2^b - 1) / 2) / 2^b`, `k = 0 .. 2^b - 1`: symmetric about zero,
one step of `2^-b` apart. All of them are exact in float32.

`bits` is one number for all features, or one for each: an array or tensor [F] along the last axis of what is rounded.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch

from configs import FEATURE_BITS
from utils.errors import UsageError

ArrayOrTensor = TypeVar("ArrayOrTensor", np.ndarray, torch.Tensor)
Bits = Any
"""int, or float32 [F] as an array or tensor beside what it is used with."""


def _check_bits(bits: Bits) -> Bits:
    if isinstance(bits, int) and bits not in FEATURE_BITS:
        known = ", ".join(map(str, FEATURE_BITS))
        raise UsageError(f"quantize_bits {bits} is not one of {known}; choose one of these")
    return bits


def steps_of(bits: Bits) -> Bits:
    """Return 2^bits as floats: the number of levels, and one over the step between them."""
    return float(1 << bits) if isinstance(bits, int) else 2.0**bits


def level_values(bits: int) -> np.ndarray:
    """Return the `2^bits` feature values in rising order, float32; raises `UsageError` for other bits.

    >>> level_values(2)
    array([-0.375, -0.125,  0.125,  0.375], dtype=float32)
    """
    return codes_to_values(np.arange(1 << _check_bits(bits)), bits)


def clamp_range(bits: Bits) -> tuple[Any, Any]:
    """Return the least and the greatest feature value; parameters are clamped to them.

    >>> clamp_range(2)
    (-0.375, 0.375)
    """
    steps = steps_of(_check_bits(bits))
    high = (steps - 1) / (2 * steps)
    return -high, high


def noise_amplitude(iteration: float, max_iter: float, noise_std: float, fraction: float, bits: Bits) -> Any:
    """Return the half width of the uniform noise at an iteration, in feature units.

    `noise_std` counts half quantisation steps; it falls linearly to zero at `fraction * max_iter` iterations.

    >>> [noise_amplitude(iteration, 100, 1.0, 0.5, 2) for iteration in (0, 25, 50)]
    [0.125, 0.0625, 0.0]
    """
    end = fraction * max_iter
    if end <= 0:
        return 0.0
    return noise_std * max(0.0, 1 - iteration / end) / (2 * steps_of(_check_bits(bits)))


def _nearest_codes(x, bits: Bits):
    """Round to the nearest code, still as floats; the same steps for NumPy and torch, so both agree bit for bit."""
    steps = steps_of(bits)
    # The product with a power of two is exact, so a fused multiply-add on another device rounds the same way.
    position = x * steps + (steps - 1) / 2
    return position.round().clip(0 * steps, steps - 1)


class _RoundStraightThrough(torch.autograd.Function):
    """Rounding to the levels whose gradient is one inside the clamp range and zero outside."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, bits: Bits, noise: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.bits = bits
        steps = steps_of(bits)
        return (_nearest_codes(x if noise is None else x + noise, bits) - (steps - 1) / 2) / steps

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (x,) = ctx.saved_tensors
        low, high = clamp_range(ctx.bits)
        return gradient * ((x >= low) & (x <= high)), None, None


def quantize_ste(
    x: torch.Tensor, bits: Bits, noise_amplitude: float | torch.Tensor = 0.0, uniform: torch.Tensor | None = None
) -> torch.Tensor:
    """Round features to exactly the levels, straight-through, same shape and dtype (float32).

    With `uniform`, random numbers from 0 to 1 of the same shape, noise in `[-noise_amplitude, noise_amplitude]` is added
    before rounding. The gradient passes unchanged where `x` itself lies inside the clamp range, and is zero elsewhere.
    """
    _check_bits(bits)
    noise = None if uniform is None else (uniform * (2 * noise_amplitude)).sub_(noise_amplitude)
    return _RoundStraightThrough.apply(x, bits, noise)


def values_to_codes(values: ArrayOrTensor, bits: Bits) -> ArrayOrTensor:
    """Return the int32 code `0 .. 2^bits - 1` nearest to each feature; values outside the range are clamped."""
    _check_bits(bits)
    if isinstance(values, torch.Tensor):
        return _nearest_codes(values.detach().float(), bits).to(torch.int32)
    return _nearest_codes(np.asarray(values, np.float32), bits).astype(np.int32)


def codes_to_values(codes: ArrayOrTensor, bits: Bits) -> ArrayOrTensor:
    """Return the float32 features that integer codes stand for."""
    steps = steps_of(_check_bits(bits))
    values = codes.float() if isinstance(codes, torch.Tensor) else np.asarray(codes, np.float32)
    return (values - (steps - 1) / 2) / steps
