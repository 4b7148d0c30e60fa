"""The decoder's weights as shaders read them: `weights.bin`, 16-byte words, rows aligned, padding folded away.

Columns of the first layer follow the shader's inputs: for each grid its features, four to a quad (gathered: tap after
tap), then the positional encoding and the lod. Inputs that are always one are part of the bias. Every matrix starts on
64 bytes and every row on 16, as cooperative vectors ask for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from formats.network import Layer
from formats.reader import NeuralTextureReader
from formats.weights import read_weights, stored_matrix, stored_numbers
from images.mips import mip_size

WORD_BYTES = 16
_MATRIX_WORDS = 4
"""Matrices start on multiples of so many words."""
WORD_WEIGHTS = {"float32": 4, "float16": 8, "int8": 16}
"""Weights in a word."""
MOST_FOLDED = 64
"""Folded first layers that are worth their memory."""
_DTYPES = {"float32": "<f4", "float16": "<f2", "int8": "<i1"}


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
class Fold:
    """First layers with the place in a cell folded in."""

    layer: PackedLayer
    """The first of them; they follow each other."""
    periods: list[tuple[int, int]]
    """Per mip, after how many texels along the width and the height places repeat."""
    firsts: list[int]
    """Per mip, its first matrix; that of texel (x, y) is `(y mod py) * px + x mod px` further."""
    count: int
    """Matrices in all."""


@dataclass(frozen=True)
class InputColumns:
    """Where a grid's features lie among the first layer's inputs."""

    start: int
    """First quad in the shader's order."""
    quads: int
    """Of one tap."""
    taps: int
    canonical: np.ndarray
    """The stored matrix's column of each of the shader's `4 * quads * taps` inputs; -1: none."""
    products: np.ndarray
    """The same for the products with each function of the place: `[functions, 4 * quads * taps]`."""


@dataclass
class PackedWeights:
    """All of `weights.bin` and where everything lies in it."""

    layers: list[PackedLayer] = field(default_factory=list)
    columns: list[InputColumns] = field(default_factory=list)
    products: list[tuple[int, int]] = field(default_factory=list)
    """Per grid, the first word and the row stride of its product matrices; (-1, 0): it has none."""
    fold: Fold | None = None
    data: bytes = b""
    encoding_quads: int = 0

    @property
    def input_quads(self) -> int:
        """Quads of the first layer's inputs, padding of its rows' last words left out."""
        return sum(columns.quads * columns.taps for columns in self.columns) + self.encoding_quads


def pack_weights(reader: NeuralTextureReader, fold: bool = True, precision: str | None = None) -> PackedWeights:
    """Return an export's weights in the shader's layout, in another `precision` or as they are stored in the export.

    `fold`: where the first layer depends on the place in a cell and texels have few places, matrices for each of them
    too, in half precision unless the network is float32. Raises `UserError` where the export is damaged.
    """
    manifest, packed = reader.manifest, PackedWeights()
    packed.columns, encoding, ones = _input_columns(manifest, reader.layers[0].weights.shape[1])
    packed.encoding_quads = -(-len(encoding) // 4)
    order = np.concatenate([columns.canonical for columns in packed.columns] + [encoding])
    words = _Words()
    rows = precision or manifest["network"]["precision"]
    codes, scales = _int8_rows(reader) if rows == "int8" else (None, None)
    for number, layer in enumerate(reader.layers):
        bias = np.zeros(len(layer.weights), np.float64) if layer.bias is None else layer.bias.astype(np.float64)
        matrix = layer.weights if codes is None else codes[number]
        scale = None if scales is None else scales[number]
        present = np.arange(len(matrix))
        if number == len(reader.layers) - 1:
            present = np.flatnonzero(
                np.repeat([c["present"] for c in manifest["channels"]], [c["count"] for c in manifest["channels"]])
            )
        if number == 0:
            bias = bias + layer.weights[:, ones].sum(axis=1, dtype=np.float64)
            products = [_chosen(matrix, chosen) for columns in packed.columns for chosen in columns.products]
            matrix = _chosen(matrix, order)
        packed.layers.append(
            words.add_layer(
                matrix[present], bias[present], None if scale is None else scale[present], layer.activation, rows
            )
        )
        if number == 0:
            packed.products = _add_products(words, packed.columns, products, rows)
            if fold and manifest.get("position_order", 0):
                packed.fold = _add_fold(
                    words, reader, packed, order, bias, "float32" if rows == "float32" else "float16"
                )
    packed.data = words.joined()
    return packed


class _Words:
    """Words of the file as it grows."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._words = 0

    def joined(self) -> bytes:
        return b"".join(self._parts)

    def add(self, data: bytes, align: int = 1) -> int:
        """Append bytes at a multiple of `align` words; returns the first word."""
        gap = -self._words % align
        tail = -len(data) % WORD_BYTES
        first = self._words + gap
        self._parts += [bytes(gap * WORD_BYTES), data, bytes(tail)]
        self._words = first + (len(data) + tail) // WORD_BYTES
        return first

    def add_matrix(self, matrix: np.ndarray, precision: str) -> tuple[int, int]:
        """Append a matrix, rows padded to a multiple of 4 and to whole words; returns first word and row stride."""
        rows, columns = matrix.shape
        stride = -(-columns // WORD_WEIGHTS[precision])
        padded = np.zeros((-(-rows // 4) * 4, stride * WORD_WEIGHTS[precision]), _DTYPES[precision])
        padded[:rows, :columns] = matrix
        return self.add(padded.tobytes(), _MATRIX_WORDS), stride

    def add_floats(self, values: np.ndarray) -> int:
        return self.add(np.asarray(values, "<f4").tobytes())

    def add_layer(
        self, matrix: np.ndarray, bias: np.ndarray, scale: np.ndarray | None, activation: str, precision: str
    ) -> PackedLayer:
        weights, stride = self.add_matrix(matrix, precision)
        return PackedLayer(
            precision,
            -(-len(matrix) // 4) * 4,
            matrix.shape[1],
            stride,
            weights,
            self.add_floats(bias),
            -1 if scale is None else self.add_floats(scale),
            activation,
        )


def _chosen(matrix: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return a matrix with the chosen columns, zero where a column is -1."""
    return np.where(columns >= 0, matrix[:, columns], 0)


def _input_columns(manifest: dict, n_columns: int) -> tuple[list[InputColumns], np.ndarray, slice]:
    """Return the grids' columns, those of encoding and lod, and the slice of columns whose input is one."""
    encoding = manifest["positional_encoding"]
    n_encoding = 2 * encoding["n_frequencies"] * encoding["phases"]
    functions = (manifest.get("position_order", 0) + 1) ** 2 - 1
    taps = [4 if grid["interpolation"] == "gather" else 1 for grid in manifest["grids"]]
    stored = n_encoding
    lod = n_encoding + sum(t * grid["n_features"] for t, grid in zip(taps, manifest["grids"]))
    product, quad, columns = lod + 1, 0, []
    for count, grid in zip(taps, manifest["grids"]):
        features = grid["n_features"]
        quads = -(-features // 4)
        local = np.full((count, 4 * quads), -1)
        local[:, :features] = np.arange(count * features).reshape(count, features)
        local = local.reshape(-1)
        canonical = np.where(local >= 0, stored + local, -1)
        k = functions if count == 4 else 0
        starts = product + count * features * np.arange(k)
        columns.append(InputColumns(quad, quads, count, canonical, np.where(local >= 0, starts[:, None] + local, -1)))
        stored, quad, product = stored + count * features, quad + count * quads, product + k * count * features
    tail = np.append(np.arange(n_encoding), lod)
    return columns, np.append(tail, np.full(-len(tail) % 4, -1)), slice(product, n_columns)


def _int8_rows(reader: NeuralTextureReader) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return each layer's weights as they are stored, whole numbers, and the factor of each row."""
    network = reader.manifest["network"]
    flat, codes, scales = read_weights(reader.folder, reader.manifest), [], []
    for layer, kept in zip(network["layers"], reader.layers):
        codes.append(stored_matrix(flat, layer)[: len(kept.weights)])
        scales.append(stored_numbers(flat, layer["scale_offset"], len(kept.weights)))
    return codes, scales


def _add_products(
    words: _Words, columns: list[InputColumns], products: list[np.ndarray], precision: str
) -> list[tuple[int, int]]:
    """Append the product matrices of every gathered grid, function after function."""
    places, rest = [], iter(products)
    for entry in columns:
        if not len(entry.products):
            places.append((-1, 0))
            continue
        own = [next(rest) for _ in entry.products]
        padded = [np.pad(matrix, ((0, -len(matrix) % 4), (0, 0))) for matrix in own]
        places.append(words.add_matrix(np.concatenate(padded), precision))
    return places


def _add_fold(
    words: _Words,
    reader: NeuralTextureReader,
    packed: PackedWeights,
    order: np.ndarray,
    bias: np.ndarray,
    precision: str,
) -> Fold | None:
    """Append the first layer's matrix for every place that texels of the stored mips have; None: there are too many."""
    manifest, layer = reader.manifest, reader.layers[0]
    gathered = [g for g, grid in enumerate(manifest["grids"]) if grid["interpolation"] == "gather"]
    known: dict[tuple, int] = {}
    periods, firsts = [], []
    matrices: list[np.ndarray] = []
    for mip, levels in enumerate(manifest["mip_levels"]):
        sides = [manifest["grids"][g]["base_resolution"] << levels[g] for g in gathered]
        axes = []
        for size in mip_size(manifest["width"], manifest["height"], mip):
            period = math.lcm(*(size // math.gcd(size, side) for side in sides))
            if period > MOST_FOLDED:
                return None
            axes.append(
                [
                    tuple((Fraction(2 * x + 1, 2 * size) * side - Fraction(1, 2)) % 1 for side in sides)
                    for x in range(period)
                ]
            )
        key = tuple(map(tuple, axes))
        if key not in known:
            known[key] = len(matrices)
            matrices += [
                _folded(layer, packed.columns, gathered, order, x, y, manifest["position_order"])
                for y in axes[1]
                for x in axes[0]
            ]
            if len(matrices) > MOST_FOLDED:
                return None
        periods.append((len(axes[0]), len(axes[1])))
        firsts.append(known[key])
    padded = [np.pad(matrix, ((0, -len(matrix) % 4), (0, 0))) for matrix in matrices]
    weights, stride = words.add_matrix(np.concatenate(padded), precision)
    first = PackedLayer(
        precision, len(padded[0]), len(order), stride, weights, words.add_floats(bias), -1, layer.activation
    )
    return Fold(first, periods, firsts, len(matrices))


def _folded(
    layer: Layer,
    columns: list[InputColumns],
    gathered: list[int],
    order: np.ndarray,
    x: tuple[Fraction, ...],
    y: tuple[Fraction, ...],
    position_order: int,
) -> np.ndarray:
    """Return W + sum P_j(y) P_i(x) W_ij, in the shader's columns, for the place (x, y) in each gathered grid's cell."""
    matrix = _chosen(layer.weights, order).astype(np.float64)
    for g, wx, wy in zip(gathered, x, y):
        entry = columns[g]
        legendre = [np.polynomial.legendre.legvander(2 * float(w) - 1, position_order).reshape(-1) for w in (wx, wy)]
        factors = np.outer(legendre[1], legendre[0]).reshape(-1)[1:]
        part = slice(4 * entry.start, 4 * (entry.start + entry.quads * entry.taps))
        for factor, chosen in zip(factors, entry.products):
            matrix[:, part] += factor * _chosen(layer.weights, chosen)
    return matrix


def weights_json(packed: PackedWeights, manifest: dict) -> dict:
    """Return what `weights.bin` holds and where, offsets in bytes: the layout that the pages describe."""

    def matrix(layer: PackedLayer) -> dict:
        return {
            "precision": layer.precision,
            "rows": layer.rows,
            "columns": layer.columns,
            "row_stride": layer.stride * WORD_BYTES,
            "offset": layer.weights * WORD_BYTES,
            "bias_offset": layer.bias * WORD_BYTES,
            "scale_offset": layer.scale * WORD_BYTES if layer.scale >= 0 else None,
            "activation": layer.activation,
        }

    inputs: list[dict] = [
        {
            "name": f"grid {g}",
            "first": 4 * columns.start,
            "features": grid["n_features"],
            "padded_features": 4 * columns.quads,
            "taps": columns.taps,
        }
        for g, (columns, grid) in enumerate(zip(packed.columns, manifest["grids"]))
    ]
    inputs.append({"name": "positional encoding, lod", "first": 4 * (packed.input_quads - packed.encoding_quads)})
    result: dict = {"bytes": len(packed.data), "inputs": inputs, "layers": [matrix(layer) for layer in packed.layers]}
    result["products"] = [
        None
        if first < 0
        else {"offset": first * WORD_BYTES, "row_stride": stride * WORD_BYTES, "matrices": len(columns.products)}
        for (first, stride), columns in zip(packed.products, packed.columns)
    ]
    if packed.fold:
        layer = packed.fold.layer
        result["folded"] = {
            **matrix(layer),
            "matrix_bytes": layer.rows * layer.stride * WORD_BYTES,
            "periods": [list(period) for period in packed.fold.periods],
            "firsts": packed.fold.firsts,
            "matrices": packed.fold.count,
        }
    return result
