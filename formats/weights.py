"""The decoder's flat array, read and checked against its manifest: layers, linear decoder and feature curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from configs import N_CHANNELS
from formats.curves import CURVE_NUMBERS
from formats.linear import LinearDecoder
from formats.network import Layer
from formats.npz import read_flat_array
from utils.errors import UserError


class StoredDecoder(NamedTuple):
    """All that the decoder's file holds, as float32."""

    layers: list[Layer]
    """Canonical columns; of the last layer the 11 outputs alone."""
    linear: LinearDecoder | None
    curves: list[np.ndarray | None]
    """Of each grid the curves of its features, float32 `[F, 4]`; None where it has none."""


def _extents(manifest: Mapping) -> list[tuple[int, int]]:
    """Return where each part of the array begins, and how many entries it takes."""
    network = manifest["network"]
    eight_bits = network["precision"] == "int8"
    # Numbers among int8 codes are float16.
    each = 2 if eight_bits else 1
    extents = []
    for entry in [*network["layers"], *([network["linear"]] if "linear" in network else [])]:
        rows = _rows(entry)
        size = each if _in_float16(entry, eight_bits) else 1
        extents.append((entry["offset"], size * rows * entry["cols"]))
        starts = entry.get("bias_offset"), entry.get("scale_offset") if eight_bits else None
        extents += [(start, each * rows) for start in starts if start is not None]
    for grid in manifest["grids"]:
        if "curve_offset" in grid:
            extents.append((grid["curve_offset"], each * CURVE_NUMBERS * grid["n_features"]))
    return extents


def read_weights(folder: Path, manifest: Mapping) -> np.ndarray:
    """Read the decoder's flat array as it is stored, with all that offsets reach.

    Raises `UserError` where the file is damaged or not what the manifest says.
    """
    network = manifest["network"]
    path = folder / network["file"]
    size = max(start + count for start, count in _extents(manifest))
    flat = read_flat_array(path, network["array"], network["precision"], size * np.dtype(network["precision"]).itemsize)
    if size > len(flat):
        raise UserError(f"{path} has {len(flat)} weights, too few for its manifest; export the material again")
    return flat


def _rows(entry: Mapping) -> int:
    return entry["rows"] if "rows" in entry else len(entry["outputs"])


def _in_float16(entry: Mapping, eight_bits: bool) -> bool:
    """Return whether a matrix among int8 ones is of float16 numbers: one without scales."""
    return eight_bits and entry.get("scale_offset") is None


def stored_matrix(flat: np.ndarray, entry: Mapping) -> np.ndarray:
    """Return the weights `[rows, cols]` of a layer or of the linear decoder as they are stored, of int8 the codes."""
    first, rows, cols = entry["offset"], _rows(entry), entry["cols"]
    return flat[first : first + rows * cols].reshape(rows, cols)


def stored_numbers(flat: np.ndarray, first: int, count: int) -> np.ndarray:
    """Return scales, biases or curves, float32 `[count]`, from where they begin."""
    if flat.dtype == np.int8:
        return flat[first : first + 2 * count].copy().view("<f2").astype(np.float32)
    return flat[first : first + count].astype(np.float32)


def _matrix(flat: np.ndarray, entry: Mapping) -> np.ndarray:
    """Return a matrix's weights, float32 `[rows, cols]`."""
    if _in_float16(entry, flat.dtype == np.int8):
        return stored_numbers(flat, entry["offset"], _rows(entry) * entry["cols"]).reshape(_rows(entry), -1)
    weights = stored_matrix(flat, entry).astype(np.float32)
    if flat.dtype == np.int8:
        weights *= stored_numbers(flat, entry["scale_offset"], len(weights))[:, None]
    return weights


def read_decoder(folder: Path, manifest: Mapping) -> StoredDecoder:
    """Read the decoder's file; raises `UserError` where it is damaged or not what the manifest says."""
    network = manifest["network"]
    flat, layers, linear = read_weights(folder, manifest), [], None
    for layer in network["layers"]:
        weights, bias = _matrix(flat, layer), None
        if layer["bias_offset"] is not None:
            bias = stored_numbers(flat, layer["bias_offset"], layer["rows"])
        if layer is network["layers"][-1]:
            weights, bias = weights[:N_CHANNELS], None if bias is None else bias[:N_CHANNELS]
        layers.append(Layer(weights, bias, layer["activation"]))
    if "linear" in network:
        linear = _linear_decoder(_matrix(flat, network["linear"]), network["linear"], manifest["grids"])
    curves = [
        stored_numbers(flat, grid["curve_offset"], CURVE_NUMBERS * grid["n_features"]).reshape(-1, CURVE_NUMBERS)
        if "curve_offset" in grid
        else None
        for grid in manifest["grids"]
    ]
    parts = [part for layer in layers for part in layer[:2]] + (linear.weights if linear else []) + curves
    if not all(np.isfinite(part).all() for part in parts if part is not None):
        raise UserError(f"{folder / network['file']} holds weights that are not finite; export the material again")
    return StoredDecoder(layers, linear, curves)


def _linear_decoder(matrix: np.ndarray, entry: Mapping, grids: list[Mapping]) -> LinearDecoder:
    """Split the linear decoder's matrix `[O, cols]` into the grids' parts."""
    weights, start = [], 0
    for grid in grids:
        gathered = grid["interpolation"] == "gather"
        inputs = grid["n_features"] * (4 if gathered else 1)
        functions = (entry["order"] + 1) ** 2 if gathered else 1
        end = start + functions * inputs
        part = matrix[:, start:end].reshape(len(matrix), functions, inputs)
        weights.append(np.ascontiguousarray(part.swapaxes(0, 1)))
        start = end
    return LinearDecoder(np.array(entry["outputs"]), entry["order"], weights)
