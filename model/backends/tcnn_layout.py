"""What tiny-cuda-nn expects and this model has: the pure conversions between the two, testable without a GPU.

tiny-cuda-nn's dense grid of resolution `R` places an input `x` at `x * (R - 1) + 0.5` and stores entry (column, row) at
`column + row * R`, F values each, padded to a multiple of 8 entries. It neither wraps nor clamps per axis, so a level
of `r` texels is handed over as `R = r + 2`: a ring around it repeats the opposite border, or the nearest texel.

Letters: `r` texels per side of a level, `R = r + 2`, `F` features, `n` texels, `B` tiles, `T` texels of an axis.
"""

from __future__ import annotations

import numpy as np
import torch

from model.decoder.activations import TCNN_ACTIVATIONS
from model.grids.taps import AxisTaps
from model.layout import LayerLayout, ModelLayout

MAX_FEATURES = 8
"""Most features that one Encoding has; it takes 1, 2, 4 or 8."""
FUSED_WIDTHS = (16, 32, 64, 128)
"""Widths that FullyFusedMLP is compiled for."""
NEEDS_INPUT = ("sine", "silu")
"""Activations whose slope needs the value before them, which FullyFusedMLP does not keep."""
OVERFLOWS = ("softplus",)
"""Activations that tiny-cuda-nn works out by an exponential which leaves float32 where the value itself does not."""
FUSED_AT_RUN_TIME = ("none", "relu", "leaky_relu")
"""Activations whose slope is the same before and after them: kernels that are fused at run time keep only what comes
after, and take it for what came before."""
WIDEST_FUSED_AT_RUN_TIME = 64
"""Wider decoders need more registers than there are."""


def feature_split(n_features: int) -> list[slice]:
    """Split a grid's features over Encodings.

    >>> feature_split(4), feature_split(16)
    ([slice(0, 4, None)], [slice(0, 8, None), slice(8, 16, None)])
    """
    return [slice(first, min(first + MAX_FEATURES, n_features)) for first in range(0, n_features, MAX_FEATURES)]


def table_entries(resolution: int) -> int:
    """Entries of the table of a level of `resolution` texels per side, ring and padding included.

    >>> table_entries(4), table_entries(3)
    (40, 32)
    """
    return -(-((resolution + 2) ** 2) // 8) * 8


def encoding_config(resolution: int, n_features: int) -> dict[str, object]:
    """The Encoding of one level; `per_level_scale` is given because its default divides by the levels less one."""
    return {
        "otype": "Grid",
        "type": "Dense",
        "n_levels": 1,
        "n_features_per_level": n_features,
        "base_resolution": resolution + 2,
        "per_level_scale": 1.0,
        "interpolation": "Linear",
    }


def network_type(layout: ModelLayout) -> tuple[str, str]:
    """Return which tiny-cuda-nn network can run the decoder, or `torch`, and why not a faster one ("" where it is).

    The last activation never matters: it is applied in torch.
    """
    if any(layer.bias_offset is not None for layer in layout.layers):
        return "torch", "tiny-cuda-nn has no biases"
    if layout.position_order:
        return "torch", "a first layer that depends on the place in a cell is cheaper in torch"
    if len(layout.layers) == 1:
        return "CutlassMLP", "FullyFusedMLP needs a hidden layer"
    activation = layout.layers[0].activation
    if activation not in TCNN_ACTIVATIONS:
        return "torch", f"tiny-cuda-nn has no {activation}"
    if activation in OVERFLOWS:
        return "torch", f"tiny-cuda-nn's {activation} overflows"
    if layout.n_neurons % 16:
        return "torch", f"tiny-cuda-nn needs n_neurons in multiples of 16, not {layout.n_neurons}"
    if layout.n_neurons not in FUSED_WIDTHS:
        return "CutlassMLP", f"FullyFusedMLP takes n_neurons {', '.join(map(str, FUSED_WIDTHS))}"
    if activation in NEEDS_INPUT:
        return "CutlassMLP", f"FullyFusedMLP has no {activation}"
    return "FullyFusedMLP", ""


def fuses_at_run_time(layout: ModelLayout) -> bool:
    """Whether tiny-cuda-nn's JIT fusion gives this decoder's gradients, and in registers."""
    return layout.n_neurons <= WIDEST_FUSED_AT_RUN_TIME and all(
        layer.activation in FUSED_AT_RUN_TIME for layer in layout.layers[:-1]
    )


def network_config(layout: ModelLayout, otype: str) -> dict[str, object]:
    """The Network of the decoder without its last activation."""
    activation = TCNN_ACTIVATIONS[layout.layers[0].activation] if len(layout.layers) > 1 else "None"
    return {
        "otype": otype,
        "activation": activation,
        "output_activation": "None",
        "n_neurons": layout.n_neurons if len(layout.layers) > 1 else 16,
        "n_hidden_layers": len(layout.layers) - 1,
    }


def ring_entries(index: torch.Tensor, resolution: int) -> torch.Tensor:
    """Table entries of level texels given as `x + y * r`, same shape, int64.

    >>> ring_entries(torch.tensor([0, 1, 4]), 4).tolist()
    [7, 8, 13]
    """
    row = torch.div(index, resolution, rounding_mode="floor")
    return index + 2 * row + resolution + 3


def fill_ring(square: torch.Tensor, wrap: bool) -> torch.Tensor:
    """Set the ring of [R, R, F] from its inside, in place: the opposite border (`wrap`), or the nearest texel."""
    last = square.shape[0] - 2
    low, high = (last, 1) if wrap else (1, last)
    square[1:-1, 0], square[1:-1, -1] = square[1:-1, low], square[1:-1, high]
    square[0], square[-1] = square[low], square[high]
    return square


def fold_ring(square: torch.Tensor, wrap: bool) -> torch.Tensor:
    """Add a gradient's ring to the texels it repeats, in place: the transpose of `fill_ring`."""
    last = square.shape[0] - 2
    low, high = (last, 1) if wrap else (1, last)
    square[low] += square[0]
    square[high] += square[-1]
    square[1:-1, low] += square[1:-1, 0]
    square[1:-1, high] += square[1:-1, -1]
    return square


class LevelTable(torch.autograd.Function):
    """The table of one level, as far as a batch reads it, from the texels under its tiles.

    `apply(texels, index, resolution, wrap, dtype)`: texels [n, F] float32, index [n] of `x + y * r`, a texel any number
    of times. Returns [entries, F] in `dtype`; entries that no tile touches are 0. A texel that occurs k times gets a
    k-th of its gradient each time, so that their sum is the gradient.
    """

    @staticmethod
    def forward(ctx, texels, index, resolution, wrap, dtype):
        side = resolution + 2
        entries = ring_entries(index, resolution)
        table = torch.zeros(table_entries(resolution), texels.shape[1], dtype=dtype, device=texels.device)
        table.index_copy_(0, entries, texels.to(dtype))
        fill_ring(table[: side * side].view(side, side, -1), wrap)
        ctx.save_for_backward(entries)
        ctx.side, ctx.wrap, ctx.dtype = side, wrap, texels.dtype
        return table

    @staticmethod
    def backward(ctx, gradient):
        (entries,) = ctx.saved_tensors
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        fold_ring(gradient[: ctx.side**2].view(ctx.side, ctx.side, -1), ctx.wrap)
        times = torch.zeros(gradient.shape[0], 1, dtype=ctx.dtype, device=gradient.device)
        times.index_add_(0, entries, torch.ones(len(entries), 1, dtype=ctx.dtype, device=gradient.device))
        rows = gradient.index_select(0, entries).to(ctx.dtype)
        return rows.div_(times.index_select(0, entries)), None, None, None, None


def ring_coordinates(taps: AxisTaps, resolution: int, wrap: bool) -> np.ndarray:
    """Encoding inputs of an axis's texels, float32 [B, T]: `u * r / (r + 1)`, or as far from the opposite border.

    `u * r - 0.5` is the texel's place on the level, one more its place in the table.
    """
    lower = np.take_along_axis(taps.index, taps.cell, 1)
    if not wrap:
        # Before the first texel both taps are clamped to it; its place is that of the ring.
        lower = lower - ((lower == 0) & (np.take_along_axis(taps.index, taps.cell + 1, 1) == 0))
    return ((lower + taps.fraction.astype(np.float64) + 0.5) / (resolution + 1)).astype(np.float32)


def flat_weights(
    matrices: list[torch.Tensor], ones: torch.Tensor | None, rows: torch.Tensor, layers: tuple[LayerLayout, ...]
) -> torch.Tensor:
    """Join a decoder without biases into the canonical flat array, which is tiny-cuda-nn's, with gradients.

    `matrices` as in `Decoder`; `ones` the first layer's columns of the padding, or None; `rows` [C] the output
    rows of the last matrix (the canonical numbers of the channels that are present), the others are zero.
    """
    whole = list(matrices)
    if ones is not None:
        whole[0] = torch.cat([whole[0], ones], 1)
    last = whole[-1]
    whole[-1] = torch.zeros(layers[-1].rows, last.shape[1], dtype=last.dtype, device=last.device).index_copy(
        0, rows, last
    )
    return torch.cat([matrix.reshape(-1) for matrix in whole])


class LossScale:
    """The power of two that keeps half-precision gradients in range, adjusted without waiting for the device.

    It doubles after `interval` steps with finite gradients and halves after one without.
    """

    def __init__(self, device: torch.device, start: float = 2.0**14, interval: int = 1000) -> None:
        self.scale = torch.full((), start, device=device)
        self.good_steps = torch.zeros((), device=device)
        self.interval = interval

    def update(self, finite: torch.Tensor) -> None:
        """Take note of one step; `finite` is a 0-dim bool on the device."""
        good = torch.where(finite, self.good_steps + 1, 0.0)
        grow = good >= self.interval
        factor = torch.where(finite, torch.where(grow, 2.0, 1.0), 0.5)
        # Not in place: a pending backward pass may still hold the old value.
        self.scale = (self.scale * factor).clamp(1.0, 2.0**24)
        self.good_steps = torch.where(grow, 0.0, good)


def all_finite(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Whether every element is finite, as a 0-dim bool on the tensors' device."""
    # A sum is finite only if its terms are, and costs no mask of the tensors' size.
    return torch.stack([tensor.sum() for tensor in tensors]).isfinite().all()
