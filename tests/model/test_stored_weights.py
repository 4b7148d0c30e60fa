"""How the decoder is stored: 8-bit rows, their bytes, and the choice that `auto` makes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from configs import N_CHANNELS, PRESETS, ModelConfig, config_from_dict
from formats.reader import NeuralTextureReader
from model.decoder.canonical import canonical_weights, load_canonical_weights
from model.decoder.stored_weights import as_stored, curve_numbers, linear_matrix, pack_network, round_rows, stored_bytes
from model.layout import model_layout
from model.texture import NeuralTexture
from tests.formats.reference_decoder import ALL, grid, make_source
from training.exporting import export_material
from training.loss import present_channels


def test_a_row_is_rounded_to_whole_multiples_of_its_scale_as_worked_by_hand():
    # 1.27 / 127 = 0.01, whose nearest float16 is 0.01000213623046875.
    row = torch.tensor([[1.27, -0.016, 0.004, 0.0]])
    scale = 0.01000213623046875
    assert round_rows(row).tolist()[0] == pytest.approx([127 * scale, -2 * scale, 0, 0], abs=1e-9)


def test_rounding_twice_changes_nothing_and_gradients_pass_straight_through():
    random = torch.Generator().manual_seed(0)
    rows = torch.randn(64, 300, generator=random) * torch.logspace(-7, 3, 64)[:, None]
    rounded = round_rows(rows)
    assert torch.equal(round_rows(rounded), rounded)
    error = (rounded - rows).abs().amax(1)
    assert (error <= rows.abs().amax(1) / 127 * 0.5005 + 2.0**-15).all()
    leaf = rows.clone().requires_grad_()
    factors = torch.randn(rows.shape, generator=random)
    (round_rows(leaf) * factors).sum().backward()
    assert torch.equal(leaf.grad, factors)


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_the_reader_gets_back_the_weights_that_training_ends_with(precision, use_bias, tmp_path):
    source = make_source(
        network_precision=precision,
        use_bias=use_bias,
        n_hidden_layers=2,
        hash_grid_configs=[grid(8, interpolation="gather"), grid(4)],
        position_order=1,
    )
    manifest = export_material(source, tmp_path).manifest
    stored = as_stored(torch.from_numpy(source.network), source.layout).numpy()
    for layer, (weights, bias, _) in zip(source.layout.layers, NeuralTextureReader(tmp_path).layers):
        wanted = stored[layer.offset : layer.offset + layer.rows * layer.cols].reshape(layer.rows, layer.cols)
        np.testing.assert_array_equal(weights, wanted[: len(weights)])
        if use_bias:
            np.testing.assert_array_equal(bias, stored[layer.bias_offset : layer.bias_offset + len(bias)])
    array, _ = pack_network(source.network, source.layout, range(N_CHANNELS))
    assert array.nbytes == stored_bytes(source.layout)
    npz = next(entry["bytes"] for entry in manifest["files"] if entry["name"] == "network_data.npz")
    assert array.nbytes < npz < array.nbytes + 700


PRESENT = {**ALL, "normal": False, "occlusion": False}


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_the_reader_gets_back_the_linear_decoder_and_the_curves_that_training_ends_with(precision, tmp_path):
    source = make_source(
        network_precision=precision,
        use_bias=True,
        hash_grid_configs=[grid(8, interpolation="gather", feature_bits=[5, 2, 1]), grid(4, feature_bits=[8, 3])],
        position_order=1,
        linear_order=2,
        feature_curves=True,
        storage="packed",
        present=PRESENT,
    )
    layout, outputs = source.layout, present_channels(PRESENT)
    manifest = export_material(source, tmp_path).manifest
    stored = as_stored(torch.from_numpy(source.network), layout)
    array, placement = pack_network(source.network, layout, outputs)
    assert manifest["network"]["linear"] == {
        "outputs": outputs,
        "order": 2,
        "cols": layout.linear.cols,
        **placement.linear,
    }
    assert array.nbytes == stored_bytes(layout, len(outputs)) < stored_bytes(layout)

    def floats(offset, count):
        if precision != "int8":
            return array[offset : offset + count].astype(np.float32)
        return array[offset : offset + 2 * count].view(np.float16).astype(np.float32)

    rows, cols = len(outputs), layout.linear.cols
    if precision == "int8":
        codes = array[placement.linear["offset"] :][: rows * cols].reshape(rows, cols).astype(np.float32)
        matrix = codes * floats(placement.linear["scale_offset"], rows)[:, None]
    else:
        matrix = floats(placement.linear["offset"], rows * cols).reshape(rows, cols)
    np.testing.assert_array_equal(matrix, linear_matrix(stored, layout).numpy()[outputs])
    for entry, start, curves in zip(manifest["grids"], placement.curves, curve_numbers(stored, layout), strict=True):
        assert entry["curve_offset"] == start
        np.testing.assert_array_equal(floats(start, curves.numel()), curves.numpy().ravel())


def test_the_decoder_comes_back_from_its_canonical_array_with_a_linear_one_and_curves():
    model = ModelConfig(
        hash_grid_configs=[grid(8, interpolation="gather", feature_bits=[4, 1]), grid(4)],
        linear_order=1,
        feature_curves=True,
        use_bias=True,
        output_activation="none",
    )
    layout = model_layout(model, 20, 12)
    outputs = [0, 1, 2, 6]
    first, second = (
        NeuralTexture(layout, outputs, torch.device("cpu"), torch.Generator().manual_seed(seed)) for seed in (0, 1)
    )
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in first.decoder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random))
    flat = canonical_weights(first.decoder)
    assert flat.shape == (layout.n_weights,)
    missing = [channel for channel in range(N_CHANNELS) if channel not in outputs]
    assert (linear_matrix(flat, layout)[missing] == 0).all()
    load_canonical_weights(second.decoder, flat)
    assert torch.equal(canonical_weights(second.decoder), flat)
    for ours, theirs in zip(first.decoder.parameters(), second.decoder.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_auto_takes_8_bits_where_the_decoder_would_weigh_much():
    model = config_from_dict(PRESETS["quality"]).model
    assert model.network_precision == "auto"
    assert model_layout(model, 512, 512).network_precision == "int8"
    assert model_layout(model, 2048, 2048).network_precision == "float16"
    assert model_layout(dataclasses.replace(model, network_precision="float32"), 64, 64).network_precision == "float32"
    assert model_layout(ModelConfig(), 64, 64).network_precision == "float32"
