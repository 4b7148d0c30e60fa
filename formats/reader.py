"""Decoder of an exported material in plain NumPy: manifest.json, network_data.npz and the DDS files, nothing else.

It shares no code with the trainer, so that what it reads is what an engine would read.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from configs import N_CHANNELS
from formats.dds import DdsHeader, read_dds, unpack_channels
from formats.manifest import check_files, read_manifest
from images.mips import mip_size
from utils.errors import UserError

_TEXELS_PER_BLOCK = 1 << 13


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * np.tanh(0.5 * x) + 0.5


def _gelu(x: np.ndarray) -> np.ndarray:
    scale = math.sqrt(2 / math.pi)
    y = x * x
    y *= 0.044715 * scale
    y += scale
    y *= x
    np.tanh(y, out=y)
    y += 1
    y *= x
    y *= 0.5
    return y


def _squareplus(x: np.ndarray) -> np.ndarray:
    x = 10 * x
    return 0.05 * (x + np.sqrt(x * x + 4))


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.maximum(x, 0.01 * x),
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hard_gelu": lambda x: x * np.clip((x + 1.5) / 3, 0, 1),
    "gelu": _gelu,
    "silu": lambda x: x * _sigmoid(x),
    "exponential": np.exp,
    "sine": np.sin,
    "sigmoid": _sigmoid,
    "squareplus": _squareplus,
    "softplus": lambda x: np.logaddexp(0, 10 * x) / 10,
    "tanh": np.tanh,
}
"""Activations by manifest name; squareplus and softplus scale by 10 inside, as tiny-cuda-nn's do."""


def _srgb_coded(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1's piecewise curve on values in [0, 1]."""
    return np.where(linear <= 0.0031308, linear * 12.92,
                    1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055).astype(np.float32)


class NeuralTextureReader:
    """An exported material, decoded on demand.

    Opening it checks the manifest and the size and SHA-256 of every file; raises `UserError` naming what is wrong.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        check_files(self.folder, self.manifest)
        self._channels = [self._read_grid(grid) for grid in self.manifest["grids"]]
        self._network = self._read_network()
        self._values: dict[tuple[int, int], np.ndarray] = {}

    @property
    def present(self) -> dict[str, bool]:
        """Whether each map is present, in canonical order."""
        return {channel["name"]: channel["present"] for channel in self.manifest["channels"]}

    @property
    def stored_mips(self) -> list[int]:
        """Mips that can be decoded: all, or those that read stored levels where only the finest are in the files."""
        return [mip for mip, levels in enumerate(self.manifest["mip_levels"])
                if all(self._stored_index(g, level) >= 0 for g, level in enumerate(levels))]

    def mip_size(self, mip: int) -> tuple[int, int]:
        """Width and height of a mip in texels; raises `UserError` where the texture has no such mip."""
        if not 0 <= mip < self.manifest["mips"]:
            raise UserError(f"mip {mip} does not exist; {self.folder} has mips 0 to {self.manifest['mips'] - 1}")
        return mip_size(self.manifest["width"], self.manifest["height"], mip)

    def codes(self, g: int) -> list[np.ndarray]:
        """Return grid `g`'s stored levels, coarsest first, as int32 codes `[r, r, F]`; the finest is the last."""
        grid = self.manifest["grids"][g]
        top = (1 << grid["quantize_bits"]) - 1
        levels = []
        for channels, maximum in self._channels[g]:
            codes, rest = np.divmod(channels.astype(np.int64) * top, maximum)
            if rest.any():
                raise UserError(f"{self.folder / grid['files'][0]} holds values that are no "
                                f"{grid['quantize_bits']}-bit codes; export the material again")
            levels.append(codes.astype(np.int32))
        return levels

    def decode(self, mip: int, progress: Callable[[int], None] | None = None) -> np.ndarray:
        """Decode a mip to float32 `[H, W, 11]` in [0, 1], in the network's own space; missing maps are 0.

        `progress` is called with the number of rows done since the last call. Raises `UserError` where the mip does
        not exist or its levels are not stored.
        """
        width, height = self.mip_size(mip)
        decoded = np.empty((height, width, N_CHANNELS), np.float32)
        for first, block in self._decode_rows(mip):
            decoded[first:first + len(block)] = block
            if progress:
                progress(len(block))
        return decoded

    def decode_uint8(self, mip: int, progress: Callable[[int], None] | None = None) -> np.ndarray:
        """Decode a mip to uint8 `[H, W, 11]` as image files hold it: diffuse sRGB-coded; missing maps are 0."""
        width, height = self.mip_size(mip)
        decoded = np.empty((height, width, N_CHANNELS), np.uint8)
        for first, block in self._decode_rows(mip):
            for channel in self.manifest["channels"]:
                if channel["name"] == "diffuse" and channel["space"] == "linear":
                    colour = block[..., channel["first"]:channel["first"] + channel["count"]]
                    colour[...] = _srgb_coded(colour)
            block *= 255
            np.rint(block, out=block)
            decoded[first:first + len(block)] = block
            if progress:
                progress(len(block))
        return decoded

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
        result = np.zeros((len(u), N_CHANNELS), np.float32)
        for mip in np.unique(np.concatenate([lower, np.ceil(lod).astype(np.int64)])):
            # A point at an integer lod reads that mip alone, so that mips which are not stored are not asked for.
            weight = np.where(lower == mip, 1 - blend, np.where(lower == mip - 1, blend, 0))
            points = np.flatnonzero(weight)
            for start in range(0, len(points), _TEXELS_PER_BLOCK):
                part = points[start:start + _TEXELS_PER_BLOCK]
                result[part] += weight[part, None] * self._decode_points(int(mip), u[part], v[part])
        return result

    def _read_grid(self, grid: dict) -> list[tuple[np.ndarray, int]]:
        """Return a grid's stored levels, coarsest first: channels `[r, r, F]` and the integer of a channel's 1.0."""
        parts, maximum = [], 0
        for name in grid["files"]:
            header, levels = read_dds(self.folder / name)
            self._check_header(self.folder / name, header, grid)
            maximum = header.format.channel_max
            parts.append([unpack_channels(level, header.format.dxgi) for level in levels])
        if len({len(part) for part in parts}) != 1:
            raise UserError(f"the files of {self.folder / grid['files'][0]}'s grid differ in mips; "
                            "export the material again")
        return [(np.concatenate(level, axis=-1)[..., :grid["n_features"]], maximum) for level in zip(*parts)][::-1]

    @staticmethod
    def _check_header(path: Path, header: DdsHeader, grid: dict) -> None:
        if header.format.name != grid["format"] or header.mip_count not in (1, grid["n_levels"]) \
                or {header.width, header.height} != {grid["max_resolution"]}:
            raise UserError(f"{path} holds {header.width} x {header.height} {header.format.name} with "
                            f"{header.mip_count} mips, which is not what its manifest says; export the material again")

    def _read_network(self) -> list[tuple[np.ndarray, np.ndarray | None, str]]:
        """Return each layer's weights, transposed to `[cols, rows]`, its bias `[rows]` and its activation."""
        network = self.manifest["network"]
        path = self.folder / network["file"]
        try:
            with np.load(path, allow_pickle=False) as arrays:
                flat = arrays[network["array"]]
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} cannot be read ({error}); export the material again") from error
        if flat.ndim != 1 or flat.dtype != np.dtype(network["precision"]):
            raise UserError(f"{path} holds {flat.dtype} weights of shape {flat.shape}, expected a flat "
                            f"{network['precision']} array; export the material again")
        def part(first: int, count: int) -> np.ndarray:
            """Read scales or biases; among int8 codes they are float16."""
            count *= 2 if flat.dtype == np.int8 else 1
            if first + count > len(flat):
                raise UserError(f"{path} has {len(flat)} weights, too few for its manifest; export the material again")
            values = flat[first:first + count]
            return (values.copy().view("<f2") if flat.dtype == np.int8 else values).astype(np.float32)

        layers = []
        for layer in network["layers"]:
            rows, cols, first, bias_first = layer["rows"], layer["cols"], layer["offset"], layer["bias_offset"]
            if first + rows * cols > len(flat):
                raise UserError(f"{path} has {len(flat)} weights, too few for its manifest; export the material again")
            weights = flat[first:first + rows * cols].reshape(rows, cols).astype(np.float32)
            if flat.dtype == np.int8:
                weights *= part(layer["scale_offset"], rows)[:, None]
            bias = None if bias_first is None else part(bias_first, rows)
            if layer is network["layers"][-1]:
                weights, bias = weights[:N_CHANNELS], None if bias is None else bias[:N_CHANNELS]
            layers.append((np.ascontiguousarray(weights.T), bias, layer["activation"]))
        return layers

    def _stored_index(self, g: int, level: int) -> int:
        """Place of a level among the stored ones, negative where it is not stored."""
        return level - (self.manifest["grids"][g]["n_levels"] - len(self._channels[g]))

    def _grid_values(self, mip: int) -> list[np.ndarray]:
        """Return the features `[r, r, F]` of the level that each grid is read at."""
        values = []
        for g, level in enumerate(self.manifest["mip_levels"][mip]):
            if (g, level) not in self._values:
                grid = self.manifest["grids"][g]
                index = self._stored_index(g, level)
                if index < 0:
                    raise UserError(f"mip {mip} needs level {level} of grid {g}, but {self.folder / grid['files'][0]} "
                                    "holds the finest alone; export with --dds_mips True")
                channels, maximum = self._channels[g][index]
                # In double precision the levels come out exact, as they are short binary fractions.
                table = np.arange(maximum + 1) / maximum * grid["scale"] + grid["offset"]
                self._values[g, level] = table.astype(np.float32)[channels]
            values.append(self._values[g, level])
        return values

    def _taps(self, x: np.ndarray, resolution: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return both tap indices and the second one's weight for coordinates `[N]` (float64) along one axis."""
        position = x * resolution - 0.5
        # Gathered taps jump where a position is a whole number; what is one but for rounding counts as one.
        first = np.floor(position + 2.0 ** -30)
        return self._address(first.astype(np.int64), np.maximum(position - first, 0), resolution)

    def _lattice_taps(self, size: int, resolution: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the taps and weights of the `size` texel centres along one axis, in exact integer arithmetic."""
        first, rest = np.divmod((2 * np.arange(size, dtype=np.int64) + 1) * resolution - size, 2 * size)
        return self._address(first, rest / (2 * size), resolution)

    def _address(self, first: np.ndarray, weight: np.ndarray,
                 resolution: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Wrap or clamp a tap and its neighbour."""
        if self.manifest["wrap"]:
            return first % resolution, (first + 1) % resolution, weight.astype(np.float32)
        return first.clip(0, resolution - 1), (first + 1).clip(0, resolution - 1), weight.astype(np.float32)

    def _encode(self, x: np.ndarray, mip: int) -> np.ndarray:
        """Return the positional encoding `[N, n_frequencies * phases]` of coordinates along one axis, float32."""
        encoding = self.manifest["positional_encoding"]
        if encoding["period_cells"]:
            x = 2 * x * (self.manifest["grids"][0]["base_resolution"] << self.manifest["mip_levels"][mip][0])
            x = x / encoding["period_cells"]
        octaves, phases = np.arange(encoding["n_frequencies"]), np.arange(encoding["phases"])
        phase = octaves[:, None] / 4 + phases / 4
        t = x[:, None, None] * np.exp2(octaves - 1.0)[:, None] + phase
        return (4 * np.abs(t - np.floor(t) - 0.5) - 1).reshape(len(x), octaves.size * phases.size).astype(np.float32)

    def _basis(self, place: np.ndarray) -> np.ndarray:
        """Return Legendre polynomials 0 .. position_order at places `[N]` in a cell (0 to 1): float32 `[N, order + 1]`."""
        x, order = 2 * place.astype(np.float64) - 1, self.manifest.get("position_order", 0)
        values = [np.ones_like(x), x]
        for n in range(1, order):
            values.append(((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1))
        return np.stack(values[:order + 1], -1).astype(np.float32)

    def _lod(self, mip: int) -> float:
        return mip / (self.manifest["mips"] - 1) if self.manifest["mips"] > 1 else 0.0

    def _run_network(self, x: np.ndarray) -> np.ndarray:
        """Return `[N, 11]` in [0, 1] for inputs `[N, cols]`; missing maps are 0."""
        with np.errstate(over="ignore"):
            for weights, bias, activation in self._network:
                x = x @ weights
                if bias is not None:
                    x += bias
                x = ACTIVATIONS[activation](x)
        x = np.clip(x, 0, 1)
        for channel in self.manifest["channels"]:
            if not channel["present"]:
                x[:, channel["first"]:channel["first"] + channel["count"]] = 0
        return x

    def _decode_rows(self, mip: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield a mip in blocks of rows: the first row's number and `[rows, W, 11]`.

        On the texel lattice taps, weights and encoding depend on the row or on the column alone, so they are found
        once per row and column instead of once per texel.
        """
        width, height = self.mip_size(mip)
        values = self._grid_values(mip)
        u, v = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
        rows = max(1, min(height, _TEXELS_PER_BLOCK // width))
        # The ones of the padding, the encoding of u and the lod are the same in every block of rows.
        inputs = np.ones((rows, width, self._network[0][0].shape[0]), np.float32)
        encoded_u, encoded_v = self._encode(u, mip), self._encode(v, mip)
        n_u = encoded_u.shape[1]
        inputs[..., :n_u] = encoded_u
        columns = [self._lattice_taps(width, len(level)) for level in values]
        lines = [self._lattice_taps(height, len(level)) for level in values]
        n_taps = [level.shape[-1] * (4 if grid["interpolation"] == "gather" else 1)
                  for grid, level in zip(self.manifest["grids"], values)]
        lod_at = 2 * n_u + sum(n_taps)
        inputs[..., lod_at] = self._lod(mip)
        bases = [(self._basis(wy), self._basis(wx)) for (_, _, wx), (_, _, wy) in zip(columns, lines)]
        for first in range(0, height, rows):
            block = inputs[:min(rows, height - first)]
            part = slice(first, first + len(block))
            block[..., n_u:2 * n_u] = encoded_v[part, None]
            at, product_at = 2 * n_u, lod_at + 1
            for grid, level, (left, right, wx), (above, below, wy), (basis_y, basis_x) in zip(
                    self.manifest["grids"], values, columns, lines, bases):
                features = level.shape[-1]
                above, below = level[above[part]], level[below[part]]
                if grid["interpolation"] == "gather":
                    for line, column in ((above, left), (above, right), (below, left), (below, right)):
                        block[..., at:at + features] = line[:, column]
                        at += features
                    taps = block[..., at - 4 * features:at]
                    for k in range(1, basis_x.shape[1] ** 2):
                        ky, kx = divmod(k, basis_x.shape[1])
                        place = basis_y[part, None, ky] * basis_x[:, kx]
                        np.multiply(taps, place[..., None], out=block[..., product_at:product_at + 4 * features])
                        product_at += 4 * features
                else:
                    line = above + (below - above) * wy[part, None, None]
                    tap = line[:, left]
                    block[..., at:at + features] = tap + (line[:, right] - tap) * wx[:, None]
                    at += features
            decoded = self._run_network(block.reshape(-1, block.shape[-1]))
            yield first, decoded.reshape(len(block), width, N_CHANNELS)

    def _decode_points(self, mip: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Decode points `[N]` of one mip, coordinates in [0, 1], to `[N, 11]`."""
        parts, products = [self._encode(u, mip), self._encode(v, mip)], []
        for grid, level in zip(self.manifest["grids"], self._grid_values(mip)):
            left, right, wx = self._taps(u, len(level))
            above, below, wy = self._taps(v, len(level))
            taps = [level[above, left], level[above, right], level[below, left], level[below, right]]
            if grid["interpolation"] == "gather":
                parts += taps
                values = np.concatenate(taps, axis=1)
                basis = self._basis(wy)[:, :, None] * self._basis(wx)[:, None, :]
                products += [values * function[:, None] for function in basis.reshape(len(u), -1).T[1:]]
            else:
                upper, lower = (a + (b - a) * wx[:, None] for a, b in (taps[:2], taps[2:]))
                parts.append(upper + (lower - upper) * wy[:, None])
        parts.append(np.full((len(u), 1), self._lod(mip), np.float32))
        parts += products
        n_inputs = sum(part.shape[1] for part in parts)
        parts.append(np.ones((len(u), self._network[0][0].shape[0] - n_inputs), np.float32))
        return self._run_network(np.concatenate(parts, axis=1))
