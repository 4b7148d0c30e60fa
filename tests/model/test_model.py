"""The torch backend against a plain float64 rendering of the texture function, values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from model.grids.geometry import axis_taps

from configs import ACTIVATION_NAMES, ModelConfig
from images.mips import mip_size
from model.backends.torch_backend import TorchBackend
from model.decoder.fused_mlp import LEAST_ROWS, SUMS, CellSpread, weight_gradient
from model.layout import model_layout
from tests.model.plain_rendering import (
    CASES,
    CPU,
    GATHER,
    grid,
    grid_gradient,
    group_texels,
    keep_gradients,
    make_backend,
    plain_predict,
    sample_groups,
    tiles,
)


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
