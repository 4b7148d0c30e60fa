"""The decoder network in plain NumPy: activations in place, and layer after layer over columns of texels."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

Activation = Callable[[np.ndarray, np.ndarray], object]
"""Overwrites its first argument with its values; the second is scratch memory of the same shape."""


def _leaky_relu(x: np.ndarray, scratch: np.ndarray) -> None:
    np.multiply(x, 0.01, out=scratch)
    np.maximum(x, scratch, out=x)


def _hard_swish(x: np.ndarray, scratch: np.ndarray) -> None:
    np.add(x, 3, out=scratch)
    np.clip(scratch, 0, 6, out=scratch)
    scratch *= 1 / 6
    x *= scratch


def _hard_gelu(x: np.ndarray, scratch: np.ndarray) -> None:
    np.add(x, 1.5, out=scratch)
    scratch *= 1 / 3
    np.clip(scratch, 0, 1, out=scratch)
    x *= scratch


def _gelu(x: np.ndarray, scratch: np.ndarray) -> None:
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))."""
    scale = math.sqrt(2 / math.pi)
    np.multiply(x, x, out=scratch)
    scratch *= 0.044715 * scale
    scratch += scale
    scratch *= x
    np.tanh(scratch, out=scratch)
    scratch += 1
    scratch *= 0.5
    x *= scratch


def _sigmoid(x: np.ndarray, scratch: np.ndarray) -> None:
    """1 / (1 + exp(-x)) as a hyperbolic tangent, which cannot overflow."""
    np.multiply(x, 0.5, out=x)
    np.tanh(x, out=x)
    x *= 0.5
    x += 0.5


def _silu(x: np.ndarray, scratch: np.ndarray) -> None:
    scratch[...] = x
    _sigmoid(scratch, scratch)
    x *= scratch


def _squareplus(x: np.ndarray, scratch: np.ndarray) -> None:
    """(y + sqrt(y^2 + 4)) / 20 for y = 10 x."""
    x *= 10
    np.multiply(x, x, out=scratch)
    scratch += 4
    np.sqrt(scratch, out=scratch)
    x += scratch
    x *= 0.05


def _softplus(x: np.ndarray, scratch: np.ndarray) -> None:
    """log(1 + exp(10 x)) / 10."""
    x *= 10
    np.logaddexp(0, x, out=x)
    x *= 0.1


ACTIVATIONS: dict[str, Activation] = {
    "none": lambda x, scratch: None,
    "relu": lambda x, scratch: np.maximum(x, 0, out=x),
    "leaky_relu": _leaky_relu,
    "hard_swish": _hard_swish,
    "hard_gelu": _hard_gelu,
    "gelu": _gelu,
    "silu": _silu,
    "exponential": lambda x, scratch: np.exp(x, out=x),
    "sine": lambda x, scratch: np.sin(x, out=x),
    "sigmoid": _sigmoid,
    "squareplus": _squareplus,
    "softplus": _softplus,
    "tanh": lambda x, scratch: np.tanh(x, out=x),
}
"""Activations by manifest name; squareplus and softplus scale by 10 inside, as tiny-cuda-nn's do."""


class Layer(NamedTuple):
    """One layer as it is applied: `activation(weights @ x + bias)`."""

    weights: np.ndarray
    """float32 `[rows, cols]`; of the last layer the rows that are outputs alone."""
    bias: np.ndarray | None
    """float32 `[rows]`."""
    activation: str


@cache
def _libraries() -> ThreadpoolController:
    """Return NumPy's matrix library; finding it takes milliseconds."""
    return ThreadpoolController()


_limit_lock = threading.Lock()
_limit_depth = 0
_limiter: Any = None


@contextmanager
def one_matrix_thread() -> Iterator[None]:
    """While entered, every thread multiplies its matrices by itself.

    They are small, and threads of the matrix library's own would spend their time waiting for each other. The limit
    holds for the whole process, so the first to enter sets it and the last to leave lifts it.
    """
    global _limit_depth, _limiter
    with _limit_lock:
        if _limit_depth == 0:
            _limiter = _libraries().limit(limits=1, user_api="blas")
        _limit_depth += 1
    try:
        yield
    finally:
        with _limit_lock:
            _limit_depth -= 1
            if _limit_depth == 0:
                _limiter.restore_original_limits()


class Workspace:
    """Memory that one thread's layers write into, kept from block to block."""

    def __init__(self) -> None:
        self._memory: dict[str, np.ndarray] = {}

    def array(self, name: str, *shape: int) -> np.ndarray:
        """Return a float32 array of the shape; its values are whatever the last user of the name left."""
        size = math.prod(shape)
        if name not in self._memory or self._memory[name].size < size:
            self._memory[name] = np.empty(size, np.float32)
        return self._memory[name][:size].reshape(shape)


quiet_overflow = np.errstate(over="ignore", invalid="ignore")
"""Decorates what hostile weights may make overflow: the outputs are clamped to [0, 1] in the end, as on a GPU."""


@quiet_overflow
def run_layers(layers: Sequence[Layer], x: np.ndarray, workspace: Workspace) -> np.ndarray:
    """Return the outputs `[rows, N]` for inputs `[cols, N]` (float32); valid until the workspace is used again."""
    for number, layer in enumerate(layers):
        shape = len(layer.weights), x.shape[1]
        x = np.matmul(layer.weights, x, out=workspace.array(f"layer {number % 2}", *shape))
        if layer.bias is not None:
            x += layer.bias[:, None]
        ACTIVATIONS[layer.activation](x, workspace.array("scratch", *shape))
    return x


@quiet_overflow
def run_with_linear(
    weights: np.ndarray, layers: Sequence[Layer], x: np.ndarray, workspace: Workspace
) -> tuple[np.ndarray, np.ndarray]:
    """As `run_layers`, but with other weights of the first layer, in which any bias is summed up.

    Rows that `weights` has beyond the first layer's are linear outputs, which are returned beside the network's.
    """
    rows = len(layers[0].weights)
    x = np.matmul(weights, x, out=workspace.array("first", len(weights), x.shape[1]))
    hidden, linear = x[:rows], x[rows:]
    ACTIVATIONS[layers[0].activation](hidden, workspace.array("scratch", *hidden.shape))
    return run_layers(layers[1:], hidden, workspace), linear
