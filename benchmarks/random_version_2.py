"""Exports with feature curves and a linear decoder, random and written without a model or a trainer.

They hold what the manifest's version 2 allows and the trainer may never write, such as curves of one grid alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from configs import N_CHANNELS, TEXTURE_CHANNELS
from formats.export_folder import (
    NETWORK_NAME,
    export_written_aside,
    fetched_bytes,
    file_entry,
    grid_files,
    stored_rates,
    write_grid,
)
from formats.manifest import FORMAT, MANIFEST_NAME, manifest_version
from formats.npz import npz_bytes
from formats.plugin import plugin_obstacles
from formats.storage import grid_storage
from images.mips import mip_count
from utils.files import write_bytes, write_json

ALL = dict.fromkeys(TEXTURE_CHANNELS, True)
"""All maps are present."""


class RandomGrid(NamedTuple):
    """One grid of a random export."""

    max_resolution: int = 8
    n_levels: int = 2
    bits: Sequence[int] = (8, 4, 3, 1, 6)
    """Bits of each feature."""
    gathered: bool = True
    curves: bool = True


class _Array:
    """The decoder's flat array, filled part after part as a precision stores it."""

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self.parts: list[np.ndarray] = []
        self.end = 0

    def _add(self, part: np.ndarray) -> int:
        start = self.end
        self.parts.append(part)
        self.end += part.size
        return start

    def matrix(self, values: np.ndarray) -> tuple[int, np.ndarray | None]:
        """Add a matrix `[rows, cols]`; return its offset and, of int8 codes, the float16 scales of its rows."""
        if self.precision != "int8":
            return self._add(values.astype(self.precision).reshape(-1)), None
        scales = np.maximum((np.abs(values).max(1) / 127).astype(np.float16), np.float16(2.0**-14))
        codes = np.clip(np.rint(values / scales.astype(np.float32)[:, None]), -127, 127)
        return self._add(codes.astype(np.int8).reshape(-1)), scales

    def numbers(self, values: np.ndarray) -> int:
        """Add single numbers, which int8 storage holds as float16; return their offset."""
        values = np.ascontiguousarray(values).reshape(-1)
        if self.precision == "int8":
            return self._add(values.astype("<f2").view(np.int8))
        return self._add(values.astype(self.precision))


def write_version_2(
    folder: Path,
    width: int = 20,
    height: int = 12,
    grids: Sequence[RandomGrid] = (RandomGrid(),),
    linear_order: int | None = 3,
    position_order: int = 0,
    n_frequencies: int = 2,
    period_cells: int = 1,
    phases: int = 2,
    n_neurons: int = 32,
    n_hidden_layers: int = 1,
    activation: str = "hard_swish",
    output_activation: str = "none",
    use_bias: bool = True,
    precision: str = "int8",
    present: Mapping[str, bool] = ALL,
    wrap: bool = True,
    diffuse_space: str = "linear",
    storage: str = "packed",
    dds_mips: bool = True,
    seed: int = 0,
) -> dict:
    """Write a random export into `folder` and return its manifest; about half of its outputs lie inside [0, 1].

    `linear_order` None leaves the linear decoder out. Mip `m` reads level `max(L - 1 - m, 0)` of every grid.
    """
    rng = np.random.default_rng(seed)
    mips = mip_count(width, height)
    storages = [grid_storage(grid.bits, storage) for grid in grids]
    kept = np.repeat([bool(present[name]) for name in TEXTURE_CHANNELS], list(TEXTURE_CHANNELS.values()))
    array = _Array(precision)
    network = _network(
        rng,
        array,
        grids,
        kept,
        linear_order,
        position_order,
        n_frequencies * phases,
        n_neurons,
        n_hidden_layers,
        (activation, output_activation),
        use_bias,
    )
    encoding = 0 if period_cells == 1 else 2 * n_frequencies * phases
    network["macs_as_run"] = _macs_as_run(network, grids, encoding)
    entries = []
    for g, (grid, stored) in enumerate(zip(grids, storages)):
        entry = {
            "files": grid_files(g, stored.n_files, None),
            "max_resolution": grid.max_resolution,
            "base_resolution": grid.max_resolution >> (grid.n_levels - 1),
            "n_levels": grid.n_levels,
            "save_bits": sum(grid.bits),
            "interpolation": "gather" if grid.gathered else "bilinear",
            **stored.entry(),
        }
        if grid.curves:
            entry["curve_offset"] = array.numbers(random_curves(rng, len(grid.bits)))
        entries.append(entry)
    first, channels = 0, []
    for name, count in TEXTURE_CHANNELS.items():
        space = diffuse_space if name == "diffuse" else "data"
        channels.append({"name": name, "first": first, "count": count, "space": space, "present": bool(present[name])})
        first += count
    manifest: dict = {
        "format": FORMAT,
        "version": manifest_version({"grids": entries, "network": network}),
        "width": width,
        "height": height,
        "mips": mips,
        "wrap": wrap,
        "normal_convention": "opengl",
        "dds_mips": dds_mips,
        "channels": channels,
        "grids": entries,
        "mip_levels": [[max(grid.n_levels - 1 - mip, 0) for grid in grids] for mip in range(mips)],
        "positional_encoding": {"n_frequencies": n_frequencies, "period_cells": period_cells, "phases": phases},
        **({"position_order": position_order} if position_order else {}),
        "network": network,
        "bytes_per_texel": fetched_bytes(storages),
        "psnr": {},
    }
    manifest["ue5_plugin_obstacles"] = plugin_obstacles(manifest)
    manifest["ue5_plugin"] = not manifest["ue5_plugin_obstacles"]
    with export_written_aside(Path(folder)) as aside:
        for entry, grid, stored in zip(entries, grids, storages):
            sides = [grid.max_resolution >> down for down in range(grid.n_levels if dds_mips else 1)]
            levels = [
                np.stack([rng.integers(0, 1 << bits, (side, side)) for bits in grid.bits], axis=-1) for side in sides
            ]
            write_grid(aside, entry["files"], [stored.pack(level) for level in levels], stored)
        write_bytes(aside / NETWORK_NAME, npz_bytes({"network": np.concatenate(array.parts)}))
        names = [name for entry in entries for name in entry["files"]] + [NETWORK_NAME]
        manifest["files"] = [file_entry(aside / name) for name in names]
        manifest.update(stored_rates(manifest))
        write_json(aside / MANIFEST_NAME, manifest)
    return manifest


def _macs_as_run(network: Mapping, grids: Sequence[RandomGrid], encoding: int) -> int:
    """Multiply-adds of a texel where all that its place in a cell decides is summed up beforehand."""
    first, *others = network["layers"]
    taps = sum(len(grid.bits) * (4 if grid.gathered else 1) for grid in grids)
    linear = len(network["linear"]["outputs"]) if "linear" in network else 0
    kept = sum(layer["rows"] * layer["cols"] for layer in others)
    return (first["rows"] + linear) * taps + first["rows"] * encoding + kept


def random_curves(rng: np.random.Generator, n_features: int) -> np.ndarray:
    """Return numbers `[F, 4]` of curves that are not far from straight lines of either sign."""
    curves = rng.normal(0, (0.05, 0.3, 0.3, 0.5), (n_features, 4))
    curves[:, 1] += rng.choice([-1, 1], n_features)
    return curves


def _network(
    rng: np.random.Generator,
    array: _Array,
    grids: Sequence[RandomGrid],
    kept: np.ndarray,
    linear_order: int | None,
    position_order: int,
    n_encoding: int,
    n_neurons: int,
    n_hidden_layers: int,
    activations: tuple[str, str],
    use_bias: bool,
) -> dict:
    """Fill the array with a random decoder's weights and return its part of the manifest."""
    taps = [len(grid.bits) * (4 if grid.gathered else 1) for grid in grids]
    gathered = sum(count for count, grid in zip(taps, grids) if grid.gathered)
    inputs = 2 * n_encoding + sum(taps) + 1 + ((position_order + 1) ** 2 - 1) * gathered
    inputs += N_CHANNELS if linear_order is not None else 0
    widths = [-(-inputs // 16) * 16, *[n_neurons] * n_hidden_layers, -(-N_CHANNELS // 16) * 16]
    outputs = np.flatnonzero(kept)
    missing = np.ones(widths[-1], bool)
    missing[outputs] = False
    layers, weights, scales = [], [], []
    for number, (cols, rows) in enumerate(zip(widths, widths[1:])):
        weights.append(rng.normal(0, 1.2 / math.sqrt(cols), (rows, cols)))
        if number == n_hidden_layers:
            weights[-1][missing] = 0
        offset, row_scales = array.matrix(weights[-1])
        scales.append(row_scales)
        activation = activations[number == n_hidden_layers]
        layers.append({"rows": rows, "cols": cols, "offset": offset, "bias_offset": None, "activation": activation})
    network: dict = {
        "file": NETWORK_NAME,
        "array": "network",
        "inputs": inputs,
        "outputs": N_CHANNELS,
        "precision": array.precision,
        "macs_per_texel": sum(layer["rows"] * layer["cols"] for layer in layers),
        "layers": layers,
    }
    matrices = list(zip(layers, scales))
    if linear_order is not None:
        cols = sum(count * ((linear_order + 1) ** 2 if grid.gathered else 1) for count, grid in zip(taps, grids))
        matrix = rng.normal(0, 0.8 / math.sqrt(cols), (len(outputs), cols))
        offset, row_scales = array.matrix(matrix)
        linear = {"outputs": outputs.tolist(), "order": linear_order, "cols": cols, "offset": offset}
        network["linear"] = linear
        network["macs_per_texel"] += matrix.size
        matrices.append((linear, row_scales))
    for entry, row_scales in matrices:
        if row_scales is not None:
            entry["scale_offset"] = array.numbers(row_scales)
    for layer in layers if use_bias else []:
        bias = rng.normal(0.3, 0.2, layer["rows"])
        if layer is layers[-1]:
            bias[missing] = 0
        layer["bias_offset"] = array.numbers(bias)
    return network
