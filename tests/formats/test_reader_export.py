"""The NumPy decoder, through exported files, against a slow decoder written straight from the format's formulas."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from formats import cell_decoding
from formats.network import ACTIVATIONS, one_matrix_thread
from formats.reader import NeuralTextureReader
from quantize import values_to_codes
from tests.formats.reference_decoder import ALL, grid, make_source, slow_decode, slow_mip, slow_uint8
from training.exporting import export_material
from utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
GATHER = dict(interpolation="gather", quantize_bits=4, save_bits=32)

CASES = {
    "defaults": {},
    "one texel": dict(width=1, height=1),
    "one texel wide": dict(width=1, height=7),
    "odd sizes": dict(width=33, height=19, hash_grid_configs=[grid(12, 3), grid(6, 2)]),
    "wide": dict(width=40, height=9),
    "clamped": dict(wrap=False),
    "gather": dict(hash_grid_configs=[grid(8, **GATHER), grid(4)]),
    "gather clamped": dict(wrap=False, hash_grid_configs=[grid(8, **GATHER), grid(4, **GATHER)]),
    "gather with texel centres on grid texel centres": dict(
        width=21, height=15, hash_grid_configs=[grid(7, 1, **GATHER), grid(5, 1, **GATHER)]
    ),
    "one feature": dict(hash_grid_configs=[grid(8, save_bits=8)]),
    "three grids of other bits": dict(
        hash_grid_configs=[
            grid(8, quantize_bits=2, save_bits=16),
            grid(8, quantize_bits=16, save_bits=64),
            grid(4, save_bits=16),
        ]
    ),
    "4 bits at true rate": dict(
        storage="true_rate",
        hash_grid_configs=[grid(8, quantize_bits=4, save_bits=64), grid(4, quantize_bits=4, save_bits=8)],
    ),
    "encoding": dict(n_frequencies=3),
    "encoding with phases": dict(n_frequencies=2, phases=2),
    "encoding with a period": dict(n_frequencies=3, period_cells=2, hash_grid_configs=[grid(8), grid(4)]),
    "everything": dict(
        n_frequencies=3,
        period_cells=4,
        phases=2,
        use_bias=True,
        network_precision="float16",
        n_neurons=32,
        n_hidden_layers=2,
        activation="gelu",
        output_activation="sigmoid",
        hash_grid_configs=[grid(8, **GATHER), grid(8, 1)],
        storage="true_rate",
        present={**ALL, "normal": False, "specular": False},
    ),
    "no hidden layer": dict(n_hidden_layers=0, use_bias=True),
    "inputs that fill the padding": dict(
        hash_grid_configs=[grid(8, save_bits=64), grid(4), grid(4, save_bits=16), grid(4, save_bits=8)]
    ),
    "coded diffuse": dict(diffuse_space="srgb"),
    "8-bit weights": dict(network_precision="int8", present={**ALL, "metallic": False}),
    "first layer by place": dict(position_order=1, hash_grid_configs=[grid(8, **GATHER), grid(4)]),
    "first layer by place, order 2, two gathered grids, 8-bit weights, clamped": dict(
        position_order=2,
        network_precision="int8",
        use_bias=True,
        wrap=False,
        width=21,
        height=15,
        hash_grid_configs=[grid(8, **GATHER), grid(4), grid(6, **GATHER)],
    ),
}
WHOLE_CELLS = {
    "even cells": dict(width=32, height=16, hash_grid_configs=[grid(8, **GATHER), grid(4)]),
    "odd cells, clamped": dict(width=24, height=15, wrap=False, hash_grid_configs=[grid(3, 1, **GATHER), grid(4)]),
    "cells of one texel": dict(width=16, height=8, position_order=1, hash_grid_configs=[grid(8, 1, **GATHER)]),
    "the encoding repeats in every cell": dict(
        width=32,
        height=32,
        n_frequencies=2,
        phases=2,
        period_cells=1,
        position_order=1,
        use_bias=True,
        hash_grid_configs=[grid(8, **GATHER), grid(4)],
    ),
    "the encoding differs from cell to cell": dict(
        width=32,
        height=16,
        n_frequencies=3,
        position_order=2,
        network_precision="int8",
        hash_grid_configs=[grid(8, **GATHER), grid(6)],
    ),
    "two gathered grids of other cells": dict(
        width=24,
        height=16,
        position_order=1,
        n_hidden_layers=2,
        activation="hard_swish",
        hash_grid_configs=[grid(8, 1, **GATHER), grid(4, 1, **{**GATHER, "save_bits": 64}), grid(4)],
    ),
    "two gathered grids, clamped": dict(
        width=16,
        height=16,
        wrap=False,
        position_order=1,
        use_bias=True,
        present={**ALL, "roughness": False},
        hash_grid_configs=[grid(4, 1, **GATHER), grid(8, 1, **GATHER)],
    ),
    "no hidden layer": dict(
        width=16,
        height=16,
        n_hidden_layers=0,
        use_bias=True,
        position_order=2,
        hash_grid_configs=[grid(8, **GATHER), grid(4)],
    ),
    "a single tap": dict(width=8, height=8, position_order=1, hash_grid_configs=[grid(1, 1, **GATHER), grid(4)]),
}
CASES |= {f"whole cells: {name}": case for name, case in WHOLE_CELLS.items()}


@pytest.mark.parametrize("name", CASES)
def test_every_mip_decodes_as_the_formulas_say(name, tmp_path):
    source = make_source(**CASES[name])
    export_material(source, tmp_path)
    reader = NeuralTextureReader(tmp_path)
    inside = []
    for mip in range(source.layout.mips):
        decoded, expected = reader.decode(mip), slow_mip(source, mip)
        assert decoded.dtype == np.float32 and decoded.shape == expected.shape
        np.testing.assert_allclose(decoded, expected, atol=2e-5)
        inside.append(((expected > 0) & (expected < 1)).ravel())
        assert np.abs(reader.decode_uint8(mip).astype(int) - slow_uint8(source, mip)).max() <= 1
    assert np.concatenate(inside).mean() > 0.15, "nearly all outputs are clamped, so little was compared"


@pytest.mark.parametrize("name", ["defaults", "wide", "clamped", "gather clamped", "everything"])
def test_samples_at_any_place_and_lod_are_as_the_formulas_say(name, tmp_path):
    source = make_source(**CASES[name])
    export_material(source, tmp_path)
    rng = np.random.default_rng(5)
    u, v = rng.uniform(0, 1, (2, 60))
    lod = np.concatenate([rng.uniform(0, source.layout.mips - 1, 50), rng.integers(0, source.layout.mips, 10)])
    sampled = NeuralTextureReader(tmp_path).sample(u, v, lod)
    for k in range(60):
        low, high = (
            np.array(slow_decode(source, Fraction(u[k]), Fraction(v[k]), int(mip)))
            for mip in (np.floor(lod[k]), np.ceil(lod[k]))
        )
        blend = lod[k] - np.floor(lod[k])
        np.testing.assert_allclose(sampled[k], (1 - blend) * low + blend * high, atol=3e-5)


@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_has_its_formula(activation, hidden, tmp_path):
    chosen = {"activation": activation} if hidden else {"output_activation": activation}
    source = make_source(width=8, height=8, use_bias=True, hash_grid_configs=[grid(4)], **chosen)
    export_material(source, tmp_path)
    np.testing.assert_allclose(NeuralTextureReader(tmp_path).decode(0), slow_mip(source, 0), atol=2e-5)


def linear_model(tmp_path, weights, wrap=True, **fields):
    """Export a 4 x 4 material of one linear layer over one 2 x 2 grid; `weights` maps (channel, input) to a weight."""
    source = make_source(
        4,
        4,
        n_hidden_layers=0,
        output_activation="none",
        wrap=wrap,
        **{
            "hash_grid_configs": [
                grid(2, 1, quantize_bits=2, save_bits=8, interpolation=fields.pop("interpolation", "bilinear"))
            ],
            **fields,
        },
    )
    source.grids[0][0][...] = 0.125
    source.grids[0][0][..., 0] = [[-0.375, 0.375], [0.125, -0.125]]
    source.network[:] = 0
    matrix = source.network.reshape(16, -1)
    for place, weight in weights.items():
        matrix[place] = weight
    export_material(source, tmp_path)
    return NeuralTextureReader(tmp_path)


def test_a_wrapped_bilinear_sample_equals_the_hand_worked_value(tmp_path):
    # Texel (0, 0): p = 0.125 * 2 - 0.5 = -0.25, taps 1 (weight 0.25) and 0 (0.75) on both axes:
    # 0.5625 * -0.375 + 0.1875 * 0.375 + 0.1875 * 0.125 + 0.0625 * -0.125 = -0.125; the padding's one adds 0.5.
    reader = linear_model(tmp_path, {(6, 0): 1, (6, 5): 0.5})
    assert reader.decode(0)[0, 0, 6] == pytest.approx(0.375, abs=1e-7)
    assert reader.sample(0.125, 0.125, 0)[0, 6] == pytest.approx(0.375, abs=1e-7)
    assert reader.sample(1.125, -0.875, 0)[0, 6] == pytest.approx(0.375, abs=1e-7)


def test_a_clamped_sample_at_the_corner_is_the_corner_texel(tmp_path):
    reader = linear_model(tmp_path, {(6, 0): 1, (6, 5): 0.5}, wrap=False)
    assert reader.decode(0)[0, 0, 6] == pytest.approx(0.125, abs=1e-7)
    assert reader.sample(-3.0, -3.0, 0)[0, 6] == pytest.approx(0.125, abs=1e-7)


def test_gathered_taps_come_in_the_order_right_then_down(tmp_path):
    # Texel (1, 0): columns 0 and 1; rows 1 (wrapped) and 0.
    reader = linear_model(
        tmp_path,
        {**{(6 + tap, 4 * tap): 1 for tap in range(4)}, **{(6 + tap, 17): 0.5 for tap in range(4)}},
        interpolation="gather",
    )
    assert reader.decode(0)[0, 1, 6:10].tolist() == [0.625, 0.375, 0.125, 0.875]


def test_the_encoding_has_the_hand_worked_values_of_u_and_then_of_v(tmp_path):
    # u = 0.125: octave 0 at t = 0.0625 gives 0.75, a quarter on -0.25; octave 1 at t = 0.375 gives -0.5 and -0.5.
    # v = 0.625: octave 0 at t = 0.3125 gives -0.25, a quarter on -0.75; octave 1 at t = 0.875 gives 0.5 and 0.5.
    # The layer halves them and adds 0.5, so that they lie in [0, 1].
    order = {(channel, channel): 0.5 for channel in range(8)}
    reader = linear_model(
        tmp_path, {**order, **{(channel, 13): 0.5 for channel in range(8)}}, n_frequencies=2, phases=2
    )
    assert reader.decode(0)[2, 0, :8].tolist() == [0.875, 0.375, 0.25, 0.25, 0.375, 0.125, 0.75, 0.75]


def test_the_lod_input_runs_from_zero_to_one(tmp_path):
    reader = linear_model(tmp_path, {(6, 4): 1})
    assert [reader.decode(mip)[0, 0, 6] for mip in range(3)] == [0, 0.5, 1]
    assert reader.sample(0.3, 0.6, [-1, 0.25, 1.5, 7])[:, 6].tolist() == [0, 0.125, 0.75, 1]


def test_a_periodic_encoding_repeats_within_its_cells_and_across_the_wrap(tmp_path):
    source = make_source(64, 64, n_frequencies=4, period_cells=2, hash_grid_configs=[grid(16, 3)])
    for level in source.grids[0]:
        level[...] = 0.2
    export_material(source, tmp_path)
    reader = NeuralTextureReader(tmp_path)
    decoded = reader.decode(0)
    np.testing.assert_allclose(decoded, np.roll(decoded, 8, axis=1), atol=1e-6)
    np.testing.assert_allclose(decoded, np.roll(decoded, 8, axis=0), atol=1e-6)
    assert np.abs(decoded - np.roll(decoded, 4, axis=1)).max() > 0.01
    np.testing.assert_allclose(
        reader.sample(np.arange(-3, 3) + 0.3, 0.7, 0), np.repeat(reader.sample(0.3, 0.7, 0), 6, axis=0), atol=1e-6
    )


def test_samples_outside_the_texture_repeat_or_stick_to_the_border_with_every_encoding(tmp_path):
    u, v = np.random.default_rng(3).uniform(0, 1, (2, 50))
    export_material(make_source(n_frequencies=3), tmp_path / "wrap")
    wrapped = NeuralTextureReader(tmp_path / "wrap")
    np.testing.assert_allclose(wrapped.sample(u + 3, v - 2, 0.5), wrapped.sample(u, v, 0.5), atol=1e-6)
    export_material(make_source(n_frequencies=3, wrap=False), tmp_path / "clamp")
    clamped = NeuralTextureReader(tmp_path / "clamp")
    np.testing.assert_allclose(clamped.sample(u + 3, v, 0.5), clamped.sample(1, v, 0.5), atol=1e-6)


def test_blocks_of_rows_join_without_a_seam(tmp_path):
    source = make_source(300, 70)
    export_material(source, tmp_path)
    reader, done = NeuralTextureReader(tmp_path), []
    decoded = reader.decode(0, done.append)
    assert len(done) > 1 and sum(done) == 70
    x, y = np.meshgrid(np.arange(300), np.arange(70))
    np.testing.assert_allclose(decoded.reshape(-1, 11), reader.sample((x + 0.5) / 300, (y + 0.5) / 70, 0), atol=2e-6)


@pytest.mark.parametrize("name", WHOLE_CELLS)
def test_texels_decoded_by_cells_are_those_worked_out_one_by_one(name, tmp_path, monkeypatch):
    export_material(make_source(**WHOLE_CELLS[name]), tmp_path)
    reader = NeuralTextureReader(tmp_path)
    by_cells = reader.decode(0)
    monkeypatch.setattr(cell_decoding, "MOST_OFFSETS", 0)
    one_by_one = reader.decode(0)
    np.testing.assert_allclose(by_cells, one_by_one, atol=2e-6)
    assert (by_cells != one_by_one).any(), "both ways gave the same last bits, so one of them was not taken"


@pytest.mark.parametrize("change", [{}, dict(hash_grid_configs=[grid(64, **GATHER), grid(32)], position_order=1)])
def test_several_threads_decode_what_one_does_and_report_every_row(tmp_path, monkeypatch, change):
    export_material(make_source(256, 192, **change), tmp_path)
    reader, done = NeuralTextureReader(tmp_path), []
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone = reader.decode_uint8(0)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert (reader.decode_uint8(0, done.append) == alone).all()
    assert sum(done) == 192


def test_an_interrupt_while_decoding_ends_all_threads(tmp_path, monkeypatch):
    export_material(make_source(256, 256), tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = threading.active_count()

    def interrupt(rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        NeuralTextureReader(tmp_path).decode(0, interrupt)
    assert threading.active_count() == before


def test_the_matrix_library_has_its_threads_back_after_the_last_decoder():
    def threads():
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    with threadpool_limits(2, user_api="blas"):
        before = threads()
        first, second = one_matrix_thread(), one_matrix_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert set(threads()) == {1}
        second.__exit__(None, None, None)
        assert threads() == before


def test_sampling_refuses_what_is_not_a_number(tmp_path):
    reader = linear_model(tmp_path, {})
    with pytest.raises(UserError, match="finite"):
        reader.sample(np.nan, 0.5, 0)
    with pytest.raises(UserError, match="mip 3 does not exist"):
        reader.decode(3)
    assert reader.sample([], [], 0).shape == (0, 11)


def test_the_reader_needs_no_torch():
    code = "import sys, formats.reader; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("name", ["defaults", "three grids of other bits", "4 bits at true rate", "everything"])
def test_codes_are_the_rounded_master_values(name, tmp_path):
    source = make_source(**CASES[name])
    export_material(source, tmp_path)
    reader = NeuralTextureReader(tmp_path)
    for g, entry in enumerate(source.layout.grids):
        codes = reader.codes(g)
        assert len(codes) == entry.n_levels
        for level in range(entry.n_levels):
            assert (codes[level] == values_to_codes(source.grids[g][level], entry.quantize_bits)).all()


@pytest.fixture
def exported(tmp_path):
    export_material(make_source(), tmp_path)
    NeuralTextureReader(tmp_path).decode(0)
    return tmp_path


@pytest.mark.parametrize("name", ["hash_grid_0.dds", "hash_grid_1.dds", "network_data.npz"])
def test_a_changed_truncated_or_missing_file_is_named(exported, name):
    data = (exported / name).read_bytes()
    for damaged, cause in (
        (data[:-20] + bytes([data[-20] ^ 1]) + data[-19:], "SHA-256"),
        (data[:-1], "bytes"),
        (None, "No such file"),
    ):
        (exported / name).unlink() if damaged is None else (exported / name).write_bytes(damaged)
        with pytest.raises(UserError, match=re.escape(name)) as caught:
            NeuralTextureReader(exported)
        assert cause in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "path,value",
    [
        (["format"], "other"),
        (["version"], 2),
        (["width"], "20"),
        (["width"], None),
        (["height"], -1),
        (["mips"], 99),
        (["wrap"], 1),
        (["wrap"], None),
        (["channels"], None),
        (["channels", 0, "count"], 2),
        (["channels", 0, "space"], "rec709"),
        (["channels", 1, "present"], None),
        (["grids"], None),
        (["grids", 0, "files"], None),
        (["grids", 0, "files", 0], "other.dds"),
        (["grids", 0, "max_resolution"], 9),
        (["grids", 0, "scale"], "1"),
        (["grids", 0, "quantize_bits"], 3),
        (["grids", 0, "n_features"], 3),
        (["grids", 0, "interpolation"], "cubic"),
        (["grids", 0, "format"], "BC7_UNORM"),
        (["mip_levels"], []),
        (["mip_levels", 0], [1]),
        (["mip_levels", 0], [7, 1]),
        (["positional_encoding", "phases"], None),
        (["network", "inputs"], 8),
        (["network", "array"], "weights"),
        (["network", "precision"], "float16"),
        (["network", "layers", 0, "activation"], "swish"),
        (["network", "layers", 0, "cols"], 32),
        (["network", "layers", 1, "offset"], 512),
        (["network", "layers", 1, "bias_offset"], 10**6),
        (["files"], None),
        (["files", 0, "name"], "../hash_grid_0.dds"),
        (["files", 0, "bytes"], "many"),
        (["files", 0, "sha256"], "0"),
    ],
)
def test_a_manifest_with_a_wrong_or_missing_value_is_refused_in_one_line(exported, path, value):
    manifest = json.loads((exported / "manifest.json").read_text("utf-8"))
    place = manifest
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    (exported / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(UserError) as caught:
        NeuralTextureReader(exported)
    assert "\n" not in str(caught.value) and str(exported) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff"])
def test_a_manifest_that_is_no_json_object_is_refused(exported, text):
    (exported / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match="manifest.json"):
        NeuralTextureReader(exported)


def test_a_folder_without_an_export_is_refused(tmp_path):
    with pytest.raises(UserError, match="no manifest.json"):
        NeuralTextureReader(tmp_path)
