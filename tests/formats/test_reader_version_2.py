"""The NumPy decoder on exports with feature curves and a linear decoder, against a slow one written from the formulas."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from benchmarks.random_exports import grid, make_source
from benchmarks.random_version_2 import ALL, RandomGrid, write_version_2
from formats import cell_decoding, mip_decoding
from formats.reader import NeuralTextureReader
from tests.formats.reference_version_2 import SlowDecoder
from training.exporting import export_material

BLENDED = RandomGrid(8, 2, (8, 5), gathered=False)
CASES = {
    "cells of two texels": dict(width=16, height=16),
    "cells of four texels, clamped": dict(width=32, height=16, wrap=False),
    "cells of four texels, float16": dict(width=32, height=32, precision="float16"),
    "cells of other sizes": dict(width=16, height=16, grids=[RandomGrid(4, 1), RandomGrid(8, 2, (3, 3))]),
    "cells that are no whole number of texels": dict(width=20, height=12),
    "the same, clamped, float32": dict(width=21, height=13, wrap=False, precision="float32"),
    "taller than wide": dict(width=5, height=40, grids=[RandomGrid(), BLENDED]),
    "a blended grid besides": dict(width=16, height=16, grids=[RandomGrid(), BLENDED, RandomGrid(4, 1, (2,))]),
    "a blended grid besides, no whole cells": dict(width=19, height=12, grids=[BLENDED, RandomGrid(12, 3)]),
    "blended grids alone": dict(grids=[BLENDED, BLENDED]),
    "curves of one grid alone": dict(width=16, height=8, grids=[RandomGrid(curves=False), RandomGrid(4, 2, (6, 1))]),
    "curves alone": dict(width=16, height=16, linear_order=None, position_order=1),
    "curves alone, no whole cells": dict(linear_order=None, position_order=1),
    "a linear decoder alone": dict(width=16, height=8, grids=[RandomGrid(curves=False)]),
    "missing maps": dict(width=16, height=16, present={**ALL, "diffuse": False, "metallic": False, "specular": False}),
    "missing maps, no whole cells": dict(present={**ALL, "normal": False, "displacement": False}),
    "first layer by place": dict(width=16, height=16, position_order=1, linear_order=2),
    "first layer by place, no whole cells": dict(position_order=2, linear_order=1),
    "constant in the place": dict(width=16, height=16, linear_order=0),
    "order 7": dict(width=24, height=16, linear_order=7),
    "order 7, no whole cells": dict(linear_order=7),
    "three hidden layers": dict(width=16, height=16, n_hidden_layers=3, n_neurons=16, output_activation="sigmoid"),
    "no hidden layer": dict(width=16, height=16, n_hidden_layers=0),
    "no hidden layer, no whole cells": dict(n_hidden_layers=0, output_activation="hard_swish", use_bias=False),
    "an encoding over the texture": dict(width=16, height=16, period_cells=0),
    "no encoding, coded diffuse": dict(width=16, height=16, n_frequencies=0, phases=1, diffuse_space="srgb"),
    "several words": dict(width=16, height=16, grids=[RandomGrid(8, 2, (8, 7, 6, 5) * 4)]),
    "several files": dict(width=16, height=16, grids=[RandomGrid(8, 2, (8, 7, 16) * 6)]),
    "words of bytes": dict(width=16, height=16, storage="packed_rgba8"),
    "one texel": dict(width=1, height=1),
}


@pytest.fixture(params=CASES)
def export(request, tmp_path):
    write_version_2(tmp_path, **CASES[request.param])
    return NeuralTextureReader(tmp_path), SlowDecoder(tmp_path)


def test_every_mip_decodes_as_the_formulas_say(export):
    reader, slow = export
    assert reader.manifest["version"] == 2
    inside = 0
    for mip in range(reader.manifest["mips"]):
        expected = slow.mip(mip)
        np.testing.assert_allclose(reader.decode(mip), expected, atol=2e-5)
        inside += ((expected > 0) & (expected < 1)).sum()
    assert inside > 0


def test_points_at_any_lod_decode_as_the_formulas_say(export):
    reader, slow = export
    rng = np.random.default_rng(3)
    mips = reader.manifest["mips"]
    u, v = (np.concatenate([rng.integers(0, 1 << 16, 12) / (1 << 16), [0, 1, 0.5]]) for _ in "uv")
    lod = rng.uniform(0, mips - 1, len(u)).round(1)
    found = reader.sample(u, v, lod)
    for number, (x, y, at) in enumerate(zip(u, v, lod)):
        x, y = (Fraction(c) % 1 if reader.manifest["wrap"] else Fraction(c) for c in (x, y))
        lower, blend = int(at), at - int(at)
        expected = (1 - blend) * slow.point(x, y, lower) + (blend * slow.point(x, y, lower + 1) if blend else 0)
        np.testing.assert_allclose(found[number], expected, atol=2e-5)


@pytest.mark.parametrize("case", ["cells of other sizes", "a blended grid besides", "missing maps", "no hidden layer"])
def test_cells_decode_as_texels_one_by_one(case, tmp_path, monkeypatch):
    write_version_2(tmp_path, **CASES[case])
    reader = NeuralTextureReader(tmp_path)
    by_cells = reader.decode(0)
    ways = []
    monkeypatch.setattr(mip_decoding, "plan_cells", lambda model: ways.append(cell_decoding.plan_cells(model)))
    np.testing.assert_allclose(reader.decode(0), by_cells, atol=1e-5)
    assert isinstance(ways[0], cell_decoding.CellDecoding)


def test_levels_beside_the_finest_may_be_missing(tmp_path):
    write_version_2(tmp_path, width=16, height=16, dds_mips=False)
    reader = NeuralTextureReader(tmp_path)
    assert reader.stored_mips == [0]
    np.testing.assert_allclose(reader.decode(0), SlowDecoder(tmp_path).mip(0), atol=2e-5)


@pytest.mark.parametrize("precision", ["int8", "float16", "float32"])
@pytest.mark.parametrize("size", [(16, 16), (19, 12)])
def test_an_export_of_a_model_decodes_as_the_formulas_say(tmp_path, precision, size):
    source = make_source(
        *size,
        storage="packed",
        network_precision=precision,
        linear_order=2,
        feature_curves=True,
        use_bias=True,
        n_frequencies=1,
        present={**ALL, "roughness": False},
        hash_grid_configs=[grid(4, 1, interpolation="gather", feature_bits=[8, 5, 3, 1, 1, 7]), grid(8, 2)],
    )
    export_material(source, tmp_path)
    reader, slow = NeuralTextureReader(tmp_path), SlowDecoder(tmp_path)
    assert reader.manifest["version"] == 2
    for mip in range(reader.manifest["mips"]):
        np.testing.assert_allclose(reader.decode(mip), slow.mip(mip), atol=2e-5)


def test_cells_whose_weights_would_take_much_memory_are_decoded_texel_by_texel(tmp_path, monkeypatch):
    write_version_2(tmp_path, width=16, height=16)
    reader = NeuralTextureReader(tmp_path)
    by_cells = reader.decode(0)
    monkeypatch.setattr(cell_decoding, "MOST_WEIGHTS", 1000)
    assert cell_decoding.plan_cells(reader._mip_model(0)) is None
    np.testing.assert_allclose(reader.decode(0), by_cells, atol=1e-5)
