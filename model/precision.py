"""How many bits float32 matrix products keep: fewer may be enough to train, an evaluation needs them all."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import torch


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
