"""A slow decoder of exports in 32-bit words, with feature curves and a linear decoder, written from the format's formulas.

It reads the files themselves and shares no code with the product.
"""

from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np

from tests.formats.reference_decoder import slow_activation

HEADER_BYTES = 148


class SlowDecoder:
    """An export, decoded point by point in double precision."""

    def __init__(self, folder):
        self.manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        network = self.manifest["network"]
        self.array = np.load(folder / network["file"])[network["array"]]
        self.grids = [self.features(folder, grid) for grid in self.manifest["grids"]]
        self.layers = [
            (
                self.matrix(layer, layer["rows"]),
                None if layer["bias_offset"] is None else self.numbers(layer["bias_offset"], layer["rows"]),
                layer["activation"],
            )
            for layer in network["layers"]
        ]
        self.linear = network.get("linear")
        if self.linear:
            self.linear_matrix = self.matrix(self.linear, len(self.linear["outputs"]))

    def numbers(self, offset, count):
        """Numbers beside the matrices: float16 among bytes."""
        if self.array.dtype == np.int8:
            return np.frombuffer(self.array[offset : offset + 2 * count].tobytes(), "<f2").astype(np.float64)
        return self.array[offset : offset + count].astype(np.float64)

    def matrix(self, entry, rows):
        size = rows * entry["cols"]
        if self.array.dtype == np.int8 and "scale_offset" not in entry:
            return self.numbers(entry["offset"], size).reshape(rows, -1)
        matrix = self.array[entry["offset"] : entry["offset"] + size].astype(np.float64).reshape(rows, -1)
        return matrix * self.numbers(entry["scale_offset"], rows)[:, None] if self.array.dtype == np.int8 else matrix

    def features(self, folder, grid):
        """Curved features `[r, r, F]` of every stored level, finest first."""
        files = [(folder / name).read_bytes()[HEADER_BYTES:] for name in grid["files"]]
        held = {"R32G32_UINT": 2, "R32G32B32A32_UINT": 4}.get(grid["format"], 1)
        levels, start, side = [], 0, grid["max_resolution"]
        curves = None
        if "curve_offset" in grid:
            curves = self.numbers(grid["curve_offset"], 4 * grid["n_features"]).reshape(-1, 4)
        while start < len(files[0]):
            end = start + 4 * held * side * side
            words = np.concatenate(
                [np.frombuffer(data[start:end], "<u4").reshape(side, side, held) for data in files], axis=-1
            ).astype(np.int64)
            level = np.empty((side, side, grid["n_features"]))
            for f, field in enumerate(grid["fields"]):
                codes = (words[..., field["word"]] >> field["shift"]) % (1 << field["bits"])
                t = (codes - ((1 << field["bits"]) - 1) / 2) / (1 << field["bits"])
                if curves is not None:
                    c = curves[f]
                    t = c[0] + c[1] * t + c[2] * t**2 + c[3] * t**3
                level[..., f] = t
            levels.append(level)
            start, side = end, side // 2
        return levels

    def tap(self, level, x, y):
        side = len(level)
        if self.manifest["wrap"]:
            return level[y % side, x % side]
        return level[min(max(y, 0), side - 1), min(max(x, 0), side - 1)]

    def point(self, u, v, mip):
        """Decode one point (`Fraction` coordinates): 11 values in [0, 1]."""
        manifest, encoding = self.manifest, self.manifest["positional_encoding"]
        levels = [
            features[grid["n_levels"] - 1 - manifest["mip_levels"][mip][g]]
            for g, (grid, features) in enumerate(zip(manifest["grids"], self.grids))
        ]
        inputs, products, terms = [], [], []
        for x in (u, v):
            if encoding["period_cells"]:
                x = 2 * x * len(levels[0]) / encoding["period_cells"]
            for f in range(encoding["n_frequencies"]):
                for phase in range(encoding["phases"]):
                    t = x * Fraction(2) ** (f - 1) + Fraction(f + phase, 4)
                    inputs.append(float(4 * abs(t - math.floor(t) - Fraction(1, 2)) - 1))
        for grid, level in zip(manifest["grids"], levels):
            px, py = (x * len(level) - Fraction(1, 2) for x in (u, v))
            x0, y0 = math.floor(px), math.floor(py)
            taps = [self.tap(level, x0 + dx, y0 + dy) for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1))]
            wx, wy = float(px - x0), float(py - y0)
            if grid["interpolation"] == "bilinear":
                blended = sum(
                    w * tap for w, tap in zip(((1 - wx) * (1 - wy), wx * (1 - wy), (1 - wx) * wy, wx * wy), taps)
                )
                inputs += list(blended)
                terms.append(blended)
                continue
            gathered = np.concatenate(taps)
            inputs += list(gathered)
            # Lists in order of j, then of i.
            along_y, along_x = (
                [np.polynomial.legendre.legval(2 * w - 1, [0] * n + [1]) for n in range(8)] for w in (wy, wx)
            )
            order = manifest.get("position_order", 0)
            for j in range(order + 1):
                for i in range(order + 1):
                    if i or j:
                        products += list(along_y[j] * along_x[i] * gathered)
            order = self.linear["order"] if self.linear else 0
            terms += [along_y[j] * along_x[i] * gathered for j in range(order + 1) for i in range(order + 1)]
        inputs += [mip / (manifest["mips"] - 1) if manifest["mips"] > 1 else 0.0] + products
        linear = np.zeros(11)
        if self.linear:
            linear[self.linear["outputs"]] = self.linear_matrix @ np.concatenate(terms)
            inputs += list(linear)
        assert len(inputs) == manifest["network"]["inputs"]
        values = np.array(inputs + [1.0] * (-len(inputs) % 16))
        for matrix, bias, activation in self.layers:
            values = matrix @ values + (0 if bias is None else bias)
            values = np.array([slow_activation(activation, float(value)) for value in values])
        kept = [entry["present"] for entry in manifest["channels"] for _ in range(entry["count"])]
        return np.where(kept, np.clip(values[:11] + linear, 0, 1), 0)

    def mip(self, mip):
        """Decode a whole mip: `[H, W, 11]`."""
        width, height = (max(self.manifest[side] >> mip, 1) for side in ("width", "height"))
        return np.array(
            [
                [self.point(Fraction(2 * x + 1, 2 * width), Fraction(2 * y + 1, 2 * height), mip) for x in range(width)]
                for y in range(height)
            ]
        )
