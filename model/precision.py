"""How many bits float32 matrix products keep: fewer may be enough to train, an evaluation needs them all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


def allow_tf32(device: torch.device) -> None:
    """Let CUDA compute float32 matrix products in TF32 (10 bits of mantissa) from now on; elsewhere nothing changes."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """While entered, float32 matrix products keep all their bits, so that they agree with readers of the files."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
