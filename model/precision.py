"""How many bits products keep: fewer may be enough to train, and faster; an evaluation needs all of float32's."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import torch

LEAST_BFLOAT16_WIDTH = 32
"""Narrower decoders gain no time from bfloat16 and lose accuracy."""


def gains_from_bfloat16(device: torch.device, n_neurons: int) -> bool:
    """Whether a decoder of this width is trained faster in bfloat16 than in float32."""
    if n_neurons < LEAST_BFLOAT16_WIDTH:
        return False
    if device.type == "cuda":
        # Emulated bfloat16 is slower than float32, and is_bf16_supported counts it where it can be told not to.
        return (
            torch.cuda.get_device_capability(device)[0] >= 8
            if torch.version.hip is None
            else torch.cuda.is_bf16_supported()
        )
    if device.type == "cpu":
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)
    return False


def set_training_products(device: torch.device, tf32: bool) -> None:
    """Set how CUDA computes matrix products from now on: float32 ones in TF32 (10 bits of mantissa) or in full, and sums
    of bfloat16 ones in float32. Elsewhere nothing changes.
    """
    if device.type == "cuda":
        _set_matmul_precision("high" if tf32 else "highest")
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """While entered, float32 matrix products keep all their bits, so that they agree with readers of the files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = torch.get_float32_matmul_precision()
    _set_matmul_precision("highest")
    try:
        yield
    finally:
        _set_matmul_precision(before)


def _set_matmul_precision(precision: str) -> None:
    with warnings.catch_warnings():
        # PyTorch 2.9 and 2.10 recommend a newer switch, after which asking for the older one raises.
        warnings.simplefilter("ignore")
        torch.set_float32_matmul_precision(precision)
