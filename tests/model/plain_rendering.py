"""The texture function once more, texel by texel in float64, with models, tiles and texels to compare backends on."""

from __future__ import annotations

import math

import numpy as np
import torch

from configs import N_CHANNELS, HashGridConfig, ModelConfig
from images.mips import mip_size
from model.decoder.canonical import load_canonical_weights
from model.grids.feature_grids import draw_noise
from model.grids.lookup import lookups_to_device
from model.grids.tiles import TileGroup
from model.layout import model_layout
from model.texture import NeuralTexture

CPU = torch.device("cpu")
ALL = list(range(N_CHANNELS))
BILINEAR = dict(quantize_bits=8, save_bits=32)
GATHER = dict(quantize_bits=4, save_bits=32, interpolation="gather")


def grid(resolution, levels=1, **fields):
    return HashGridConfig(max_resolution=resolution, n_levels=levels, **{**BILINEAR, **fields})


def make_texture(width=16, height=16, channels=ALL, seed=0, **model):
    """A texture whose weights and biases are all random and whose features reach beyond the clamp range."""
    config = ModelConfig(**{"hash_grid_configs": [grid(8, 2), grid(4, 2)], "output_activation": "none", **model})
    layout = model_layout(config, width, height)
    generator = torch.Generator().manual_seed(seed)
    texture = NeuralTexture(layout, channels, CPU, generator)
    flat = torch.zeros(layout.n_weights)
    for index, layer in enumerate(layout.layers):
        rows = channels if index == len(layout.layers) - 1 else list(range(layer.rows))
        cols = layout.n_inputs if index == 0 and config.use_bias else layer.cols
        weights = flat[layer.offset : layer.offset + layer.rows * layer.cols].view(layer.rows, layer.cols)
        weights[rows, :cols] = torch.randn(len(rows), cols, generator=generator) * 1.2 / math.sqrt(cols)
        if layer.bias_offset is not None:
            flat[layer.bias_offset : layer.bias_offset + layer.rows][rows] = 0.3 * torch.randn(
                len(rows), generator=generator
            )
    load_canonical_weights(texture.decoder, flat)
    texture.grids.load(
        [
            [torch.rand(level.shape, generator=generator) * 1.3 - 0.65 for level in levels]
            for levels in all_levels(texture)
        ]
    )
    return texture, flat


def all_levels(texture):
    """Views of every grid's levels."""
    return [texture.grids.levels(g) for g in range(len(texture.layout.grids))]


def run_tiles(runs, groups, quantize, amplitudes=None, generator=None, planner=None):
    """Run a texture, or a backend's forward pass, on tile groups: values [N, C] and the touched grid texels."""
    texture = runs if isinstance(runs, NeuralTexture) else runs.texture
    lookups = (planner or runs.planner).look_up(groups)
    noise = draw_noise(lookups, texture.layout.grids, amplitudes, generator, texture.device)
    lookups = lookups_to_device(lookups, texture.device)
    return runs(lookups, quantize, noise) if runs is texture else runs.forward(lookups, quantize, noise)


def tiles(mip, origins, width, height):
    """A group of equal tiles from their first texels (x, y)."""
    origins = np.array(origins)
    return TileGroup(mip, origins[:, :1] + np.arange(width), origins[:, 1:] + np.arange(height))


def grid_gradients(texture, touched):
    """The gradients of every grid's levels, float64 [r, r, F], from those of the touched texels."""
    found = []
    for g, table in enumerate(texture.grids.tables):
        whole = torch.zeros(table.shape, dtype=torch.float64)
        for read in touched:
            if read.grid == g:
                whole.index_add_(0, read.rows.cpu(), read.texels.grad.cpu().double())
        found.append(
            [
                part.view(level.shape)
                for part, level in zip(whole.split(texture.grids.sizes[g]), texture.grids.levels(g))
            ]
        )
    return found


def group_texels(layout, group):
    """Texel coordinates (x, y) of a group in the order in which it is decoded, back inside the mip."""
    width, height = mip_size(layout.width, layout.height, group.mip)
    x = np.broadcast_to(group.x[:, None, :] % width, (len(group.x), group.y.shape[1], group.x.shape[1]))
    y = np.broadcast_to(group.y[:, :, None] % height, x.shape)
    return x.reshape(-1), y.reshape(-1)


# The plain rendering: float64, every texel on its own, nothing shared with the backend but the layout's numbers.


def plain_activation(name, x):
    x = x.clone()
    return {
        "none": lambda: x,
        "relu": lambda: torch.where(x > 0, x, 0 * x),
        "tanh": lambda: 2 / (1 + (-2 * x).exp()) - 1,
        "leaky_relu": lambda: torch.where(x > 0, x, 0.01 * x),
        "hard_swish": lambda: torch.where(x < -3, 0 * x, torch.where(x > 3, x, x * (x + 3) / 6)),
        "hard_gelu": lambda: torch.where(x < -1.5, 0 * x, torch.where(x > 1.5, x, x * (x + 1.5) / 3)),
        "gelu": lambda: x / 2 * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).tanh()),
        "silu": lambda: x / (1 + (-x).exp()),
        "exponential": lambda: math.e**x,
        "sine": lambda: x.sin(),
        "sigmoid": lambda: 1 / (1 + (-x).exp()),
        "squareplus": lambda: (10 * x + (100 * x * x + 4).sqrt()) / 2 / 10,
        "softplus": lambda: (1 + (10 * x).exp()).log() / 10,
    }[name]()


def plain_round(values, bits):
    """Nearest level, straight through inside the clamp range."""
    steps = 2**bits
    levels = (torch.arange(steps, dtype=torch.float64) - (steps - 1) / 2) / steps
    nearest = levels[(values.detach()[..., None] - levels).abs().argmin(-1)]
    inside = (values >= levels[0]) & (values <= levels[-1])
    return nearest + torch.where(inside, values - values.detach(), 0 * values)


def plain_legendre(x, n):
    return [torch.ones_like(x), x, (3 * x * x - 1) / 2][n]


def plain_weights(rows, precision):
    """8-bit weights: whole multiples of each row's scale (a float16 number), straight through."""
    if precision != "int8":
        return rows
    scale = np.float16(rows.detach().abs().amax(1).numpy().astype(np.float32) / 127).astype(np.float64)
    scale = torch.from_numpy(np.maximum(scale, 2.0**-14))[:, None]
    return rows + ((rows.detach() / scale).round().clamp(-127, 127) * scale - rows.detach())


def plain_predict(layout, grids, flat, mip, x, y, quantize):
    """Decode texels (x, y) of a mip, [N, 11] float64, from master grids and the canonical flat array."""
    width, height = mip_size(layout.width, layout.height, mip)
    level_of = [max(entry.n_levels - 1 - mip, 0) for entry in layout.grids]
    inputs, products = [], []
    for coordinate, size in ((x, width), (y, height)):
        u = (coordinate + 0.5) / size
        if layout.period_cells:
            u = 2 * u * (layout.grids[0].base_resolution << level_of[0]) / layout.period_cells
        for octave in range(layout.n_frequencies):
            for phase in range(layout.phases):
                t = u * 2.0 ** (octave - 1) + octave / 4 + phase / 4
                inputs.append(torch.from_numpy(4 * np.abs(t - np.floor(t) - 0.5) - 1)[:, None])
    for entry, levels, level in zip(layout.grids, grids, level_of):
        side = entry.base_resolution << level
        values = plain_round(levels[level], entry.quantize_bits) if quantize else levels[level]
        fix = (lambda i: i % side) if layout.wrap else (lambda i: np.clip(i, 0, side - 1))
        # The position times 2 W is a whole number, so that no rounding moves a texel into the next cell.
        (x0, wx), (y0, wy) = (np.divmod((2 * c + 1) * side - size, 2 * size) for c, size in ((x, width), (y, height)))
        wx, wy = torch.from_numpy(wx / (2 * width))[:, None], torch.from_numpy(wy / (2 * height))[:, None]
        taps = [values[fix(y0 + dy), fix(x0 + dx)] for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1))]
        if entry.interpolation == "gather":
            inputs += taps
            for k in range(1, (layout.position_order + 1) ** 2):
                ky, kx = divmod(k, layout.position_order + 1)
                place = plain_legendre(2 * wy - 1, ky) * plain_legendre(2 * wx - 1, kx)
                products += [tap * place for tap in taps]
        else:
            inputs.append(
                (1 - wx) * (1 - wy) * taps[0] + wx * (1 - wy) * taps[1] + (1 - wx) * wy * taps[2] + wx * wy * taps[3]
            )
    inputs.append(torch.full((len(x), 1), mip / (layout.mips - 1) if layout.mips > 1 else 0.0, dtype=torch.float64))
    value = torch.cat(inputs + products, 1)
    value = torch.cat([value, torch.ones(len(x), -value.shape[1] % 16, dtype=torch.float64)], 1)
    start = 0
    for layer in layout.layers:
        rows = layout.n_neurons if layer is not layout.layers[-1] else 16
        weights = plain_weights(
            flat[start : start + rows * value.shape[1]].view(rows, value.shape[1]), layout.network_precision
        )
        start += rows * value.shape[1]
        value = value @ weights.t()
        if layer.bias_offset is not None:
            value = value + flat[layer.bias_offset : layer.bias_offset + rows]
        value = plain_activation(layer.activation, value)
    return value[:, :N_CHANNELS]


CASES = {
    "defaults": {},
    "no hidden layer": dict(n_hidden_layers=0),
    "no hidden layer, bias": dict(n_hidden_layers=0, use_bias=True),
    "two hidden layers": dict(n_hidden_layers=2, n_neurons=32, activation="gelu"),
    "two hidden layers, bias": dict(n_hidden_layers=2, use_bias=True, activation="silu"),
    "gather": dict(hash_grid_configs=[grid(8, 2, **GATHER), grid(4, 2)]),
    "gather, no hidden layer, bias": dict(
        hash_grid_configs=[grid(8, 2, **GATHER), grid(4, 2)], n_hidden_layers=0, use_bias=True
    ),
    "two gathered grids around a bilinear one": dict(
        hash_grid_configs=[grid(4, **GATHER), grid(8, 2), grid(8, 2, **GATHER)], use_bias=True
    ),
    "gather alone": dict(hash_grid_configs=[grid(8, **GATHER)]),
    "encoding, period and phases": dict(
        n_frequencies=3, period_cells=2, phases=2, hash_grid_configs=[grid(8, 2, **GATHER), grid(4)]
    ),
    "encoding": dict(n_frequencies=2),
    "missing maps": dict(channels=[3, 4, 5, 6, 10], use_bias=True),
    "clamped": dict(wrap=False, hash_grid_configs=[grid(8, 2, **GATHER), grid(4, 2)]),
    "wide": dict(width=32, height=8, hash_grid_configs=[grid(8, 2, **GATHER), grid(4, 2)]),
    "odd sizes": dict(width=19, height=13, hash_grid_configs=[grid(6, 2, **GATHER), grid(5)]),
    "odd sizes clamped": dict(width=19, height=13, wrap=False, hash_grid_configs=[grid(6, 2, **GATHER), grid(5)]),
    "grid finer than the texture": dict(width=5, height=3, hash_grid_configs=[grid(8, **GATHER), grid(16)]),
    "odd texels per cell": dict(width=24, height=24, hash_grid_configs=[grid(8, **GATHER), grid(8)]),
    "one texel": dict(width=1, height=1),
    "first layer by place": dict(position_order=1, hash_grid_configs=[grid(8, 2, **GATHER), grid(4)], use_bias=True),
    "first layer by place, order 2, clamped, odd sizes": dict(
        position_order=2, width=19, height=13, wrap=False, hash_grid_configs=[grid(6, 2, **GATHER), grid(5)]
    ),
    "first layer by place, two gathered grids": dict(
        position_order=1,
        hash_grid_configs=[grid(4, 2, **GATHER), grid(4), grid(8, 2, **GATHER)],
        n_frequencies=2,
        period_cells=1,
        phases=2,
        n_hidden_layers=2,
    ),
    "8-bit weights": dict(network_precision="int8", n_hidden_layers=2),
    "8-bit weights, first layer by place, bias, missing maps": dict(
        network_precision="int8",
        position_order=1,
        use_bias=True,
        channels=[3, 4, 5, 6, 10],
        hash_grid_configs=[grid(8, 2, **GATHER), grid(4)],
    ),
}


def sample_groups(layout):
    """Tiles of two mips that overlap, share grid texels along their borders, and wrap where the model does."""
    groups = []
    for mip in range(min(layout.mips, 2)):
        width, height = mip_size(layout.width, layout.height, mip)
        w, h = max(1, min(8, width // 2)), max(1, min(8, height // 2))
        origins = [(0, 0), (0, 0), (width - w, height - h), ((width - w) // 2, (height - h) // 3)]
        if layout.wrap:
            origins += [(width - 1, height - 1), (max(width - w // 2, 0) % width, 0)]
        groups.append(tiles(mip, origins, w, h))
    return groups
