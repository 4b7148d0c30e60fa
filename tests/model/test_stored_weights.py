"""How the decoder is stored: 8-bit rows, their bytes, and the choice that `auto` makes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from configs import PRESETS, ModelConfig, config_from_dict
from formats.reader import NeuralTextureReader
from model.decoder.stored_weights import as_stored, pack_network, round_rows, stored_bytes
from model.layout import model_layout
from tests.formats.reference_decoder import grid, make_source
from training.exporting import export_material


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
    array, _ = pack_network(source.network, source.layout)
    assert array.nbytes == stored_bytes(source.layout)
    npz = next(entry["bytes"] for entry in manifest["files"] if entry["name"] == "network_data.npz")
    assert array.nbytes < npz < array.nbytes + 700


def test_auto_takes_8_bits_where_the_decoder_would_weigh_much():
    model = config_from_dict(PRESETS["quality"]).model
    assert model.network_precision == "auto"
    assert model_layout(model, 512, 512).network_precision == "int8"
    assert model_layout(model, 2048, 2048).network_precision == "float16"
    assert model_layout(dataclasses.replace(model, network_precision="float32"), 64, 64).network_precision == "float32"
    assert model_layout(ModelConfig(), 64, 64).network_precision == "float32"
