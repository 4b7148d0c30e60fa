"""The layout of `weights.bin`, as the JSON beside it tells it."""

from __future__ import annotations

from runtime.weight_words import WORD_BYTES, row_words
from runtime.weights import PackedFirstLayer, PackedLayer, PackedWeights


def weights_json(packed: PackedWeights, manifest: dict) -> dict:
    """Return what `weights.bin` holds and where, offsets in bytes: the layout that the pages describe."""
    result: dict = {
        "bytes": len(packed.data),
        "first_layer": _first_layer(packed, packed.first, manifest),
        "layers": [_layer(layer) for layer in packed.layers],
    }
    if packed.fold:
        result["folded"] = {
            **_first_layer(packed, packed.fold.layer, manifest),
            "matrix_bytes": packed.fold.layer.matrix_words * WORD_BYTES,
            "bias_bytes": packed.fold.layer.hidden * 4,
            "periods": [list(period) for period in packed.fold.periods],
            "firsts": packed.fold.firsts,
            "matrices": packed.fold.count,
        }
    return result


def _bytes(word: int) -> int | None:
    """Return a position in bytes, null where there is none."""
    return word * WORD_BYTES if word >= 0 else None


def _layer(layer: PackedLayer) -> dict:
    return {
        "precision": layer.precision,
        "rows": layer.rows,
        "columns": layer.columns,
        "row_stride": layer.stride * WORD_BYTES,
        "offset": _bytes(layer.weights),
        "bias_offset": _bytes(layer.bias),
        "scale_offset": _bytes(layer.scale),
        "activation": layer.activation,
    }


def _first_layer(packed: PackedWeights, layer: PackedFirstLayer, manifest: dict) -> dict:
    rows = layer.hidden + layer.linear
    grids = []
    for g, (columns, grid) in enumerate(zip(packed.columns.grids, manifest["grids"])):
        words = row_words(columns.features, layer.precision)
        grids.append(
            {
                "features": grid["n_features"],
                "taps": columns.taps,
                "row_stride": words * WORD_BYTES,
                # A matrix for each tap: [rows + linear_rows, features].
                "offset": _bytes(layer.weights + layer.grids[g]),
                "tap_bytes": rows * words * WORD_BYTES,
                # [functions of the place, taps, rows or linear_rows, features]
                "products_offset": _bytes(layer.products[g]),
                "linear_products_offset": _bytes(layer.linear_products[g]),
            }
        )
    return {
        "precision": layer.precision,
        "rows": layer.hidden,
        "linear_rows": layer.linear,
        "grids": grids,
        "bias_offset": _bytes(layer.bias),
        "scale_offset": _bytes(layer.scale),
        "encoding_offset": _bytes(layer.encoding),
        "encoding_inputs": len(packed.columns.encoding),
        "lod_offset": _bytes(layer.lod),
        "linear_inputs_offset": _bytes(layer.linear_inputs),
        "activation": layer.activation,
    }
