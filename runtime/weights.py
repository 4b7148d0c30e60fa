"""The decoder's weights as shaders read them: `weights.bin`, 16-byte words, rows aligned, padding folded away.

The first layer and the linear decoder are matrices for each tap of each grid, one after another, whose columns are the
tap's features; inputs that are always one are part of the bias. Every matrix starts on 64 bytes and every row on 16, as
cooperative vectors ask for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from formats.reader import NeuralTextureReader
from formats.weights import read_weights, stored_matrix, stored_numbers
from runtime.first_layer import FirstLayer, InputColumns, first_layer, input_columns
from runtime.places import Places, find_places, place_encoding, place_functions
from runtime.weight_words import WORD_BYTES, Words, padded_rows, row_words

MOST_FOLDED_BYTES = 1 << 22
"""First layers for each place together: about what GPUs keep in the cache that all their cores share."""
_FLOAT16_MAX = 65504.0


@dataclass(frozen=True)
class PackedLayer:
    """A layer in `weights.bin`; positions are in words of 16 bytes."""

    precision: str
    rows: int
    """A multiple of 4; rows beyond the layer's own are zero."""
    columns: int
    """Inputs, a multiple of 4; what a row's last word holds beyond them is zero."""
    stride: int
    """Words from row to row."""
    weights: int
    bias: int
    """float32, four to a word."""
    scale: int
    """Likewise, what a row's sum is multiplied with; -1: nothing."""
    activation: str


@dataclass(frozen=True)
class PackedFirstLayer:
    """The first layer and the linear decoder; positions are in words of 16 bytes from the start of the file."""

    precision: str
    hidden: int
    """Rows of the layer, a multiple of 4."""
    linear: int
    """Rows of the linear decoder, which follow them: a multiple of 4, 0 without one."""
    weights: int
    grids: list[int]
    """Of each grid, its first tap's matrix `[hidden + linear, F]`, counted from `weights`; the other taps' follow it."""
    matrix_words: int
    """Of all grids."""
    bias: int
    scale: int
    encoding: int
    """Matrix of positional encoding and lod, `[hidden, inputs]`; -1: the encoding is part of the bias."""
    lod: int
    """Where the encoding is part of the bias, the weights of the lod, float32; else -1."""
    linear_inputs: int
    """Matrix `[hidden, linear]` of what the linear decoder gives; -1: there is none, or it is part of the taps' matrices."""
    products: list[int]
    """Of each grid, matrices `[functions, taps, hidden, F]` for the products with functions of the place; -1: none."""
    linear_products: list[int]
    """The same for the linear decoder: `[functions, taps, linear, F]`."""
    activation: str


@dataclass(frozen=True)
class Fold:
    """First layers with the place in a cell folded in."""

    layer: PackedFirstLayer
    """The first of them; the others follow it every `matrix_words`, their biases every `hidden` numbers."""
    periods: list[tuple[int, int]]
    """Per stored mip, after how many texels along the width and the height places repeat."""
    firsts: list[int]
    """Per stored mip, its first matrix; that of texel (x, y) is `(y mod py) * px + x mod px` further."""
    count: int
    """Matrices in all."""


@dataclass
class PackedWeights:
    """All of `weights.bin` and where everything lies in it."""

    columns: InputColumns
    first: PackedFirstLayer
    layers: list[PackedLayer] = field(default_factory=list)
    """All but the first."""
    fold: Fold | None = None
    data: bytes = b""

    @property
    def encoding_quads(self) -> int:
        """Positional encoding and lod, four to a quad."""
        return -(-len(self.columns.encoding) // 4)

    @property
    def outputs(self) -> int:
        """Rows of the last layer."""
        return self.layers[-1].rows if self.layers else self.first.hidden


def pack_weights(reader: NeuralTextureReader, fold: bool = True, precision: str | None = None) -> PackedWeights:
    """Return an export's weights in the shader's layout, in another `precision` or as they are stored in the export.

    `fold`: where the first layer depends on the place in a cell and texels have few places, matrices for each of them
    too, in half precision unless the network is float32. Raises `UserError` where the export is damaged.
    """
    manifest, layers = reader.manifest, reader.layers
    network, rows = manifest["network"], precision or manifest["network"]["precision"]
    columns = input_columns(manifest, layers[0].weights.shape[1])
    channels = np.flatnonzero(
        np.repeat([c["present"] for c in manifest["channels"]], [c["count"] for c in manifest["channels"]])
    )
    chosen = [channels if number == len(layers) - 1 else slice(None) for number in range(len(layers))]
    linear, codes = _linear_matrix(reader), _int8_rows(reader) if rows == "int8" else None
    outputs = network["linear"]["outputs"] if linear is not None else []
    own = layers[0]
    values = first_layer(columns, own.weights[chosen[0]].astype(np.float64), linear, outputs, channels)
    bias = own.weights[:, columns.ones].sum(axis=1, dtype=np.float64)
    bias = padded_rows((bias if own.bias is None else bias + own.bias)[chosen[0]])
    words = Words()
    if codes is None or (linear is not None and codes.linear[1] is None):
        # Rows of both lie in one matrix, so a linear decoder in float16 takes the first layer along.
        first = _add_first_layer(words, values, bias, None, rows if codes is None else "float16", own.activation)
    else:
        linear_codes, linear_scale = codes.linear
        stored = first_layer(columns, codes.layers[0][0][chosen[0]], linear_codes, outputs, channels)
        scale = padded_rows(codes.layers[0][1][chosen[0]])
        if linear_scale is not None:
            own_scale = np.zeros(len(channels), np.float32)
            own_scale[np.searchsorted(channels, outputs)] = linear_scale
            scale = np.concatenate([scale, padded_rows(own_scale)])
        first = _add_first_layer(words, stored, bias, scale, rows, own.activation)
    packed = PackedWeights(columns, first)
    for number, layer in enumerate(layers[1:], start=1):
        bias_rows = np.zeros(len(layer.weights)) if layer.bias is None else layer.bias
        matrix, factors = (layer.weights, None) if codes is None else codes.layers[number]
        packed.layers.append(
            _add_layer(
                words,
                matrix[chosen[number]],
                bias_rows[chosen[number]],
                None if factors is None else factors[chosen[number]],
                layer.activation,
                rows,
            )
        )
    if fold and (manifest.get("position_order", 0) or linear is not None):
        places = find_places(manifest, len(reader.stored_mips))
        if places:
            folded_precision = "float32" if rows == "float32" else "float16"
            packed.fold = _add_fold(words, manifest, values, bias, places, folded_precision, own.activation)
    packed.data = words.joined()
    return packed


@dataclass(frozen=True)
class _Codes:
    """Weights as they are stored in int8, and the factor of each row."""

    layers: list[tuple[np.ndarray, np.ndarray]]
    linear: tuple[np.ndarray | None, np.ndarray | None]


def _linear_matrix(reader: NeuralTextureReader) -> np.ndarray | None:
    """Return the linear decoder's rows as they are applied, float64; None: there is none."""
    if reader.linear is None:
        return None
    grids = [grid.swapaxes(0, 1).reshape(grid.shape[1], -1) for grid in reader.linear.weights]
    return np.concatenate(grids, axis=1).astype(np.float64)


def _int8_rows(reader: NeuralTextureReader) -> _Codes:
    """Return all weights as they are stored, whole numbers, and the factor of each row."""
    network, flat = reader.manifest["network"], read_weights(reader.folder, reader.manifest)

    def rows(entry: dict, count: int) -> tuple[np.ndarray, np.ndarray]:
        return stored_matrix(flat, entry)[:count], stored_numbers(flat, entry["scale_offset"], count)

    layers = [rows(entry, len(kept.weights)) for entry, kept in zip(network["layers"], reader.layers)]
    linear = network.get("linear")
    in_codes = linear is not None and linear.get("scale_offset") is not None
    return _Codes(layers, rows(linear, len(linear["outputs"])) if linear and in_codes else (None, None))


def _add_layer(
    words: Words, matrix: np.ndarray, bias: np.ndarray, scale: np.ndarray | None, activation: str, precision: str
) -> PackedLayer:
    padded = padded_rows(padded_rows(matrix), axis=1)
    return PackedLayer(
        precision,
        padded.shape[0],
        padded.shape[1],
        row_words(padded.shape[1], precision),
        words.add_matrices(padded, precision),
        words.add_floats(padded_rows(bias)),
        -1 if scale is None else words.add_floats(padded_rows(scale)),
        activation,
    )


def _grid_starts(parts: FirstLayer, precision: str) -> tuple[list[int], int]:
    """Return where each grid's matrices of taps begin when they follow each other, and the words of all."""
    starts, end, rows = [], 0, len(parts.hidden) + len(parts.linear)
    for entry in parts.columns.grids:
        starts.append(end)
        end += entry.taps * rows * row_words(entry.features, precision)
    return starts, end


def _add_first_layer(
    words: Words, parts: FirstLayer, bias: np.ndarray, scale: np.ndarray | None, precision: str, activation: str
) -> PackedFirstLayer:
    """Append the first layer and the linear decoder with their products."""

    def added(matrices: np.ndarray) -> int:
        return words.add_matrices(matrices, precision) if matrices.size else -1

    grids = range(len(parts.columns.grids))
    starts, size = _grid_starts(parts, precision)
    return PackedFirstLayer(
        precision,
        len(parts.hidden),
        len(parts.linear),
        [added(parts.taps(g)) for g in grids][0],
        starts,
        size,
        words.add_floats(np.concatenate([bias, np.zeros(len(parts.linear))])),
        -1 if scale is None else words.add_floats(scale),
        added(parts.encoding()),
        -1,
        added(parts.linear_inputs()),
        [added(parts.products(g)) for g in grids],
        [added(parts.linear_products(g)) for g in grids],
        activation,
    )


def _add_fold(
    words: Words, manifest: dict, parts: FirstLayer, bias: np.ndarray, places: Places, precision: str, activation: str
) -> Fold | None:
    """Append the first layer for every place; None: they would take too much memory."""
    linear = manifest["network"].get("linear")
    order, linear_order = manifest.get("position_order", 0), linear["order"] if linear else 0
    starts, size = _grid_starts(parts, precision)
    if size * len(places.places) * WORD_BYTES > MOST_FOLDED_BYTES:
        return None
    gathered = np.cumsum([entry.taps == 4 for entry in parts.columns.grids]) - 1
    matrices = [
        [
            parts.at_place(
                g,
                place_functions(place, gathered[g], order) if entry.taps == 4 else np.zeros(0),
                place_functions(place, gathered[g], linear_order) if entry.taps == 4 else np.zeros(0),
            )
            for g, entry in enumerate(parts.columns.grids)
        ]
        for place in places.places
    ]
    if max(np.abs(matrix).max() for own in matrices for matrix in own) > _FLOAT16_MAX:
        precision = "float32"
        starts, size = _grid_starts(parts, precision)
    firsts = [words.add_matrices(matrix, precision) for own in matrices for matrix in own]
    encoding, lod = parts.encoding(), -1
    biases = [bias for _ in places.places]
    if places.tell_encoding:
        biases = [bias + encoding[:, :-1] @ place_encoding(place, manifest) for place in places.places]
        lod = words.add_floats(encoding[:, -1])
    layer = PackedFirstLayer(
        precision,
        len(parts.hidden),
        len(parts.linear),
        firsts[0],
        starts,
        size,
        words.add_floats(np.concatenate(biases)),
        -1,
        -1 if places.tell_encoding else words.add_matrices(encoding, precision),
        lod,
        -1,
        [-1] * len(matrices[0]),
        [-1] * len(matrices[0]),
        activation,
    )
    return Fold(layer, places.periods, places.firsts, len(places.places))
