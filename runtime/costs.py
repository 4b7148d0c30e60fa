"""What a decode costs as the generated code does it: multiply-adds, fetches, bytes of weights."""

from __future__ import annotations

from formats.reader import NeuralTextureReader
from runtime.weight_words import WORD_BYTES, row_words
from runtime.weights import PackedFirstLayer, PackedWeights


def multiply_adds(weights: PackedWeights) -> dict[str, int]:
    """Return the multiply-adds of one decode's network: `texel` (NeuralTexture_Load), `point` (NeuralTexture_Sample).

    Rows and features are counted as they are padded to multiples of 4.
    """
    rest = sum(layer.rows * layer.columns for layer in weights.layers)
    point = _first_layer(weights, weights.first)
    for columns, products, linear in zip(weights.columns.grids, weights.first.products, weights.first.linear_products):
        inputs = 4 * columns.quads * columns.taps
        point += inputs * weights.first.hidden * weights.columns.product_count if products >= 0 else 0
        point += inputs * weights.first.linear * weights.columns.linear_count if linear >= 0 else 0
    texel = _first_layer(weights, weights.fold.layer) if weights.fold else point
    return {"texel": texel + rest, "point": point + rest}


def _first_layer(weights: PackedWeights, layer: PackedFirstLayer) -> int:
    """Return the multiply-adds of the first layer without products."""
    taps = sum((layer.hidden + layer.linear) * 4 * columns.quads * columns.taps for columns in weights.columns.grids)
    encoding = layer.hidden * (4 * weights.encoding_quads if layer.encoding >= 0 else 1)
    return taps + encoding + (layer.hidden * layer.linear if layer.linear_inputs >= 0 else 0)


def curve_multiply_adds(reader: NeuralTextureReader) -> int:
    """Return the multiply-adds of the feature curves of one decode: three for each feature of each tap."""
    return sum(12 * grid["n_features"] for grid in reader.manifest["grids"] if grid.get("curve_offset") is not None)


def fetches(reader: NeuralTextureReader) -> int:
    """Return the texels that an exact decode fetches from the grids: four taps of every texture."""
    return sum(4 * len(grid["files"]) for grid in reader.manifest["grids"])


def weights_read(weights: PackedWeights) -> int:
    """Return the bytes of weights that a decoded texel reads, biases and scales left out."""
    layer = weights.fold.layer if weights.fold else weights.first
    words = layer.matrix_words + sum(other.rows * other.stride for other in weights.layers)
    if layer.encoding >= 0:
        words += layer.hidden * row_words(len(weights.columns.encoding), layer.precision)
    if layer.linear_inputs >= 0:
        words += layer.hidden * row_words(layer.linear, layer.precision)
    for columns, products, linear in zip(weights.columns.grids, layer.products, layer.linear_products):
        row = 4 * row_words(columns.features, layer.precision)
        words += row * layer.hidden * weights.columns.product_count if products >= 0 else 0
        words += row * layer.linear * weights.columns.linear_count if linear >= 0 else 0
    return WORD_BYTES * words
