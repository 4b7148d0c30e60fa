"""What optimisers ask of tensors: the gradient that a backward pass has left, and a stored state put back."""

from __future__ import annotations

import torch


def gradient_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return the gradient that a backward pass has left; raises `ValueError` where there is none."""
    if tensor.grad is None:
        raise ValueError("a parameter has no gradient: the loss does not depend on it")
    return tensor.grad


def restore(buffer: torch.Tensor, stored: torch.Tensor) -> None:
    """Set a tensor to a stored one; raises `ValueError` where that has another shape, which copying could spread."""
    if stored.shape != buffer.shape:
        raise ValueError(f"a stored tensor of {tuple(stored.shape)} for one of {tuple(buffer.shape)}")
    buffer.copy_(stored)
