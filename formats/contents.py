"""The files of an export, read and checked against their manifest: grid levels and network layers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs import N_CHANNELS
from formats.dds import DdsHeader, read_dds, unpack_channels
from formats.fields import field_values, unpack_field
from formats.network import Layer
from formats.npz import read_flat_array
from formats.storage import GridStorage, stored_as
from utils.errors import UserError


@dataclass(frozen=True)
class StoredGrid:
    """The stored levels of one grid, coarsest first."""

    path: Path
    """Its first file."""
    entry: dict
    """Its part of the manifest."""
    storage: GridStorage
    levels: list[list[np.ndarray]]
    """Per level, the level arrays of its files as `read_dds` returns them."""

    def index(self, level: int) -> int:
        """Return a level's index among the stored ones, negative where it is not stored."""
        return level - (self.entry["n_levels"] - len(self.levels))

    def codes(self) -> list[np.ndarray]:
        """Return the stored levels as int32 codes `[r, r, F]`; raises `UserError` where a value is no code."""
        try:
            return [self.storage.unpack(level) for level in self.levels]
        except ValueError as error:
            raise UserError(f"{self.path} holds {error}; export the material again") from error

    def values(self, index: int) -> np.ndarray:
        """Return the features of a stored level, planar: float32 `[F, r, r]`."""
        side = self.entry["base_resolution"] << (self.entry["n_levels"] - len(self.levels) + index)
        values = np.empty((self.entry["n_features"], side, side), np.float32)
        if self.storage.fields:
            words = self.storage.words(self.levels[index])
            for feature, field in enumerate(self.storage.fields):
                np.take(field_values(field.bits), unpack_field(words, field), out=values[feature], mode="clip")
            return values
        # In double precision the levels come out exact, as they are short binary fractions.
        maximum = self.storage.format.channel_max
        table = (np.arange(maximum + 1) / maximum * self.entry["scale"] + self.entry["offset"]).astype(np.float32)
        for part, level in enumerate(self.levels[index]):
            channels = unpack_channels(level, self.storage.format.dxgi)
            for feature in range(4 * part, min(4 * part + 4, len(values))):
                np.take(table, channels[..., feature - 4 * part], out=values[feature], mode="clip")
        return values


def read_grid(folder: Path, entry: dict, all_levels: bool | None) -> StoredGrid:
    """Read a grid's files; `all_levels`: whether the manifest promises all levels or the finest alone (None: neither).

    Raises `UserError` where a file is damaged or not what the manifest says, before its texels are read.
    """
    promised = {True: (entry["n_levels"],), False: (1,), None: (1, entry["n_levels"])}[all_levels]
    files = []
    for name in entry["files"]:

        def accept(header: DdsHeader, path: Path = folder / name) -> None:
            if (
                header.format.name != entry["format"]
                or header.mip_count not in promised
                or {header.width, header.height} != {entry["max_resolution"]}
            ):
                raise UserError(
                    f"{path} holds {header.width} x {header.height} {header.format.name} with "
                    f"{header.mip_count} mips, which is not what its manifest says; export the material again"
                )

        files.append(read_dds(folder / name, accept)[1])
    if len({len(levels) for levels in files}) != 1:
        raise UserError(f"the files of {folder / entry['files'][0]}'s grid differ in mips; export the material again")
    return StoredGrid(folder / entry["files"][0], entry, stored_as(entry), [list(level) for level in zip(*files)][::-1])


def read_weights(folder: Path, network: dict) -> np.ndarray:
    """Read the decoder's flat array as it is stored, with all that the layers' offsets reach.

    Raises `UserError` where the file is damaged or not what the manifest says.
    """
    path, eight_bits = folder / network["file"], network["precision"] == "int8"
    extents = [(layer["offset"], layer["rows"] * layer["cols"]) for layer in network["layers"]]
    for layer in network["layers"]:
        # Scales and biases among int8 codes are float16.
        count = layer["rows"] * (2 if eight_bits else 1)
        starts = layer["bias_offset"], layer.get("scale_offset") if eight_bits else None
        extents += [(start, count) for start in starts if start is not None]
    size = max(start + count for start, count in extents)
    flat = read_flat_array(path, network["array"], network["precision"], size * np.dtype(network["precision"]).itemsize)
    if size > len(flat):
        raise UserError(f"{path} has {len(flat)} weights, too few for its manifest; export the material again")
    return flat


def layer_matrix(flat: np.ndarray, layer: dict) -> np.ndarray:
    """Return a layer's weights `[rows, cols]` as they are stored, of int8 the codes."""
    first, rows, cols = layer["offset"], layer["rows"], layer["cols"]
    return flat[first : first + rows * cols].reshape(rows, cols)


def row_values(flat: np.ndarray, first: int, rows: int) -> np.ndarray:
    """Return a layer's scales or biases, float32 `[rows]`, from where they begin."""
    if flat.dtype == np.int8:
        return flat[first : first + 2 * rows].copy().view("<f2").astype(np.float32)
    return flat[first : first + rows].astype(np.float32)


def read_layers(folder: Path, network: dict) -> list[Layer]:
    """Read the decoder's layers; raises `UserError` where the file is damaged or not what the manifest says."""
    flat, layers = read_weights(folder, network), []
    for layer in network["layers"]:
        weights = layer_matrix(flat, layer).astype(np.float32)
        if network["precision"] == "int8":
            weights *= row_values(flat, layer["scale_offset"], layer["rows"])[:, None]
        bias = None if layer["bias_offset"] is None else row_values(flat, layer["bias_offset"], layer["rows"])
        if layer is network["layers"][-1]:
            weights, bias = weights[:N_CHANNELS], None if bias is None else bias[:N_CHANNELS]
        if not (np.isfinite(weights).all() and (bias is None or np.isfinite(bias).all())):
            raise UserError(f"{folder / network['file']} holds weights that are not finite; export the material again")
        layers.append(Layer(weights, bias, layer["activation"]))
    return layers
