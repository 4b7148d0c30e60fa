"""A texture with mixed bits, curves and a linear decoder as it trains, and what the NumPy reader makes of its export."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from formats.reader import NeuralTextureReader
from model.decoder.canonical import canonical_weights, load_canonical_weights, stored_precision
from model.texture import NeuralTexture
from tests.formats.reference_decoder import ALL, grid, make_source
from training.exporting import export_material
from training.loss import present_channels

PRESENT = {**ALL, "occlusion": False, "specular": False}
GATHERED = grid(8, 3, interpolation="gather", feature_bits=[7, 5, 3, 2, 1, 1, 4])
CASES = {
    "whole cells": dict(width=32, height=32, hash_grid_configs=[GATHERED]),
    "odd sizes": dict(width=37, height=21, hash_grid_configs=[GATHERED]),
    "odd sizes, a blended grid": dict(width=29, height=40, hash_grid_configs=[grid(4, 2), GATHERED]),
    "two gathered grids, no place in the first layer": dict(
        width=19, height=12, position_order=0, hash_grid_configs=[GATHERED, grid(6, 1, interpolation="gather")]
    ),
    "no network": dict(width=18, height=10, n_hidden_layers=0, hash_grid_configs=[GATHERED]),
}


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_the_reader_decodes_every_mip_as_the_trained_texture(case, wrap, precision, tmp_path):
    source = make_source(
        **{
            "present": PRESENT,
            "storage": "packed",
            "network_precision": precision,
            "linear_order": 3,
            "position_order": 1,
            "feature_curves": True,
            "use_bias": True,
            "n_frequencies": 2,
            "period_cells": 1,
            "phases": 2,
            "output_activation": "none",
            "diffuse_space": "srgb",
            "wrap": wrap,
            **CASES[case],
        }
    )
    channels = present_channels(PRESENT)
    texture = NeuralTexture(source.layout, channels, torch.device("cpu"), torch.Generator())
    texture.grids.load([[torch.from_numpy(level) for level in levels] for levels in source.grids])
    load_canonical_weights(texture.decoder, torch.from_numpy(source.network))
    # Without what belongs to missing maps and to the padding.
    source.network = canonical_weights(texture.decoder).numpy()
    export_material(source, tmp_path)
    reader = NeuralTextureReader(tmp_path)
    assert reader.manifest["version"] == 2 and source.layout.mips > 3
    with stored_precision(texture.decoder):
        for mip in range(source.layout.mips):
            expected = texture.decode(mip).clamp(0, 1).numpy()
            np.testing.assert_allclose(reader.decode(mip)[..., channels], expected, atol=1e-4)
