"""Activations of the decoder, under tiny-cuda-nn's names in lower case, with the gradients the fused decoder needs."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

TCNN_ACTIVATIONS = {
    "none": "None",
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "exponential": "Exponential",
    "sine": "Sine",
    "sigmoid": "Sigmoid",
    "squareplus": "Squareplus",
    "softplus": "Softplus",
    "tanh": "Tanh",
    "silu": "SiLU",
}
"""Those that tiny-cuda-nn has, with its names."""


def _hard_gelu(x: torch.Tensor) -> torch.Tensor:
    return x * ((x + 1.5) / 3).clamp(0, 1)


def _hard_gelu_gradient(gradient: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    # 0 below -1.5, (2x + 1.5) / 3 between, 1 above: a clamp cannot say it, since the middle part starts at -0.5.
    slope = torch.where(x.abs() < 1.5, (2 * x + 1.5) / 3, (x > 0).to(x.dtype))
    return slope.mul_(gradient)


def _squareplus(x: torch.Tensor) -> torch.Tensor:
    scaled = x * 10
    return (scaled + (scaled * scaled + 4).sqrt()) / 20


ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": lambda x: x,
    "relu": F.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.01),
    "hard_swish": F.hardswish,
    "hard_gelu": _hard_gelu,
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "exponential": torch.exp,
    "sine": torch.sin,
    "sigmoid": torch.sigmoid,
    "squareplus": _squareplus,
    "softplus": lambda x: F.softplus(x, beta=10),
    "tanh": torch.tanh,
}
"""Value of each activation, any shape."""

_GRADIENTS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "none": lambda gradient, x: gradient,
    "relu": lambda gradient, x: torch.ops.aten.threshold_backward(gradient, x, 0),
    "leaky_relu": lambda gradient, x: torch.ops.aten.leaky_relu_backward(gradient, x, 0.01, False),
    "hard_swish": lambda gradient, x: torch.ops.aten.hardswish_backward(gradient, x),
    "hard_gelu": _hard_gelu_gradient,
    "gelu": lambda gradient, x: torch.ops.aten.gelu_backward(gradient, x, approximate="tanh"),
    "silu": lambda gradient, x: torch.ops.aten.silu_backward(gradient, x),
}


def activation_gradient(name: str, gradient: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return `gradient` times the activation's slope at `x` (the value before it), same shape."""
    if name in _GRADIENTS:
        return _GRADIENTS[name](gradient, x)
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(ACTIVATIONS[name](leaf), leaf, gradient)[0]
