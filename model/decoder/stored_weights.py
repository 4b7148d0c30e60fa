"""How the decoder is stored: float32, float16, or int8 with one float16 scale for each row of a matrix.

An int8 weight is `code * scale`, codes -127 .. 127. The flat array then holds bytes: the codes of all matrices in
their canonical order, the rows' scales as float16, then biases and curves as float16. Of the linear decoder the rows of
maps that are present are stored alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from configs import N_CHANNELS
from model.layout import CURVE_NUMBERS, ModelLayout

LEAST_SCALE = 2.0**-14
"""Smallest normal float16; rows with smaller weights are stored with fewer levels."""


def row_scales(matrix: torch.Tensor) -> torch.Tensor:
    """Return the float32 step [rows, 1] of each row's int8 codes: a float16 number, greatest magnitude / 127."""
    scales = matrix.detach().float().abs().amax(1, keepdim=True) / 127
    return scales.half().float().clamp_(min=LEAST_SCALE)


def row_codes(matrix: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Return the nearest codes of a matrix, whole numbers from -127 to 127 as floats."""
    return (matrix / scales).round_().clamp_(-127, 127)


class _RoundRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, matrix: torch.Tensor) -> torch.Tensor:
        scales = row_scales(matrix)
        return row_codes(matrix, scales).mul_(scales)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


def round_rows(matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix [rows, cols] as int8 storage gives it back; gradients pass straight through."""
    return _RoundRows.apply(matrix)


def _matrices(flat: torch.Tensor, layout: ModelLayout) -> list[torch.Tensor]:
    """Return views of the flat canonical weights, one [rows, cols] per layer."""
    matrices = [
        flat[layer.offset : layer.offset + layer.rows * layer.cols].view(layer.rows, layer.cols)
        for layer in layout.layers
    ]
    return matrices


def _rounded(flat: torch.Tensor, layout: ModelLayout) -> list[torch.Tensor]:
    """Return the matrices that int8 storage holds as codes."""
    in_codes = layout.linear is not None and layout.linear.precision == "int8"
    return [*_matrices(flat, layout), *([linear_matrix(flat, layout)] if in_codes else [])]


def linear_matrix(flat: torch.Tensor, layout: ModelLayout) -> torch.Tensor:
    """Return the linear decoder's matrix [11, cols], a view of the flat canonical weights; the layout must have one."""
    if layout.linear is None:
        raise ValueError("the layout has no linear decoder")
    size = N_CHANNELS * layout.linear.cols
    return flat[layout.linear.offset : layout.linear.offset + size].view(N_CHANNELS, -1)


def curve_numbers(flat: torch.Tensor, layout: ModelLayout) -> list[torch.Tensor]:
    """Return each grid's curves [F, 4], views of the flat canonical weights; none where the layout has no curves."""
    return [
        flat[start : start + CURVE_NUMBERS * grid.n_features].view(-1, CURVE_NUMBERS)
        for start, grid in zip(layout.curve_offsets or (), layout.grids)
    ]


def as_stored(flat: torch.Tensor, layout: ModelLayout) -> torch.Tensor:
    """Return the canonical flat weights, float32, with the values that their storage gives back."""
    if layout.network_precision == "float32":
        return flat.clone()
    stored = flat.half().float()
    if layout.network_precision == "int8":
        for matrix, target in zip(_rounded(flat, layout), _rounded(stored, layout)):
            target.copy_(round_rows(matrix))
    return stored


@dataclass
class Placement:
    """Where the parts of a decoder lie in the array that is stored, in its elements (bytes for int8)."""

    layers: list[dict[str, int | None]]
    """offset, bias_offset and, for int8, scale_offset of each layer."""
    linear: dict[str, int] | None
    """The same of the linear decoder, without a bias."""
    curves: list[int]
    """Beginning of each grid's curves; empty without any."""


def pack_network(flat: np.ndarray, layout: ModelLayout, outputs: Sequence[int]) -> tuple[np.ndarray, Placement]:
    """Return the array that is stored, and where each part lies in it.

    `outputs`: canonical channels that are present, whose rows of the linear decoder are stored. What float16 cannot hold
    becomes infinite.
    """
    weights = torch.from_numpy(np.ascontiguousarray(flat, np.float32))
    linear = linear_matrix(weights, layout)[list(outputs)] if layout.linear else None
    int8 = layout.network_precision == "int8"
    linear_in_codes = layout.linear is not None and layout.linear.precision == "int8"
    number = np.dtype("float16" if int8 else layout.network_precision)
    parts: list[np.ndarray] = []

    def place(values: torch.Tensor) -> int:
        """Append numbers and return where they begin, in elements of the array."""
        start = sum(part.size for part in parts)
        stored = values.reshape(-1).numpy().astype(np.int8 if values.dtype == torch.int8 else number)
        parts.append(stored.view(np.int8) if int8 else stored)
        return start

    coded = [*_matrices(weights, layout), *([linear] if linear is not None and linear_in_codes else [])]
    layers: list[dict[str, int | None]]
    with np.errstate(over="ignore"):
        scales = [row_scales(matrix) for matrix in coded] if int8 else []
        codes = [row_codes(*pair).to(torch.int8) for pair in zip(coded, scales)] if int8 else coded
        entries: list[dict[str, int]] = [{"offset": place(code)} for code in codes]
        for entry, scale in zip(entries, scales):
            entry["scale_offset"] = place(scale)
        placed = entries.pop() if linear_in_codes else None
        layers = [{**entry, "bias_offset": None} for entry in entries]
        for placing, layer in zip(layers, layout.layers):
            if layer.bias_offset is not None:
                placing["bias_offset"] = place(weights[layer.bias_offset : layer.bias_offset + layer.rows])
        if linear is not None and placed is None:
            placed = {"offset": place(linear)}
        curves = [place(curve) for curve in curve_numbers(weights, layout)]
    return np.concatenate(parts), Placement(layers, placed, curves)


def stored_bytes(layout: ModelLayout, n_outputs: int = N_CHANNELS) -> int:
    """Return the bytes of the stored array; `n_outputs` channels are present."""
    rows = [(layer.rows, layer.cols) for layer in layout.layers]
    numbers = sum(layer.rows for layer in layout.layers if layer.bias_offset is not None)
    numbers += sum(CURVE_NUMBERS * grid.n_features for grid in layout.grids) if layout.curve_offsets else 0
    if layout.linear and layout.linear.precision == "int8":
        rows.append((n_outputs, layout.linear.cols))
    elif layout.linear:
        numbers += n_outputs * layout.linear.cols
    codes = sum(count * cols for count, cols in rows)
    if layout.network_precision == "int8":
        return codes + 2 * (numbers + sum(count for count, _ in rows))
    return (codes + numbers) * (2 if layout.network_precision == "float16" else 4)
