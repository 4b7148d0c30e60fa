"""The tiny-cuda-nn backend: its conversions and arithmetic on the CPU, against hand-worked values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from configs import HashGridConfig, ModelConfig
from model.backends.tcnn_backend import MOST_TRIAL_ERROR, TcnnBackend, explain_import_error
from model.backends.tcnn_layout import (
    LevelTable,
    LossScale,
    all_finite,
    encoding_config,
    feature_split,
    fill_ring,
    flat_weights,
    fold_ring,
    fuses_at_run_time,
    network_config,
    network_type,
    ring_coordinates,
    ring_entries,
    table_entries,
)
from model.decoder.canonical import canonical_weights
from model.grids.feature_grids import blend_taps
from model.grids.lookup import BilinearLookup
from model.grids.taps import axis_taps
from model.grids.tiles import flat_index
from model.layout import model_layout
from model.texture import NeuralTexture

CPU = torch.device("cpu")
BILINEAR = [HashGridConfig(max_resolution=16), HashGridConfig(max_resolution=8)]
GATHER = [
    HashGridConfig(max_resolution=16, quantize_bits=4, save_bits=64, interpolation="gather"),
    HashGridConfig(max_resolution=8, quantize_bits=4, save_bits=64),
]


def close(found, expected, tolerance):
    return (found - expected).norm() <= tolerance * expected.norm().clamp(min=1e-12)


def dense_grid(table: torch.Tensor, position: np.ndarray, resolution: int) -> torch.Tensor:
    """What a dense grid of `resolution` gives at `position` [N, 2], by the definition of tiny-cuda-nn's kernel:
    place x * (R - 1) + 0.5, entry column + row * R, four taps, modulo the number of entries."""
    place = torch.from_numpy(position).double() * (resolution - 1) + 0.5
    lower = place.floor()
    fraction = place - lower
    result = 0
    for dy in (0, 1):
        for dx in (0, 1):
            column, row = lower[:, 0].long() + dx, lower[:, 1].long() + dy
            weight = (fraction[:, 0] if dx else 1 - fraction[:, 0]) * (fraction[:, 1] if dy else 1 - fraction[:, 1])
            result = result + weight[:, None] * table[(column + row * resolution) % table.shape[0]].double()
    return result


def test_a_level_of_two_texels_wraps_into_a_ring_worked_by_hand():
    square = torch.zeros(4, 4, 1)
    square[1:3, 1:3, 0] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert fill_ring(square, True)[..., 0].tolist() == [[4, 3, 4, 3], [2, 1, 2, 1], [4, 3, 4, 3], [2, 1, 2, 1]]


def test_a_level_of_two_texels_clamps_into_a_ring_worked_by_hand():
    square = torch.zeros(4, 4, 1)
    square[1:3, 1:3, 0] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert fill_ring(square, False)[..., 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]


def test_a_ring_of_ones_folds_back_as_the_number_of_times_each_texel_is_repeated():
    clamped = fold_ring(torch.ones(5, 5, 1), False)[1:-1, 1:-1, 0]
    assert clamped.tolist() == [[4, 2, 4], [2, 1, 2], [4, 2, 4]]
    assert fold_ring(torch.ones(3, 3, 1), True)[1, 1, 0] == 9


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("resolution", [1, 2, 5])
def test_folding_is_the_transpose_of_filling(resolution, wrap):
    generator = torch.Generator().manual_seed(0)
    inside = torch.zeros(resolution + 2, resolution + 2, 3, dtype=torch.float64)
    inside[1:-1, 1:-1] = torch.randn(resolution, resolution, 3, generator=generator, dtype=torch.float64)
    gradient = torch.randn(inside.shape, generator=generator, dtype=torch.float64)
    filled = (fill_ring(inside.clone(), wrap) * gradient).sum()
    folded = (inside * fold_ring(gradient.clone(), wrap))[1:-1, 1:-1].sum()
    assert filled.item() == pytest.approx(folded.item(), rel=1e-12)


def test_a_tables_entries_run_along_the_rows_and_are_padded_to_a_multiple_of_eight():
    level = torch.arange(1.0, 10.0).view(9, 1)
    table = LevelTable.apply(level, torch.arange(9), 3, True, torch.float32)
    assert table.shape == (32, 1) and table_entries(3) == 32
    assert table[:25].view(5, 5).tolist() == [
        [9, 7, 8, 9, 7],
        [3, 1, 2, 3, 1],
        [6, 4, 5, 6, 4],
        [9, 7, 8, 9, 7],
        [3, 1, 2, 3, 1],
    ]
    assert table[25:].abs().sum() == 0
    assert ring_entries(torch.arange(9), 3).tolist() == [6, 7, 8, 11, 12, 13, 16, 17, 18]


def test_a_texel_that_occurs_twice_gets_its_gradient_once_in_all():
    index = torch.tensor([0, 3, 0])
    texels = torch.tensor([[1.0], [2.0], [1.0]], requires_grad=True)
    table = LevelTable.apply(texels, index, 4, True, torch.float16)
    table[ring_entries(torch.tensor([0]), 4)].sum().mul(6).backward()
    assert texels.grad.flatten().tolist() == [3, 0, 3]


def test_gradients_of_the_ring_reach_the_texels_that_it_repeats():
    texels = torch.zeros(16, 1, requires_grad=True)
    table = LevelTable.apply(texels, torch.arange(16), 4, True, torch.float32)
    table[:36].view(6, 6)[0, 0].backward()
    assert texels.grad.view(4, 4).nonzero().tolist() == [[3, 3]]


def test_sixteen_features_are_split_in_order_and_none_is_lost():
    values = torch.arange(32.0).view(2, 16)
    parts = [values[:, part] for part in feature_split(16)]
    assert [part.shape[1] for part in parts] == [8, 8] and torch.equal(torch.cat(parts, 1), values)
    assert [part.stop - part.start for part in feature_split(1)] == [1]


def test_an_encoding_is_one_dense_level_with_room_for_the_ring():
    assert encoding_config(4, 8) == {
        "otype": "Grid",
        "type": "Dense",
        "n_levels": 1,
        "n_features_per_level": 8,
        "base_resolution": 6,
        "per_level_scale": 1.0,
        "interpolation": "Linear",
    }


@pytest.mark.parametrize("size, resolution", [(8, 4), (4, 4), (3, 4), (6, 2), (7, 3)])
def test_inputs_are_u_times_r_over_r_plus_one(size, resolution):
    taps = axis_taps(np.arange(size)[None], size, resolution, False)
    u = (np.arange(size) + 0.5) / size
    expected = u * resolution / (resolution + 1)
    np.testing.assert_allclose(ring_coordinates(taps, resolution, False)[0], expected, atol=1e-7)
    wrapped = ring_coordinates(axis_taps(np.arange(size)[None], size, resolution, True), resolution, True)[0]
    off = np.abs(wrapped - expected)
    # On a wrapping material the place before the first texel is also the one after the last.
    assert (np.minimum(off, np.abs(off - resolution / (resolution + 1))) < 1e-6).all()
    assert (wrapped >= 0).all() and (wrapped * (resolution + 1) + 0.5 < resolution + 1 + 1e-5).all()


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("width, height, resolution", [(8, 8, 4), (8, 8, 8), (12, 5, 4), (7, 9, 16), (4, 4, 1)])
def test_a_dense_grid_fed_this_way_blends_as_the_reference_does(width, height, resolution, wrap):
    grid = HashGridConfig(max_resolution=resolution, n_levels=1, save_bits=16)
    config = ModelConfig(hash_grid_configs=[grid], wrap=wrap)
    texture = NeuralTexture(model_layout(config, width, height), [0], CPU, torch.Generator().manual_seed(3))
    x_texels, y_texels = np.arange(width)[None], np.arange(height)[None]
    x, y = axis_taps(x_texels, width, resolution, wrap), axis_taps(y_texels, height, resolution, wrap)
    index = torch.from_numpy(flat_index(y.index, x.index, resolution)).view(-1)
    results, gradients = [], []
    for through_table in (False, True):
        texels = texture.grids.levels(0)[0].view(-1, 2)[index].double().requires_grad_()
        if through_table:
            table = LevelTable.apply(texels, index, resolution, wrap, torch.float64)
            u = ring_coordinates(x, resolution, wrap)[0].astype(np.float64)
            v = ring_coordinates(y, resolution, wrap)[0].astype(np.float64)
            position = np.stack([np.tile(u, height), np.repeat(v, width)], 1)
            values = dense_grid(table, position, resolution + 2)
        else:
            square = texels.float().view(1, y.index.shape[1], x.index.shape[1], 2)
            weights = map(torch.from_numpy, (y.interpolation_matrix(), x.interpolation_matrix()))
            values = blend_taps(0, None, BilinearLookup(index, *weights), square).view(-1, 2).double()
        (values * torch.linspace(-1, 1, values.numel()).view_as(values)).sum().backward()
        results.append(values.detach())
        gradients.append(torch.zeros(resolution**2, 2, dtype=torch.float64).index_add_(0, index, texels.grad))
    torch.testing.assert_close(results[1], results[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-4, rtol=0)


def layout_of(**settings):
    return model_layout(ModelConfig(**settings), 64, 64)


@pytest.mark.parametrize(
    "settings, kind",
    [
        ({}, "FullyFusedMLP"),
        ({"n_neurons": 128, "n_hidden_layers": 3}, "FullyFusedMLP"),
        ({"output_activation": "hard_swish"}, "FullyFusedMLP"),
        ({"n_neurons": 48}, "CutlassMLP"),
        ({"n_neurons": 256}, "CutlassMLP"),
        ({"activation": "silu"}, "CutlassMLP"),
        ({"n_hidden_layers": 0}, "CutlassMLP"),
        ({"activation": "gelu"}, "torch"),
        ({"activation": "hard_gelu"}, "torch"),
        ({"use_bias": True}, "torch"),
        ({"n_neurons": 24}, "torch"),
    ],
)
def test_the_decoder_runs_in_the_fastest_network_that_can_compute_it(settings, kind):
    found, reason = network_type(layout_of(**settings))
    assert found == kind and (reason == "") == (kind == "FullyFusedMLP")


def test_a_network_has_the_hidden_layers_of_the_layout_and_leaves_the_last_activation_to_torch():
    assert network_config(layout_of(output_activation="relu", n_hidden_layers=2), "FullyFusedMLP") == {
        "otype": "FullyFusedMLP",
        "activation": "LeakyReLU",
        "output_activation": "None",
        "n_neurons": 16,
        "n_hidden_layers": 2,
    }
    assert network_config(layout_of(n_hidden_layers=0), "CutlassMLP")["n_hidden_layers"] == 0


@pytest.mark.parametrize("hidden", [0, 1, 3])
def test_flat_weights_are_the_canonical_array_padding_included(hidden):
    layout = layout_of(n_hidden_layers=hidden, n_frequencies=1)
    channels = [0, 1, 2, 6]
    decoder = NeuralTexture(layout, channels, CPU, torch.Generator().manual_seed(0)).decoder
    flat = flat_weights(*decoder.stored_matrices(), torch.tensor(channels), layout.layers)
    assert torch.equal(flat.detach(), canonical_weights(decoder))
    assert flat.numel() == sum(layer.rows * layer.cols for layer in layout.layers)


def test_flat_weights_of_a_hand_worked_layer_put_the_ones_after_the_inputs_and_zeros_in_missing_rows():
    layout = layout_of(n_hidden_layers=0)
    first = torch.arange(1.0, 19.0).view(2, 9).requires_grad_()
    flat = flat_weights([first], torch.full((2, 7), 0.5), torch.tensor([0, 3]), layout.layers)
    rows = flat.view(16, 16)
    assert rows[0].tolist() == [*range(1, 10), *[0.5] * 7] and rows[3].tolist() == [*range(10, 19), *[0.5] * 7]
    assert rows[[1, 2, *range(4, 16)]].abs().sum() == 0
    flat[3 * 16 + 1].backward()
    assert first.grad.nonzero().tolist() == [[1, 1]]


def test_the_loss_scale_halves_after_an_overflow_and_doubles_after_enough_good_steps():
    scale = LossScale(CPU, start=8.0, interval=2)
    seen = []
    for finite in (False, True, True, True, False):
        scale.update(torch.tensor(finite))
        seen.append(scale.scale.item())
    assert seen == [4, 4, 8, 8, 4]


def test_the_loss_scale_stays_within_its_limits():
    scale = LossScale(CPU, start=1.0, interval=1)
    scale.update(torch.tensor(False))
    assert scale.scale == 1
    for _ in range(30):
        scale.update(torch.tensor(True))
    assert scale.scale == 2**24


class CpuNetwork(torch.nn.Module):
    """A decoder as the bindings would give it: parameters from outside, output in half precision."""

    dtype = torch.float16

    def __init__(self, layout, activation):
        super().__init__()
        self.params, self.layout, self.activation = torch.nn.Parameter(torch.empty(0)), layout, activation

    def forward(self, x):
        for layer in self.layout.layers:
            end = layer.offset + layer.rows * layer.cols
            x = x @ self.params[layer.offset : end].view(layer.rows, layer.cols).t()
            x = x if layer is self.layout.layers[-1] else self.activation(x)
        return x.half()


class SlopeOfWhatComesAfter(torch.autograd.Function):
    """Tanh with the gradient that follows from taking its value for its argument."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x.tanh())
        return x.tanh()

    @staticmethod
    def backward(ctx, gradient):
        (value,) = ctx.saved_tensors
        return gradient * (1 - value.tanh() ** 2)


def half_precision_backend():
    """A backend's arithmetic around its network, without a GPU."""
    backend = TcnnBackend.__new__(TcnnBackend)
    backend.layout = model_layout(ModelConfig(hash_grid_configs=BILINEAR, activation="tanh", n_neurons=32), 64, 64)
    backend.device, backend.reduced, backend.loss_scale = CPU, True, LossScale(CPU)
    return backend


@pytest.mark.parametrize("start, survive", [(2.0**14, True), (1.0, False)])
def test_gradients_too_small_for_half_precision_survive_by_the_loss_scale(start, survive):
    backend = half_precision_backend()
    backend.loss_scale = LossScale(CPU, start=start)
    random = torch.Generator().manual_seed(0)
    weights = (torch.randn(backend.layout.n_weights, generator=random) / 6).requires_grad_()
    inputs = torch.rand(256, backend.layout.layers[0].cols, generator=random).requires_grad_()
    network = CpuNetwork(backend.layout, torch.tanh)
    # Half precision ends at 6e-8.
    slope = 1e-9 * (torch.rand(256, backend.layout.layers[-1].rows, generator=random) + 0.5)
    expected = torch.autograd.grad(
        (torch.func.functional_call(network, {"params": weights}, (inputs,)).float().mul(slope * 2.0**20)).sum(),
        (weights, inputs),
    )
    output = backend._run(network, backend._scaled_back(weights), backend._scaled_back(inputs))
    (output * slope).sum().backward()
    for tensor, gradient in zip((weights, inputs), expected):
        assert close(tensor.grad * 2.0**20, gradient, 1e-2) == survive and bool(tensor.grad.any()) == survive


@pytest.mark.parametrize(
    "activation, agrees",
    [
        (torch.tanh, True),
        (SlopeOfWhatComesAfter.apply, False),
        (lambda x: x.tanh() * 1.1, False),
        (lambda x: x * float("nan"), False),
    ],
)
def test_a_network_with_wrong_values_or_gradients_is_found_out_before_it_trains(activation, agrees):
    backend = half_precision_backend()
    error = backend._trial_error(CpuNetwork(backend.layout, activation))
    assert (error <= MOST_TRIAL_ERROR) == agrees and (error < 0.01) == agrees


@pytest.mark.parametrize(
    "settings, fuses",
    [
        ({}, True),
        ({"activation": "relu", "n_neurons": 64}, True),
        ({"n_neurons": 128}, False),
        ({"activation": "silu"}, False),
        ({"activation": "tanh"}, False),
    ],
)
def test_only_activations_whose_slope_shows_in_their_value_are_fused_at_run_time(settings, fuses):
    assert fuses_at_run_time(model_layout(ModelConfig(**settings), 64, 64)) == fuses


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan")])
def test_one_element_that_is_not_finite_is_found(bad):
    tensors = [torch.ones(3), torch.ones(2, 2)]
    assert all_finite(tensors)
    tensors[1][1, 0] = bad
    assert not all_finite(tensors)


@pytest.mark.parametrize(
    "error, words",
    [
        (ModuleNotFoundError("No module named 'tinycudann'", name="tinycudann"), "not installed"),
        (OSError("Unknown compute capability. Ensure PyTorch with CUDA support is installed."), "no NVIDIA GPU"),
        (OSError("Could not find compatible tinycudann extension for compute capability 89."), "other GPUs"),
        (ImportError("_89_C.so: undefined symbol: _ZN3c10"), "another PyTorch"),
        (ImportError("DLL load failed while importing _89_C"), "another PyTorch"),
        (RuntimeError("driver\nshutting down"), "RuntimeError: driver shutting down"),
    ],
)
def test_each_way_an_import_fails_has_its_own_one_line_reason(error, words):
    reason = explain_import_error(error)
    assert words in reason and "\n" not in reason
