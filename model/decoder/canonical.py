"""The decoder as one flat float32 array in the canonical layout, as checkpoints and exports hold it, and back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torchtyping import TensorType

from model.decoder.decoder import Decoder
from model.decoder.stored_weights import as_stored, curve_numbers, linear_matrix


def _rows(decoder: Decoder, layer: int) -> list[int] | slice:
    """Rows of the canonical matrix that the decoder has."""
    return decoder.outputs if layer == len(decoder.matrices) - 1 else slice(None)


@torch.no_grad()
def canonical_weights(decoder: Decoder) -> TensorType["weights", float]:
    """Return the decoder as the canonical flat array, on the host; what it lacks is zero."""
    flat = torch.zeros(decoder.layout.n_weights)
    for index, (layer, matrix) in enumerate(zip(decoder.layout.layers, decoder.matrices)):
        view = flat[layer.offset : layer.offset + layer.rows * layer.cols].view(layer.rows, layer.cols)
        full = matrix.detach().cpu()
        if index == 0 and decoder.ones is not None:
            full = torch.cat([full, decoder.ones.detach().cpu()], 1)
        view[_rows(decoder, index), : full.shape[1]] = full
        if layer.bias_offset is not None:
            bias = flat[layer.bias_offset : layer.bias_offset + layer.rows]
            bias[_rows(decoder, index)] = decoder.biases[index].detach().cpu()
    if decoder.linear is not None:
        linear_matrix(flat, decoder.layout)[decoder.outputs] = decoder.linear.detach().cpu()
    for part, curve in zip(curve_numbers(flat, decoder.layout), decoder.curves):
        part.copy_(curve.detach())
    return flat


@torch.no_grad()
def load_canonical_weights(decoder: Decoder, flat: TensorType["weights", float]) -> None:
    """Set the decoder from the canonical flat array."""
    for index, (layer, matrix) in enumerate(zip(decoder.layout.layers, decoder.matrices)):
        view = flat[layer.offset : layer.offset + layer.rows * layer.cols].view(layer.rows, layer.cols)
        view = view[_rows(decoder, index)]
        matrix.copy_(view[:, : matrix.shape[1]])
        if index == 0 and decoder.ones is not None:
            decoder.ones.copy_(view[:, matrix.shape[1] :])
        if layer.bias_offset is not None:
            bias = flat[layer.bias_offset : layer.bias_offset + layer.rows]
            decoder.biases[index].copy_(bias[_rows(decoder, index)])
    if decoder.linear is not None:
        decoder.linear.copy_(linear_matrix(flat, decoder.layout)[decoder.outputs])
    for part, curve in zip(curve_numbers(flat, decoder.layout), decoder.curves):
        curve.copy_(part)


@contextlib.contextmanager
def stored_precision(decoder: Decoder) -> Iterator[None]:
    """While entered, the decoder holds the numbers that its storage gives back."""
    masters = canonical_weights(decoder)
    if decoder.layout.network_precision != "float32":
        load_canonical_weights(decoder, as_stored(masters, decoder.layout))
    try:
        yield
    finally:
        if decoder.layout.network_precision != "float32":
            load_canonical_weights(decoder, masters)
