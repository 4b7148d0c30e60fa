"""How the decoder is stored: float32, float16, or int8 with one float16 scale for each row of a matrix.

An int8 weight is `code * scale`, codes -127 .. 127. The flat array then holds bytes: the codes of all matrices in
their canonical order, the rows' scales as float16, the biases as float16.
"""

from __future__ import annotations

import numpy as np
import torch

from model.layout import ModelLayout

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
    return [
        flat[layer.offset : layer.offset + layer.rows * layer.cols].view(layer.rows, layer.cols)
        for layer in layout.layers
    ]


def as_stored(flat: torch.Tensor, layout: ModelLayout) -> torch.Tensor:
    """Return the canonical flat weights, float32, with the values that their storage gives back."""
    if layout.network_precision == "float32":
        return flat.clone()
    stored = flat.half().float()
    if layout.network_precision == "int8":
        for matrix, target in zip(_matrices(flat, layout), _matrices(stored, layout)):
            target.copy_(round_rows(matrix))
    return stored


def pack_network(flat: np.ndarray, layout: ModelLayout) -> tuple[np.ndarray, list[dict]]:
    """Return the array that is stored, and where each layer lies in it: offset, scale_offset (int8), bias_offset.

    Offsets count array elements (bytes for int8). What float16 cannot hold becomes infinite.
    """
    offsets: list[dict[str, int | None]] = [
        {"offset": layer.offset, "bias_offset": layer.bias_offset} for layer in layout.layers
    ]
    with np.errstate(over="ignore"):
        if layout.network_precision != "int8":
            return flat.astype(layout.network_precision), offsets
        weights = torch.from_numpy(np.ascontiguousarray(flat, np.float32))
        matrices = [(matrix, row_scales(matrix)) for matrix in _matrices(weights, layout)]
        codes = [row_codes(matrix, scale).to(torch.int8).reshape(-1).numpy() for matrix, scale in matrices]
        scales = [scale.reshape(-1).numpy().astype(np.float16) for _, scale in matrices]
        parts, end = [*codes], sum(map(len, codes))
        for entry, row_scale in zip(offsets, scales):
            entry["scale_offset"] = end
            parts.append(row_scale.view(np.int8))
            end += parts[-1].size
        for entry, layer in zip(offsets, layout.layers):
            if layer.bias_offset is not None:
                bias = flat[layer.bias_offset : layer.bias_offset + layer.rows].astype(np.float16)
                entry["bias_offset"] = end
                parts.append(bias.view(np.int8))
                end += parts[-1].size
    return np.concatenate(parts), offsets


def stored_bytes(layout: ModelLayout) -> int:
    """Return the bytes of the stored array."""
    if layout.network_precision != "int8":
        return layout.n_weights * (2 if layout.network_precision == "float16" else 4)
    rows = sum(layer.rows for layer in layout.layers)
    biases = sum(layer.rows for layer in layout.layers if layer.bias_offset is not None)
    return layout.macs_per_texel + 2 * (rows + biases)
