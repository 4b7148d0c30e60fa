"""The torch backend against a plain float64 rendering of the texture function, values and gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from configs import ACTIVATION_NAMES, HashGridConfig, ModelConfig
from model.fused_mlp import LEAST_ROWS, SUMS, CellSpread, weight_gradient
from model.geometry import TileGroup, axis_taps
from model.layout import N_CHANNELS, mip_size, model_layout
from model.optimizers import TouchedAdam
from model.torch_backend import TorchBackend

CPU = torch.device("cpu")
ALL = list(range(N_CHANNELS))
BILINEAR = dict(quantize_bits=8, save_bits=32)
GATHER = dict(quantize_bits=4, save_bits=32, interpolation="gather")


def grid(resolution, levels=1, **fields):
    return HashGridConfig(max_resolution=resolution, n_levels=levels, **{**BILINEAR, **fields})


def make_backend(width=16, height=16, channels=ALL, precision="float32", seed=0, **model):
    """A backend whose weights and biases are all random and whose features reach beyond the clamp range."""
    config = ModelConfig(**{"hash_grid_configs": [grid(8, 2), grid(4, 2)], "output_activation": "none", **model})
    layout = model_layout(config, width, height)
    generator = torch.Generator().manual_seed(seed)
    backend = TorchBackend(layout, channels, CPU, precision, generator)
    flat = torch.zeros(layout.n_weights)
    for index, layer in enumerate(layout.layers):
        rows = channels if index == len(layout.layers) - 1 else list(range(layer.rows))
        cols = layout.n_inputs if index == 0 and config.use_bias else layer.cols
        weights = flat[layer.offset:layer.offset + layer.rows * layer.cols].view(layer.rows, layer.cols)
        weights[rows, :cols] = torch.randn(len(rows), cols, generator=generator) * 1.2 / math.sqrt(cols)
        if layer.bias_offset is not None:
            flat[layer.bias_offset:layer.bias_offset + layer.rows][rows] = 0.3 * torch.randn(len(rows),
                                                                                            generator=generator)
    backend.load_network(flat)
    backend.load_grids([[torch.rand(level.shape, generator=generator) * 1.3 - 0.65 for level in levels]
                        for levels in backend.grids])
    return backend, flat


def tiles(mip, origins, width, height):
    """A group of equal tiles from their first texels (x, y)."""
    origins = np.array(origins)
    return TileGroup(mip, origins[:, :1] + np.arange(width), origins[:, 1:] + np.arange(height))


def keep_gradients(backend):
    """Give a backend optimisers whose state tells the first step's gradients: the grids' have momentum."""
    backend.make_optimizers("adam", 0.0)
    backend.grid_optimizers = [TouchedAdam(grid.values, grid.lr, grid.limits, (0.5, 0.99))
                               for grid in backend.grid_optimizers]


def grid_gradient(backend, g, level):
    """What the first step of fresh optimisers saw as a level's gradient, float64 [r, r, F]."""
    optimizer, shape, start = backend.grid_optimizers[g], backend.grids[g][level].shape, backend.offsets[g][level]
    mean = optimizer.state()["first"][start:start + shape[0] * shape[1]] / (1 - optimizer.betas[0])
    return mean.view(shape).double()


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
        "none": lambda: x, "relu": lambda: torch.where(x > 0, x, 0 * x), "tanh": lambda: 2 / (1 + (-2 * x).exp()) - 1,
        "leaky_relu": lambda: torch.where(x > 0, x, 0.01 * x),
        "hard_swish": lambda: torch.where(x < -3, 0 * x, torch.where(x > 3, x, x * (x + 3) / 6)),
        "hard_gelu": lambda: torch.where(x < -1.5, 0 * x, torch.where(x > 1.5, x, x * (x + 1.5) / 3)),
        "gelu": lambda: x / 2 * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)).tanh()),
        "silu": lambda: x / (1 + (-x).exp()), "exponential": lambda: math.e ** x, "sine": lambda: x.sin(),
        "sigmoid": lambda: 1 / (1 + (-x).exp()),
        "squareplus": lambda: (10 * x + (100 * x * x + 4).sqrt()) / 2 / 10,
        "softplus": lambda: (1 + (10 * x).exp()).log() / 10}[name]()


def plain_round(values, bits):
    """Nearest level, straight through inside the clamp range."""
    steps = 2 ** bits
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
    scale = torch.from_numpy(np.maximum(scale, 2.0 ** -14))[:, None]
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
            inputs.append((1 - wx) * (1 - wy) * taps[0] + wx * (1 - wy) * taps[1] + (1 - wx) * wy * taps[2]
                          + wx * wy * taps[3])
    inputs.append(torch.full((len(x), 1), mip / (layout.mips - 1) if layout.mips > 1 else 0.0, dtype=torch.float64))
    value = torch.cat(inputs + products, 1)
    value = torch.cat([value, torch.ones(len(x), -value.shape[1] % 16, dtype=torch.float64)], 1)
    start = 0
    for layer in layout.layers:
        rows = layout.n_neurons if layer is not layout.layers[-1] else 16
        weights = plain_weights(flat[start:start + rows * value.shape[1]].view(rows, value.shape[1]),
                                layout.network_precision)
        start += rows * value.shape[1]
        value = value @ weights.t()
        if layer.bias_offset is not None:
            value = value + flat[layer.bias_offset:layer.bias_offset + rows]
        value = plain_activation(layer.activation, value)
    return value[:, :N_CHANNELS]


CASES = {
    "defaults": {},
    "no hidden layer": dict(n_hidden_layers=0),
    "no hidden layer, bias": dict(n_hidden_layers=0, use_bias=True),
    "two hidden layers": dict(n_hidden_layers=2, n_neurons=32, activation="gelu"),
    "two hidden layers, bias": dict(n_hidden_layers=2, use_bias=True, activation="silu"),
    "gather": dict(hash_grid_configs=[grid(8, 2, **GATHER), grid(4, 2)]),
    "gather, no hidden layer, bias": dict(hash_grid_configs=[grid(8, 2, **GATHER), grid(4, 2)], n_hidden_layers=0,
                                          use_bias=True),
    "two gathered grids around a bilinear one": dict(
        hash_grid_configs=[grid(4, **GATHER), grid(8, 2), grid(8, 2, **GATHER)], use_bias=True),
    "gather alone": dict(hash_grid_configs=[grid(8, **GATHER)]),
    "encoding, period and phases": dict(n_frequencies=3, period_cells=2, phases=2,
                                        hash_grid_configs=[grid(8, 2, **GATHER), grid(4)]),
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
        position_order=2, width=19, height=13, wrap=False, hash_grid_configs=[grid(6, 2, **GATHER), grid(5)]),
    "first layer by place, two gathered grids": dict(
        position_order=1, hash_grid_configs=[grid(4, 2, **GATHER), grid(4), grid(8, 2, **GATHER)], n_frequencies=2,
        period_cells=1, phases=2, n_hidden_layers=2),
    "8-bit weights": dict(network_precision="int8", n_hidden_layers=2),
    "8-bit weights, first layer by place, bias, missing maps": dict(
        network_precision="int8", position_order=1, use_bias=True, channels=[3, 4, 5, 6, 10],
        hash_grid_configs=[grid(8, 2, **GATHER), grid(4)]),
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


@pytest.mark.parametrize("quantize", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_values_and_all_gradients_equal_a_plain_rendering(name, quantize):
    backend, flat = make_backend(**CASES[name])
    layout, channels = backend.layout, backend.channels
    groups = sample_groups(layout)
    plain_flat = flat.double().requires_grad_()
    plain_grids = [[level.double().requires_grad_() for level in levels] for levels in backend.grids]
    expected = torch.cat([plain_predict(layout, plain_grids, plain_flat, group.mip, *group_texels(layout, group),
                                        quantize) for group in groups])[:, channels]
    factors = torch.randn(expected.shape, generator=torch.Generator().manual_seed(9))
    (expected * factors).sum().backward()

    keep_gradients(backend)
    values = backend.predict(groups, quantize)
    torch.testing.assert_close(values.double(), expected, rtol=1e-4, atol=1e-4)
    (values * factors).sum().backward()

    # Gradients in the places of the numbers they belong to, so that `network` brings them into canonical order.
    holder, _ = make_backend(**CASES[name])
    with torch.no_grad():
        for ours, theirs in zip((*holder.matrices, *holder.biases, holder.ones),
                                (*backend.matrices, *backend.biases, backend.ones)):
            if ours is not None:
                ours.copy_(theirs.grad)
    gradient = holder.network().double()
    backend.step(0.0)
    scale = plain_flat.grad.abs().max()
    if layout.layers[0].bias_offset is not None:
        # With biases the padding's ones take no part: their weights are zero and stay so.
        first = layout.layers[0]
        plain_flat.grad[:first.rows * first.cols].view(first.rows, first.cols)[:, layout.n_inputs:] = 0
    torch.testing.assert_close(gradient / scale, plain_flat.grad / scale, rtol=1e-3, atol=1e-4)
    for g, levels in enumerate(plain_grids):
        for index, level in enumerate(levels):
            got = grid_gradient(backend, g, index)
            wanted = torch.zeros_like(level) if level.grad is None else level.grad
            torch.testing.assert_close(got / scale, wanted / scale, rtol=1e-3, atol=1e-4)
    if layout.width > 1:
        assert any(level.grad is not None and level.grad.abs().max() > 1e-3
                   for levels in plain_grids for level in levels)


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_every_activation_has_the_value_and_the_gradient_of_its_formula(name):
    backend, flat = make_backend(activation=name, output_activation=name, n_hidden_layers=2, use_bias=True)
    layout = backend.layout
    group = tiles(0, [(0, 0), (4, 8)], 8, 8)
    plain_grids = [[level.double().requires_grad_() for level in levels] for levels in backend.grids]
    expected = plain_predict(layout, plain_grids, flat.double(), 0, *group_texels(layout, group), False)
    keep_gradients(backend)
    values = backend.predict([group], False)
    torch.testing.assert_close(values.double(), expected, rtol=1e-4, atol=1e-4)
    factors = torch.linspace(-1, 1, expected.numel()).view(expected.shape)
    (expected * factors).sum().backward()
    (values * factors).sum().backward()
    backend.step(0.0)
    wanted = plain_grids[0][-1].grad
    got = grid_gradient(backend, 0, 1)
    scale = wanted.abs().max()
    assert scale > 1e-6
    torch.testing.assert_close(got / scale, wanted / scale, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", CASES)
def test_a_decoded_mip_equals_the_plain_rendering_at_every_texel(name):
    backend, flat = make_backend(**CASES[name])
    layout = backend.layout
    for mip in range(layout.mips):
        width, height = mip_size(layout.width, layout.height, mip)
        y, x = np.mgrid[:height, :width]
        expected = plain_predict(layout, [[level.double() for level in levels] for levels in backend.grids],
                                 flat.double(), mip, x.reshape(-1), y.reshape(-1), True)[:, backend.channels]
        for side in (128, 5):
            decoded = backend.decode(mip, True, side)
            assert decoded.shape == (height, width, len(backend.channels))
            torch.testing.assert_close(decoded.double().view(expected.shape), expected, rtol=1e-4, atol=1e-4)


def one_feature_backend(wrap, interpolation, outputs):
    """An 8 x 8 texture whose output `k` is network input `k`, over a 2 x 2 grid of one feature."""
    backend, flat = make_backend(8, 8, n_hidden_layers=0, wrap=wrap, hash_grid_configs=[
        grid(2, save_bits=8, interpolation=interpolation)])
    flat.zero_()
    for output in range(outputs):
        flat[output * 16 + output] = 1
    backend.load_network(flat)
    backend.load_grids([[torch.tensor([[0.1, 0.2], [0.3, 0.4]])[..., None]]])
    return backend


@pytest.mark.parametrize("wrap, value", [(True, 0.2125), (False, 0.1)])
def test_the_first_texel_blends_its_taps_across_the_border_as_worked_by_hand(wrap, value):
    # p = 0.5 / 8 * 2 - 0.5 = -0.375: taps -1 (weight 0.375) and 0 (0.625) on both axes. Wrapped, tap -1 is texel 1:
    # rows 0.375 * 0.2 + 0.625 * 0.1 = 0.1375 and 0.3375, then 0.375 * 0.3375 + 0.625 * 0.1375 = 0.2125.
    backend = one_feature_backend(wrap, "bilinear", 1)
    decoded = backend.decode(0, quantize=False)
    assert decoded[0, 0, 0].item() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("wrap, texel, taps", [
    (True, (3, 3), [0.1, 0.2, 0.3, 0.4]), (True, (0, 0), [0.4, 0.3, 0.2, 0.1]),
    (True, (3, 0), [0.3, 0.4, 0.1, 0.2]), (True, (7, 3), [0.2, 0.1, 0.4, 0.3]),
    (False, (0, 0), [0.1, 0.1, 0.1, 0.1]), (False, (3, 7), [0.3, 0.4, 0.3, 0.4])])
def test_gathered_taps_come_in_the_order_00_10_01_11_of_x_and_y(wrap, texel, taps):
    backend = one_feature_backend(wrap, "gather", 4)
    x, y = texel
    assert backend.decode(0, quantize=False)[y, x, :4].tolist() == pytest.approx(taps, abs=1e-6)


def test_the_lod_input_is_the_mips_share_of_the_chain():
    backend, flat = make_backend(8, 8, n_hidden_layers=0, hash_grid_configs=[grid(2, save_bits=8)])
    flat.zero_()
    flat[1] = 1
    backend.load_network(flat)
    assert [backend.decode(mip)[0, 0, 0].item() for mip in range(4)] == pytest.approx([0, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize("order", [0, 1, 2])
def test_aligned_and_unaligned_tiles_decode_the_same_texels(order):
    backend, _ = make_backend(hash_grid_configs=[grid(8, **GATHER), grid(4)], n_neurons=32, position_order=order)
    aligned, shifted = tiles(0, [(1, 3)], 8, 8), tiles(0, [(2, 2)], 8, 8)
    assert axis_taps(aligned.x, 16, 8, True).cell_texels == 2 and axis_taps(shifted.x, 16, 8, True).cell_texels == 0
    first = backend.predict([aligned], True, train=False).view(8, 8, -1)
    second = backend.predict([shifted], True, train=False).view(8, 8, -1)
    torch.testing.assert_close(first[:7, 1:], second[1:, :7], rtol=1e-5, atol=1e-6)


def test_both_ways_to_spread_cells_agree_and_collecting_is_their_transpose():
    random = torch.Generator().manual_seed(1)
    taps = axis_taps(np.array([[1], [5]]) + np.arange(6), 16, 8, True)
    assert taps.cell_texels == 2
    matrix = torch.from_numpy(taps.cell_matrix())
    cells, texels = torch.randn(2, 3, 3, 4, generator=random), torch.randn(2, 6, 6, 4, generator=random)
    ways = [CellSpread((2, 2), None), CellSpread((0, 0), (matrix, matrix))]
    spread = []
    for way in ways:
        out = torch.zeros(2, 6, 6, 4)
        way.add_to(out, cells)
        spread.append(out)
        assert (out * texels).sum().item() == pytest.approx((way.collect(texels) * cells).sum().item(), rel=1e-4)
    torch.testing.assert_close(*spread)
    torch.testing.assert_close(spread[0][0, 3, 4], cells[0, 1, 2])


@pytest.mark.parametrize("rows", [SUMS * LEAST_ROWS, SUMS * LEAST_ROWS + SUMS, 100, SUMS * LEAST_ROWS + 1])
def test_a_weights_gradient_is_the_same_in_one_sum_and_in_several(rows):
    random = torch.Generator().manual_seed(0)
    gradient, inputs = torch.randn(rows, 5, generator=random), torch.randn(rows, 7, generator=random)
    torch.testing.assert_close(weight_gradient(gradient, inputs), gradient.t() @ inputs, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_network_comes_back_from_its_canonical_array_bit_for_bit(name):
    backend, flat = make_backend(**CASES[name])
    assert torch.equal(backend.network(), flat)
    other, _ = make_backend(**CASES[name], seed=3)
    other.load_network(backend.network())
    assert torch.equal(other.network(), flat)


def test_a_fresh_network_has_zero_rows_for_missing_maps():
    layout = model_layout(ModelConfig(), 16, 16)
    flat = TorchBackend(layout, [3, 4, 5], CPU, "float32", torch.Generator().manual_seed(0)).network()
    last = layout.layers[-1]
    rows = flat[last.offset:last.offset + last.rows * last.cols].view(last.rows, last.cols).abs().sum(1) > 0
    assert rows.nonzero().view(-1).tolist() == [3, 4, 5]


def test_rounding_passes_the_gradient_to_features_inside_the_clamp_range_alone():
    backend = one_feature_backend(True, "bilinear", 1)
    backend.load_grids([[torch.tensor([[0.1, 0.7], [-0.7, 0.4]])[..., None]]])
    keep_gradients(backend)
    backend.predict([tiles(0, [(0, 0)], 8, 8)], True)[:, 0].sum().backward()
    backend.step(0.0)
    torch.testing.assert_close(grid_gradient(backend, 0, 0)[..., 0],
                               torch.tensor([[16.0, 0.0], [0.0, 16.0]], dtype=torch.float64))


def test_noise_moves_features_to_a_neighbouring_level_and_follows_from_its_generator():
    backend = one_feature_backend(True, "gather", 4)
    group = [tiles(0, [(0, 0)], 8, 8)]
    calm = backend.predict(group, True, train=False)
    draws = [backend.predict(group, True, [1 / 256], torch.Generator().manual_seed(seed), train=False)
             for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert 0 < (draws[0] - calm)[:, :4].abs().max() <= 1 / 256 + 1e-7


def test_evaluation_is_in_float32_whatever_the_training_precision():
    full, _ = make_backend(n_neurons=32)
    half, _ = make_backend(n_neurons=32, precision="bfloat16")
    assert torch.equal(full.decode(0), half.decode(0))
    group = [tiles(0, [(0, 0)], 8, 8)]
    trained = half.predict(group, True)
    assert trained.dtype == torch.float32
    torch.testing.assert_close(trained, full.predict(group, True, train=False), rtol=0.1, atol=0.05)


def test_a_step_lowers_the_loss_and_touches_only_the_tiles_grid_texels():
    backend, _ = make_backend(hash_grid_configs=[grid(8, 2), grid(8, 2)])
    backend.make_optimizers("muon", 0.003)
    before = [[level.clone() for level in levels] for levels in backend.grids]
    group = [tiles(0, [(5, 5)], 2, 2)]
    losses = []
    for _ in range(30):
        loss = (backend.predict(group, False) - 0.4).square().mean()
        loss.backward()
        backend.step(1.0)
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    for levels, old in zip(backend.grids, before):
        assert torch.equal(levels[0], old[0])
        changed = (levels[1] != old[1]).any(-1).nonzero()
        assert changed.min() >= 2 and changed.max() <= 3 and len(changed) == 4
