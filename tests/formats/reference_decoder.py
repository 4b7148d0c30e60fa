"""A slow decoder written straight from the format's formulas, one texel at a time, and random models to try it on."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from benchmarks.random_exports import ALL, grid, make_source
from dataset import TextureSet
from images.mips import mip_size

__all__ = ["ALL", "TYPES", "grid", "make_source"]
TYPES = {"diffuse": 3, "normal": 3, "roughness": 1, "occlusion": 1, "metallic": 1, "specular": 1, "displacement": 1}


def random_texture_set(width, height, present, seed=1):
    """Noise of 8 bits in all mips, to compare a decoded model with."""
    rng = np.random.default_rng(seed)
    mips = [
        rng.integers(0, 256, (*mip_size(width, height, mip)[::-1], 11), np.uint8)
        for mip in range(min(width, height).bit_length())
    ]
    return TextureSet("random", width, height, mips, dict(present), "opengl", {}, [])


def slow_activation(name, x):
    return {
        "none": lambda: x,
        "relu": lambda: max(x, 0.0),
        "leaky_relu": lambda: x if x > 0 else 0.01 * x,
        "hard_swish": lambda: x * min(max(x + 3, 0), 6) / 6,
        "hard_gelu": lambda: x * min(max((x + 1.5) / 3, 0), 1),
        "gelu": lambda: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        "silu": lambda: x / (1 + math.exp(-x)),
        "exponential": lambda: math.exp(x),
        "sine": lambda: math.sin(x),
        "sigmoid": lambda: 1 / (1 + math.exp(-x)),
        "squareplus": lambda: (10 * x + math.sqrt(100 * x * x + 4)) / 2 / 10,
        "softplus": lambda: math.log(1 + math.exp(10 * x)) / 10,
        "tanh": lambda: math.tanh(x),
    }[name]()


def slow_features(source, g, level, x, y):
    """Rounded features of one tap, wrapped or clamped."""
    entry = source.layout.grids[g]
    side, steps = entry.base_resolution << level, 1 << entry.quantize_bits
    x, y = (x % side, y % side) if source.layout.wrap else (min(max(x, 0), side - 1), min(max(y, 0), side - 1))
    return [
        (min(max(round(float(value) * steps + (steps - 1) / 2), 0), steps - 1) - (steps - 1) / 2) / steps
        for value in source.grids[g][level][y, x]
    ]


def slow_inputs(source, u, v, mip):
    layout, inputs, products = source.layout, [], []
    levels = [max(entry.n_levels - 1 - mip, 0) for entry in layout.grids]
    for x in (u, v):
        if layout.period_cells:
            x = 2 * x * (layout.grids[0].base_resolution << levels[0]) / layout.period_cells
        for f in range(layout.n_frequencies):
            for phase in range(layout.phases):
                t = x * Fraction(2) ** (f - 1) + Fraction(f, 4) + Fraction(phase, 4)
                inputs.append(float(4 * abs(t - math.floor(t) - Fraction(1, 2)) - 1))
    for g, (entry, level) in enumerate(zip(layout.grids, levels)):
        px, py = (x * (entry.base_resolution << level) - Fraction(1, 2) for x in (u, v))
        x0, y0 = math.floor(px), math.floor(py)
        taps = [slow_features(source, g, level, x0 + dx, y0 + dy) for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1))]
        if entry.interpolation == "gather":
            values = [value for tap in taps for value in tap]
            inputs += values
            places = [
                [[1, 2 * p - 1, (3 * (2 * p - 1) ** 2 - 1) / 2][n] for n in range(layout.position_order + 1)]
                for p in (py - y0, px - x0)
            ]
            products += [value * float(a * b) for a in places[0] for b in places[1] for value in values][len(values) :]
        else:
            wx, wy = float(px - x0), float(py - y0)
            weights = ((1 - wx) * (1 - wy), wx * (1 - wy), (1 - wx) * wy, wx * wy)
            inputs += [sum(w * value for w, value in zip(weights, values)) for values in zip(*taps)]
    return inputs + [mip / (layout.mips - 1) if layout.mips > 1 else 0.0] + products


def slow_decode(source, u, v, mip):
    """Decode one point (`Fraction` coordinates) in double precision: 11 values in [0, 1]."""
    layout = source.layout
    values = slow_inputs(source, u, v, mip)
    values += [1.0] * (-len(values) % 16)
    eight_bits = source.layout.network_precision == "int8"
    network = source.network.astype("float32" if eight_bits else source.layout.network_precision).astype(np.float64)
    shapes, cols = [], len(values)
    for rows in [layout.n_neurons] * layout.n_hidden_layers + [16]:
        shapes.append((rows, cols))
        cols = rows
    start, bias_start = 0, sum(rows * cols for rows, cols in shapes)
    for (rows, cols), layer in zip(shapes, layout.layers):
        weights = network[start : start + rows * cols].reshape(rows, cols)
        if eight_bits:
            scale = np.array(
                [max(float(np.float16(np.float32(max(abs(row))) / np.float32(127))), 2.0**-14) for row in weights]
            )[:, None]
            weights = np.clip(np.round(weights / scale), -127, 127) * scale
        values = weights @ np.array(values)
        start += rows * cols
        if layer.bias_offset is not None:
            bias = network[bias_start : bias_start + rows]
            values = values + (bias.astype(np.float16).astype(np.float64) if eight_bits else bias)
            bias_start += rows
        values = [slow_activation(layer.activation, float(value)) for value in values]
    kept = [present for name, present in source.present.items() for _ in range(TYPES[name])]
    return [min(max(value, 0.0), 1.0) if keep else 0.0 for value, keep in zip(values, kept)]


def slow_mip(source, mip):
    width, height = mip_size(source.layout.width, source.layout.height, mip)
    return np.array(
        [
            [
                slow_decode(source, Fraction(2 * x + 1, 2 * width), Fraction(2 * y + 1, 2 * height), mip)
                for x in range(width)
            ]
            for y in range(height)
        ]
    )


def slow_uint8(source, mip):
    decoded = slow_mip(source, mip)
    if source.layout.diffuse_space == "linear":
        colour = decoded[..., :3]
        decoded[..., :3] = np.where(colour <= 0.0031308, 12.92 * colour, 1.055 * colour ** (1 / 2.4) - 0.055)
    return np.floor(decoded * 255 + 0.5).astype(np.uint8)
