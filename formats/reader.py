"""Decoder of an exported material in plain NumPy: manifest.json, network_data.npz and the DDS files, nothing else.

It shares no code with the trainer, so that what it reads is what an engine would read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from configs import N_CHANNELS, TEXTURE_CHANNELS
from formats.contents import StoredGrid, read_grid
from formats.manifest import check_files, read_manifest
from formats.mip_decoding import decode_mip
from formats.network import Workspace, one_matrix_thread
from formats.points import decode_points
from formats.taps import MipModel
from formats.weights import read_decoder
from images.mips import mip_size
from utils.errors import UserError

POINTS_AT_ONCE = 1 << 12


def _code_srgb(linear: np.ndarray) -> None:
    """Apply IEC 61966-2-1's piecewise curve to values in [0, 1], in place."""
    dark = linear <= 0.0031308
    straight = linear[dark] * np.float32(12.92)
    np.power(linear, np.float32(1 / 2.4), out=linear)
    linear *= 1.055
    linear -= 0.055
    linear[dark] = straight


class NeuralTextureReader:
    """An exported material, decoded on demand.

    Opening it checks the manifest and the size and SHA-256 of every file; raises `UserError` naming what is wrong.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        check_files(self.folder, self.manifest)
        self._grids = [read_grid(self.folder, grid, self.manifest.get("dds_mips")) for grid in self.manifest["grids"]]
        decoder = read_decoder(self.folder, self.manifest)
        self.layers = decoder.layers
        """The decoder's layers, canonical columns, the last one's 11 outputs alone."""
        self.linear = decoder.linear
        """The linear decoder that the network corrects; None where there is none."""
        self.curves = decoder.curves
        """Of each grid the curves of its features, float32 `[F, 4]`; None where it has none."""
        self._levels: dict[tuple[int, int], np.ndarray] = {}

    @property
    def present(self) -> dict[str, bool]:
        """Whether each map is present, in canonical order."""
        return {channel["name"]: channel["present"] for channel in self.manifest["channels"]}

    @property
    def holds(self) -> dict[str, str]:
        """What a map holds in place of what its name says, such as opacity; empty for most materials."""
        return {entry["name"]: entry["holds"] for entry in self.manifest["channels"] if entry.get("holds")}

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The values that 0 and 1 stand for, of maps that were scaled to fit: value = low + (high - low) * decoded."""
        return {entry["name"]: tuple(entry["range"]) for entry in self.manifest["channels"] if entry.get("range")}

    @property
    def stored_mips(self) -> list[int]:
        """Mips that can be decoded: all, or those that read stored levels where only the finest are in the files."""
        return [
            mip
            for mip, levels in enumerate(self.manifest["mip_levels"])
            if all(grid.index(level) >= 0 for grid, level in zip(self._grids, levels))
        ]

    def mip_size(self, mip: int) -> tuple[int, int]:
        """Width and height of a mip in texels; raises `UserError` where the texture has no such mip."""
        if not 0 <= mip < self.manifest["mips"]:
            raise UserError(f"mip {mip} does not exist; {self.folder} has mips 0 to {self.manifest['mips'] - 1}")
        return mip_size(self.manifest["width"], self.manifest["height"], mip)

    def grid(self, g: int) -> StoredGrid:
        """Return grid `g` as it lies in its files."""
        return self._grids[g]

    def codes(self, g: int) -> list[np.ndarray]:
        """Return grid `g`'s stored levels, coarsest first, as int32 codes `[r, r, F]`; the finest is the last."""
        return self._grids[g].codes()

    def decode(self, mip: int, progress: Callable[[int], None] | None = None) -> np.ndarray:
        """Decode a mip to float32 `[H, W, 11]` in [0, 1], in the network's own space; missing maps are 0.

        `progress` is called with the number of rows done since the last call. Raises `UserError` where the mip does
        not exist or its levels are not stored.
        """
        model = self._mip_model(mip)
        decoded = np.empty((model.height, model.width, N_CHANNELS), np.float32)

        def store(outputs: np.ndarray, rows: slice, columns: slice) -> None:
            self._limit(outputs)
            decoded[rows, columns] = outputs.transpose(1, 2, 0)

        decode_mip(model, store, progress)
        return decoded

    def decode_uint8(self, mip: int, progress: Callable[[int], None] | None = None) -> np.ndarray:
        """Decode a mip to uint8 `[H, W, 11]` as image files hold it: diffuse sRGB-coded; missing maps are 0."""
        return self.decode_codes(mip, progress=progress)[0]

    def decode_codes(
        self, mip: int, deep: Sequence[str] = (), progress: Callable[[int], None] | None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Decode a mip as image files hold it: uint8 `[H, W, 11]`, and the maps of `deep` in 16 bits as well.

        Those are uint16 `[H, W, count]` by name. Diffuse is sRGB-coded; missing maps are 0.
        """
        model = self._mip_model(mip)
        size = model.height, model.width
        decoded = np.empty((*size, N_CHANNELS), np.uint8)
        entries = self.manifest["channels"]
        ranges = {entry["name"]: slice(entry["first"], entry["first"] + entry["count"]) for entry in entries}
        linear = [
            ranges[entry["name"]] for entry in entries if entry["name"] == "diffuse" and entry["space"] == "linear"
        ]
        wide = {name: np.empty((*size, TEXTURE_CHANNELS[name]), np.uint16) for name in deep}

        def store(outputs: np.ndarray, rows: slice, columns: slice) -> None:
            self._limit(outputs)
            for channels in linear:
                _code_srgb(outputs[channels])
            for name, values in wide.items():
                values[rows, columns] = np.rint(outputs[ranges[name]] * 65535).transpose(1, 2, 0)
            outputs *= 255
            np.rint(outputs, out=outputs)
            decoded[rows, columns] = outputs.astype(np.uint8).transpose(1, 2, 0)

        decode_mip(model, store, progress)
        return decoded, wide

    def sample(self, u: np.ndarray, v: np.ndarray, lod: np.ndarray | float) -> np.ndarray:
        """Decode single points: float32 `[N, 11]` in [0, 1], in the network's own space.

        `u`, `v` and `lod` broadcast against each other and are flattened. `lod` counts mips and is clamped to those
        there are; between two mips their decoded values are blended. Outside [0, 1] the coordinates wrap, or are
        clamped where the material does not wrap. Raises `UserError` where a value is not finite.
        """
        u, v, lod = (np.ravel(part) for part in np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (u, v, lod))))
        if not (np.isfinite(u).all() and np.isfinite(v).all() and np.isfinite(lod).all()):
            raise UserError("u, v and lod must be finite numbers")
        wrap = self.manifest["wrap"]
        u, v = (x - np.floor(x) if wrap else np.clip(x, 0, 1) for x in (u, v))
        lod = np.clip(lod, 0, self.manifest["mips"] - 1)
        lower = np.floor(lod).astype(np.int64)
        blend = (lod - lower).astype(np.float32)
        result, workspace = np.zeros((len(u), N_CHANNELS), np.float32), Workspace()
        for mip in np.unique(np.concatenate([lower, np.ceil(lod).astype(np.int64)])):
            # A point at an integer lod reads that mip alone, so that mips which are not stored are not asked for.
            weight = np.where(lower == mip, 1 - blend, np.where(lower == mip - 1, blend, 0))
            points = np.flatnonzero(weight)
            model = self._mip_model(int(mip))
            for start in range(0, len(points), POINTS_AT_ONCE):
                part = points[start : start + POINTS_AT_ONCE]
                with one_matrix_thread():
                    outputs = decode_points(model, u[part], v[part], workspace)
                self._limit(outputs)
                result[part] += weight[part, None] * outputs.T
        return result

    def _limit(self, outputs: np.ndarray) -> None:
        """Clamp network outputs `[11, ...]` to [0, 1] and set missing maps to 0, in place."""
        # A shader's saturate turns what is not a number into 0, and so do these.
        np.fmax(outputs, 0, out=outputs)
        np.fmin(outputs, 1, out=outputs)
        for channel in self.manifest["channels"]:
            if not channel["present"]:
                outputs[channel["first"] : channel["first"] + channel["count"]] = 0

    def _mip_model(self, mip: int) -> MipModel:
        """Gather all that decoding a mip needs; raises `UserError` where a level that it reads is not stored."""
        manifest = self.manifest
        width, height = self.mip_size(mip)
        levels = []
        for g, level in enumerate(manifest["mip_levels"][mip]):
            index = self._grids[g].index(level)
            if index < 0:
                raise UserError(
                    f"mip {mip} needs level {level} of grid {g}, but {self._grids[g].path} "
                    "holds the finest alone; export with --dds_mips True"
                )
            if (g, level) not in self._levels:
                self._levels[g, level] = self._grids[g].values(index, self.curves[g])
            levels.append(self._levels[g, level])
        encoding = manifest["positional_encoding"]
        cells = encoding["period_cells"]
        return MipModel(
            width,
            height,
            mip / (manifest["mips"] - 1) if manifest["mips"] > 1 else 0.0,
            manifest["wrap"],
            levels,
            [grid["interpolation"] == "gather" for grid in manifest["grids"]],
            encoding["n_frequencies"],
            encoding["phases"],
            (levels[0].shape[1], cells) if cells else None,
            manifest.get("position_order", 0),
            self.layers,
            self.linear,
        )
