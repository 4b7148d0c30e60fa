"""The texture function in PyTorch against a plain float64 rendering of the texture function, values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from configs import ACTIVATION_NAMES, ModelConfig
from images.mips import mip_size
from model.backends.torch_backend import TorchBackend
from model.decoder.activations import ACTIVATIONS
from model.decoder.canonical import canonical_weights, load_canonical_weights
from model.decoder.fused_mlp import LEAST_ROWS, SUMS, weight_gradient
from model.grids.cells import AlignedCells, CellMatrices
from model.grids.feature_grids import FeatureGrids
from model.grids.layout import FeatureLayout, grid_layout
from model.grids.lookup import TilePlanner, lookups_to_device
from model.grids.taps import axis_taps, cell_basis
from model.layout import model_layout
from model.texture import NeuralTexture
from tests.model.plain_rendering import (
    CASES,
    CPU,
    GATHER,
    all_levels,
    grid,
    grid_gradients,
    group_texels,
    make_texture,
    plain_predict,
    run_tiles,
    sample_groups,
    tiles,
)
from tests.training.test_optimizers import step
from training.latent_optimizers import TouchedAdam
from training.optimizers import Optimizers


@pytest.mark.parametrize("quantize", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_values_and_all_gradients_equal_a_plain_rendering(name, quantize):
    texture, flat = make_texture(**CASES[name])
    layout, channels = texture.layout, texture.channels
    groups = sample_groups(layout)
    plain_flat = flat.double().requires_grad_()
    plain_grids = [[level.double().requires_grad_() for level in levels] for levels in all_levels(texture)]
    expected = torch.cat(
        [
            plain_predict(layout, plain_grids, plain_flat, group.mip, *group_texels(layout, group), quantize)
            for group in groups
        ]
    )[:, channels]
    factors = torch.randn(expected.shape, generator=torch.Generator().manual_seed(9))
    (expected * factors).sum().backward()

    values, touched = run_tiles(texture, groups, quantize)
    torch.testing.assert_close(values.double(), expected, rtol=1e-4, atol=1e-4)
    (values * factors).sum().backward()

    # Gradients in the places of the numbers they belong to, so that they come in canonical order.
    holder, _ = make_texture(**CASES[name])
    with torch.no_grad():
        for ours, theirs in zip(holder.decoder.parameters(), texture.decoder.parameters(), strict=True):
            ours.copy_(theirs.grad)
    gradient = canonical_weights(holder.decoder).double()
    scale = plain_flat.grad.abs().max()
    if layout.layers[0].bias_offset is not None:
        # With biases the padding's ones take no part: their weights are zero and stay so.
        first = layout.layers[0]
        plain_flat.grad[: first.rows * first.cols].view(first.rows, first.cols)[:, layout.n_inputs :] = 0
    torch.testing.assert_close(gradient / scale, plain_flat.grad / scale, rtol=1e-3, atol=1e-4)
    for found, levels in zip(grid_gradients(texture, touched), plain_grids):
        for got, level in zip(found, levels):
            wanted = torch.zeros_like(level) if level.grad is None else level.grad
            torch.testing.assert_close(got / scale, wanted / scale, rtol=1e-3, atol=1e-4)
    if layout.width > 1:
        assert any(
            level.grad is not None and level.grad.abs().max() > 1e-3 for levels in plain_grids for level in levels
        )


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_every_activation_has_the_value_and_the_gradient_of_its_formula(name):
    texture, flat = make_texture(activation=name, output_activation=name, n_hidden_layers=2, use_bias=True)
    layout = texture.layout
    group = tiles(0, [(0, 0), (4, 8)], 8, 8)
    plain_grids = [[level.double().requires_grad_() for level in levels] for levels in all_levels(texture)]
    expected = plain_predict(layout, plain_grids, flat.double(), 0, *group_texels(layout, group), False)
    values, touched = run_tiles(texture, [group], False)
    torch.testing.assert_close(values.double(), expected, rtol=1e-4, atol=1e-4)
    factors = torch.linspace(-1, 1, expected.numel()).view(expected.shape)
    (expected * factors).sum().backward()
    (values * factors).sum().backward()
    wanted = plain_grids[0][-1].grad
    got = grid_gradients(texture, touched)[0][1]
    scale = wanted.abs().max()
    assert scale > 1e-6
    torch.testing.assert_close(got / scale, wanted / scale, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", CASES)
def test_the_columns_laid_out_for_any_decoder_give_what_the_decoder_makes_of_cells(name):
    texture, _ = make_texture(**CASES[name])
    decoder, layout = texture.decoder, texture.layout
    lookups = lookups_to_device(texture.planner.look_up(sample_groups(layout)), CPU)
    with torch.no_grad():
        features = texture.grids(lookups, True)
        matrices, ones = decoder.stored_matrices()
        value = features.dense()
        assert value.shape[1] == layout.n_inputs
        for number, (matrix, layer) in enumerate(zip(matrices, layout.layers)):
            value = value @ matrix.t()
            if layer.bias_offset is not None:
                value = value + decoder.biases[number]
            elif number == 0 and ones is not None:
                value = value + ones.sum(1)
            value = ACTIVATIONS[layer.activation](value)
        torch.testing.assert_close(decoder(features), value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_a_decoded_mip_equals_the_plain_rendering_at_every_texel(name):
    texture, flat = make_texture(**CASES[name])
    layout = texture.layout
    for mip in range(layout.mips):
        width, height = mip_size(layout.width, layout.height, mip)
        y, x = np.mgrid[:height, :width]
        expected = plain_predict(
            layout,
            [[level.double() for level in levels] for levels in all_levels(texture)],
            flat.double(),
            mip,
            x.reshape(-1),
            y.reshape(-1),
            True,
        )[:, texture.channels]
        for side in (128, 5):
            decoded = texture.decode(mip, True, side)
            assert decoded.shape == (height, width, len(texture.channels))
            torch.testing.assert_close(decoded.double().view(expected.shape), expected, rtol=1e-4, atol=1e-4)


def one_feature_texture(wrap, interpolation, outputs):
    """An 8 x 8 texture whose output `k` is network input `k`, over a 2 x 2 grid of one feature."""
    texture, flat = make_texture(
        8, 8, n_hidden_layers=0, wrap=wrap, hash_grid_configs=[grid(2, save_bits=8, interpolation=interpolation)]
    )
    flat.zero_()
    for output in range(outputs):
        flat[output * 16 + output] = 1
    load_canonical_weights(texture.decoder, flat)
    texture.grids.load([[torch.tensor([[0.1, 0.2], [0.3, 0.4]])[..., None]]])
    return texture


@pytest.mark.parametrize("wrap, value", [(True, 0.2125), (False, 0.1)])
def test_the_first_texel_blends_its_taps_across_the_border_as_worked_by_hand(wrap, value):
    # p = 0.5 / 8 * 2 - 0.5 = -0.375: taps -1 (weight 0.375) and 0 (0.625) on both axes. Wrapped, tap -1 is texel 1:
    # rows 0.375 * 0.2 + 0.625 * 0.1 = 0.1375 and 0.3375, then 0.375 * 0.3375 + 0.625 * 0.1375 = 0.2125.
    texture = one_feature_texture(wrap, "bilinear", 1)
    decoded = texture.decode(0, quantize=False)
    assert decoded[0, 0, 0].item() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    "wrap, texel, taps",
    [
        (True, (3, 3), [0.1, 0.2, 0.3, 0.4]),
        (True, (0, 0), [0.4, 0.3, 0.2, 0.1]),
        (True, (3, 0), [0.3, 0.4, 0.1, 0.2]),
        (True, (7, 3), [0.2, 0.1, 0.4, 0.3]),
        (False, (0, 0), [0.1, 0.1, 0.1, 0.1]),
        (False, (3, 7), [0.3, 0.4, 0.3, 0.4]),
    ],
)
def test_gathered_taps_come_in_the_order_00_10_01_11_of_x_and_y(wrap, texel, taps):
    texture = one_feature_texture(wrap, "gather", 4)
    x, y = texel
    assert texture.decode(0, quantize=False)[y, x, :4].tolist() == pytest.approx(taps, abs=1e-6)


def test_the_lod_input_is_the_mips_share_of_the_chain():
    texture, flat = make_texture(8, 8, n_hidden_layers=0, hash_grid_configs=[grid(2, save_bits=8)])
    flat.zero_()
    flat[1] = 1
    load_canonical_weights(texture.decoder, flat)
    assert [texture.decode(mip)[0, 0, 0].item() for mip in range(4)] == pytest.approx([0, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize("order", [0, 1, 2])
def test_aligned_and_unaligned_tiles_decode_the_same_texels(order):
    texture, _ = make_texture(hash_grid_configs=[grid(8, **GATHER), grid(4)], n_neurons=32, position_order=order)
    aligned, shifted = tiles(0, [(1, 3)], 8, 8), tiles(0, [(2, 2)], 8, 8)
    assert axis_taps(aligned.x, 16, 8, True).cell_texels == 2 and axis_taps(shifted.x, 16, 8, True).cell_texels == 0
    with torch.no_grad():
        first, second = (run_tiles(texture, [group], True)[0].view(8, 8, -1) for group in (aligned, shifted))
    torch.testing.assert_close(first[:7, 1:], second[1:, :7], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_both_ways_to_lay_cells_over_texels_agree_and_their_gradients_are_the_transpose(order):
    random = torch.Generator().manual_seed(1)
    taps = axis_taps(np.array([[1], [5]]) + np.arange(6), 16, 8, True)
    assert taps.cell_texels == 2
    matrix = torch.from_numpy(taps.cell_matrix(order))
    functions = (order + 1) ** 2
    cells, texels = torch.randn(2, 3, 3, functions * 4, generator=random), torch.randn(2, 6, 6, 4, generator=random)
    basis = torch.from_numpy(cell_basis(taps.fraction[0, :2], taps.fraction[0, :2], order)) if order else None
    results = []
    for way in (AlignedCells((2, 2), basis), CellMatrices(matrix, matrix, order)):
        out = torch.zeros(2, 6, 6, 4)
        way.add(out, cells)
        results.append(out)
        assert (out * texels).sum().item() == pytest.approx((way.add_transposed(texels) * cells).sum().item(), rel=1e-4)
    torch.testing.assert_close(*results)
    if not order:
        torch.testing.assert_close(results[0][0, 3, 4], cells[0, 1, 2])


@pytest.mark.parametrize("rows", [SUMS * LEAST_ROWS, SUMS * LEAST_ROWS + SUMS, 100, SUMS * LEAST_ROWS + 1])
def test_a_weights_gradient_is_the_same_in_one_sum_and_in_several(rows):
    random = torch.Generator().manual_seed(0)
    gradient, inputs = torch.randn(rows, 5, generator=random), torch.randn(rows, 7, generator=random)
    torch.testing.assert_close(weight_gradient(gradient, inputs), gradient.t() @ inputs, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_network_comes_back_from_its_canonical_array_bit_for_bit(name):
    texture, flat = make_texture(**CASES[name])
    assert torch.equal(canonical_weights(texture.decoder), flat)
    other, _ = make_texture(**CASES[name], seed=3)
    load_canonical_weights(other.decoder, canonical_weights(texture.decoder))
    assert torch.equal(canonical_weights(other.decoder), flat)


def test_a_fresh_network_has_zero_rows_for_missing_maps():
    layout = model_layout(ModelConfig(), 16, 16)
    flat = canonical_weights(NeuralTexture(layout, [3, 4, 5], CPU, torch.Generator().manual_seed(0)).decoder)
    last = layout.layers[-1]
    rows = flat[last.offset : last.offset + last.rows * last.cols].view(last.rows, last.cols).abs().sum(1) > 0
    assert rows.nonzero().view(-1).tolist() == [3, 4, 5]


def test_rounding_passes_the_gradient_to_features_inside_the_clamp_range_alone():
    texture = one_feature_texture(True, "bilinear", 1)
    texture.grids.load([[torch.tensor([[0.1, 0.7], [-0.7, 0.4]])[..., None]]])
    values, touched = run_tiles(texture, [tiles(0, [(0, 0)], 8, 8)], True)
    values[:, 0].sum().backward()
    torch.testing.assert_close(
        grid_gradients(texture, touched)[0][0][..., 0], torch.tensor([[16.0, 0.0], [0.0, 16.0]], dtype=torch.float64)
    )


@torch.no_grad()
def test_noise_moves_features_to_a_neighbouring_level_and_follows_from_its_generator():
    texture = one_feature_texture(True, "gather", 4)
    group = [tiles(0, [(0, 0)], 8, 8)]
    calm = run_tiles(texture, group, True)[0]
    draws = [run_tiles(texture, group, True, [1 / 256], torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert 0 < (draws[0] - calm)[:, :4].abs().max() <= 1 / 256 + 1e-7


def test_evaluation_is_in_float32_whatever_the_training_precision():
    texture, _ = make_texture(n_neurons=32)
    group = [tiles(0, [(0, 0)], 8, 8)]
    trained, _ = run_tiles(TorchBackend(texture, "bfloat16"), group, True)
    exact, _ = run_tiles(texture, group, True)
    assert trained.dtype == torch.float32 and not torch.equal(trained, exact)
    torch.testing.assert_close(trained, exact, rtol=0.1, atol=0.05)
    torch.testing.assert_close(texture.decode(0)[:8, :8].reshape(64, -1), exact, rtol=1e-5, atol=1e-6)


def test_without_gradients_nothing_is_kept_for_a_backward_pass():
    texture, _ = make_texture()
    with torch.no_grad():
        values, touched = run_tiles(texture, sample_groups(texture.layout), True)
    assert not touched and not values.requires_grad


def test_a_step_lowers_the_loss_and_touches_only_the_tiles_grid_texels():
    texture, _ = make_texture(hash_grid_configs=[grid(8, 2), grid(8, 2)])
    optimizers = Optimizers(texture, "muon", 0.003)
    before = [[level.clone() for level in levels] for levels in all_levels(texture)]
    group = [tiles(0, [(5, 5)], 2, 2)]
    losses = []
    for _ in range(30):
        values, touched = run_tiles(texture, group, False)
        loss = (values - 0.4).square().mean()
        loss.backward()
        step(optimizers, touched)
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    for levels, old in zip(all_levels(texture), before):
        assert torch.equal(levels[0], old[0])
        changed = (levels[1] != old[1]).any(-1).nonzero()
        assert changed.min() >= 2 and changed.max() <= 3 and len(changed) == 4


def test_another_decoder_reads_the_same_grids():
    """A reflectance of a place and two directions, of three outputs, learnt on the grids that textures use."""
    config = ModelConfig(hash_grid_configs=[grid(8, 2, **GATHER), grid(4, 2)])
    layout = FeatureLayout(
        16,
        16,
        5,
        tuple(grid_layout(each, 16, 16) for each in config.hash_grid_configs),
        n_frequencies=0,
        period_cells=0,
        phases=1,
        position_order=0,
        linear_order=None,
        feature_curves=False,
        wrap=True,
    )
    random = torch.Generator().manual_seed(0)
    grids, planner = FeatureGrids(layout, CPU, random), TilePlanner(layout)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(layout.n_inputs + 4, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))
    latents = [TouchedAdam(table.detach(), 0.02, (-0.5, 0.5)) for table in grids.tables]
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    lookups = lookups_to_device(planner.look_up([tiles(0, [(0, 0), (8, 0), (0, 8), (8, 8)], 8, 8)]), CPU)
    colour = torch.rand(256, 3, generator=random)
    losses = []
    for _ in range(150):
        features = grids(lookups, True)
        directions = torch.rand(256, 4, generator=random) * 2 - 1
        wanted = colour * (directions[:, :2] * directions[:, 2:]).sum(1, keepdim=True)
        loss = (network(torch.cat([features.dense(), directions], 1)) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for index, latent in enumerate(latents):
            latent.apply([read for read in features.touched if read.grid == index], torch.tensor(0.02))
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
