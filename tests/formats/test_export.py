"""What an export writes: manifest, npz, DDS files, rates, PSNR; and its command line."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from configs import VERSION, Config, ModelConfig, config_to_dict
from export import main
from formats.dds import read_dds
from formats.figures import State, figure
from formats.reader import NeuralTextureReader
from quantize import values_to_codes
from tests.formats.reference_decoder import ALL, TYPES, grid, make_source, random_texture_set, slow_uint8
from training.exporting import export_material, plugin_obstacles
from utils.errors import UserError, run_command

ROOT = Path(__file__).resolve().parents[2]


def test_the_manifest_of_the_default_model_is_the_documented_example(tmp_path):
    source = make_source(1024, 1024, output_activation="none", hash_grid_configs=ModelConfig().hash_grid_configs)
    manifest = export_material(source, tmp_path).manifest
    assert json.loads((tmp_path / "manifest.json").read_text("utf-8")) == manifest
    expected = {
        "format": "neural-texture",
        "version": 1,
        "width": 1024,
        "height": 1024,
        "mips": 11,
        "wrap": True,
        "normal_convention": "opengl",
        "ue5_plugin": True,
        "positional_encoding": {"n_frequencies": 0, "period_cells": 0, "phases": 1},
    }
    assert {key: manifest[key] for key in expected} == expected
    assert set(manifest) >= set(expected) | {
        "channels",
        "grids",
        "mip_levels",
        "network",
        "files",
        "bpp",
        "bpp_mips",
        "psnr",
    }
    assert manifest["channels"][0] == {"name": "diffuse", "first": 0, "count": 3, "present": True, "space": "linear"}
    assert [(c["name"], c["first"], c["count"]) for c in manifest["channels"]] == [
        (name, sum(list(TYPES.values())[:k]), count) for k, (name, count) in enumerate(TYPES.items())
    ]
    assert manifest["grids"][0] == {
        "files": ["hash_grid_0.dds"],
        "format": "R8G8B8A8_UNORM",
        "max_resolution": 512,
        "base_resolution": 4,
        "n_levels": 8,
        "n_features": 4,
        "quantize_bits": 8,
        "save_bits": 32,
        "interpolation": "bilinear",
        "scale": 0.99609375,
        "offset": -0.498046875,
    }
    assert manifest["mip_levels"] == [[max(7 - mip, 0), max(6 - mip, 0)] for mip in range(11)]
    network = manifest["network"]
    assert network.pop("layers") == [
        {"rows": 16, "cols": 16, "offset": 0, "bias_offset": None, "activation": "leaky_relu"},
        {"rows": 16, "cols": 16, "offset": 256, "bias_offset": None, "activation": "none"},
    ]
    assert network == {
        "file": "network_data.npz",
        "array": "network",
        "inputs": 9,
        "outputs": 11,
        "precision": "float32",
        "macs_per_texel": 512,
        "macs_as_run": 384,
    }
    assert [entry["name"] for entry in manifest["files"]] == ["hash_grid_0.dds", "hash_grid_1.dds", "network_data.npz"]
    assert manifest["files"][0]["bytes"] == 1398228 == (tmp_path / "hash_grid_0.dds").stat().st_size


def test_the_npz_holds_two_plain_arrays_and_no_trace_of_the_clock(tmp_path):
    source = make_source(
        hash_grid_configs=[grid(8, 2, quantize_bits=4, save_bits=32), grid(4, 1)],
        n_frequencies=3,
        n_neurons=32,
        n_hidden_layers=2,
    )
    export_material(source, tmp_path)
    with np.load(tmp_path / "network_data.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["info", "network"]
        assert arrays["info"].dtype == np.int32
        assert arrays["info"].tolist() == [2, 4, 2, 8, 4, 32, 4, 1, 4, 8, 32, 3, 32, 2, 16]
        assert arrays["network"].dtype == np.float32
        assert (arrays["network"] == source.network).all()
    with zipfile.ZipFile(tmp_path / "network_data.npz") as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


def test_the_same_source_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        export_material(make_source(), tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "b").iterdir())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


def test_features_beyond_four_go_to_further_files(tmp_path):
    manifest = export_material(
        make_source(hash_grid_configs=[grid(8, quantize_bits=4, save_bits=64), grid(4)]), tmp_path
    ).manifest
    assert manifest["grids"][0]["files"] == ["hash_grid_0.dds"] + [f"hash_grid_0_{j}.dds" for j in (1, 2, 3)]
    assert manifest["grids"][1]["files"] == ["hash_grid_1.dds"]
    assert sorted(path.name for path in tmp_path.glob("*.dds")) == sorted(
        name for entry in manifest["grids"] for name in entry["files"]
    )


def test_dds_files_hold_the_finest_level_first(tmp_path):
    source = make_source()
    export_material(source, tmp_path)
    header, levels = read_dds(tmp_path / "hash_grid_0.dds")
    assert (header.width, header.height, header.mip_count) == (8, 8, 2)
    assert (levels[0] == values_to_codes(source.grids[0][1], 8)).all()
    assert (levels[1] == values_to_codes(source.grids[0][0], 8)).all()


@pytest.mark.parametrize("storage,dds_mips", [("rgba8", True), ("rgba8", False), ("true_rate", True)])
def test_rates_follow_from_the_bytes_on_disk(tmp_path, storage, dds_mips):
    manifest = export_material(
        make_source(
            storage=storage,
            dds_mips=dds_mips,
            hash_grid_configs=[grid(8, 2, quantize_bits=4, save_bits=64), grid(4, 2)],
        ),
        tmp_path,
    ).manifest
    npz = (tmp_path / "network_data.npz").stat().st_size
    texel = 2 if storage == "true_rate" else 4
    finest = 4 * (148 + 64 * texel) + (148 + 16 * 4) + npz
    assert manifest["bpp"] == pytest.approx(8 * finest / (20 * 12))
    on_disk = sum(path.stat().st_size for path in tmp_path.iterdir() if path.name != "manifest.json")
    assert manifest["bpp_mips"] == pytest.approx(8 * on_disk / (20 * 12))
    assert on_disk == (finest + (4 * 16 * texel + 4 * 4 if dds_mips else 0))


@pytest.mark.parametrize("space", ["linear", "srgb"])
def test_psnr_is_that_of_the_files_by_an_independent_decoder(tmp_path, space):
    present = {**ALL, "occlusion": False}
    source = make_source(present=present, diffuse_space=space)
    reference = random_texture_set(20, 12, present)
    psnr = export_material(source, tmp_path, reference).manifest["psnr"]
    assert list(psnr) == ["overall"] + [name for name in TYPES if name != "occlusion"]
    slices, first = {"overall": [0, 1, 2, 3, 4, 5, 6, 8, 9, 10]}, 0
    for name, count in TYPES.items():
        slices[name] = list(range(first, first + count))
        first += count
    for mip in range(source.layout.mips):
        error = (slow_uint8(source, mip).astype(float) - reference.mips[mip]) ** 2
        for name, values in psnr.items():
            assert values[mip] == pytest.approx(10 * math.log10(255**2 / error[..., slices[name]].mean()), abs=0.02)


def test_identical_maps_have_null_as_psnr(tmp_path):
    source = make_source()
    export_material(source, tmp_path)
    reader = NeuralTextureReader(tmp_path)
    reference = random_texture_set(20, 12, ALL)
    reference.mips = [reader.decode_uint8(mip) for mip in range(source.layout.mips)]
    manifest = export_material(source, tmp_path, reference).manifest
    assert manifest["psnr"] == {name: [None] * source.layout.mips for name in ["overall", *TYPES]}
    assert manifest["normal_angle_deg"] == [None] * source.layout.mips
    assert figure(manifest, "psnr", "normal", 1) is figure(manifest, "normal_angle_deg", "", 1) is State.IDENTICAL


def test_every_stored_mip_is_handed_back_as_the_reader_decodes_it(tmp_path):
    reference = random_texture_set(20, 12, ALL)
    for dds_mips, mips in ((True, [0, 1, 2, 3]), (False, [0])):
        export = export_material(make_source(dds_mips=dds_mips), tmp_path, reference)
        reader = NeuralTextureReader(tmp_path)
        assert list(export.decoded) == mips and reader.manifest == export.manifest
        assert all((export.decoded[mip] == reader.decode_uint8(mip)).all() for mip in mips)
    assert export_material(make_source(), tmp_path).decoded == {}


def test_the_manifest_says_where_the_material_came_from_and_what_was_noticed(tmp_path):
    reference = random_texture_set(20, 12, ALL)
    reference.files = {"diffuse": "st\udce9in_albedo.png"}
    reference.notices = ["skipped a.gif: this format is not read"]
    export_material(make_source(), tmp_path, reference)
    manifest = NeuralTextureReader(tmp_path).manifest
    assert manifest["name"] == "random" and manifest["toolkit_version"] == VERSION
    assert manifest["sources"] == {"diffuse": "st?in_albedo.png"} and manifest["notices"] == reference.notices


def test_a_missing_map_is_zero_in_the_weights_and_in_what_is_read(tmp_path):
    present = {**ALL, "normal": False, "displacement": False}
    source = make_source(present=present, use_bias=True, output_activation="sigmoid", n_frequencies=2)
    export_material(source, tmp_path)
    reader = NeuralTextureReader(tmp_path)
    with np.load(tmp_path / "network_data.npz") as arrays:
        network = arrays["network"]
    last = reader.manifest["network"]["layers"][-1]
    rows = network[last["offset"] : last["offset"] + 16 * last["cols"]].reshape(16, -1)
    biases = network[last["bias_offset"] : last["bias_offset"] + 16]
    missing = [3, 4, 5, 10]
    assert (rows[missing] == 0).all() and (biases[missing] == 0).all()
    assert (np.delete(rows, missing, 0) != 0).any(axis=1).all()
    assert (reader.decode(0)[..., missing] == 0).all() and (reader.decode_uint8(0)[..., missing] == 0).all()
    assert (reader.sample(0.5, 0.5, 0.5)[:, missing] == 0).all()
    assert reader.decode(0)[..., 6].min() > 0


def test_without_dds_mips_the_finest_mip_is_the_same_and_others_are_refused(tmp_path):
    export_material(make_source(), tmp_path / "all")
    manifest = export_material(
        make_source(dds_mips=False), tmp_path / "finest", random_texture_set(20, 12, ALL)
    ).manifest
    reader = NeuralTextureReader(tmp_path / "finest")
    assert read_dds(tmp_path / "finest" / "hash_grid_0.dds")[0].mip_count == 1
    assert (reader.decode(0) == NeuralTextureReader(tmp_path / "all").decode(0)).all()
    assert (reader.sample(0.3, 0.2, 0) == NeuralTextureReader(tmp_path / "all").sample(0.3, 0.2, 0)).all()
    assert reader.stored_mips == [0]
    with pytest.raises(UserError, match="--dds_mips True"):
        reader.decode(1)
    assert len(manifest["psnr"]["overall"]) == len(manifest["normal_angle_deg"]) == 1
    assert figure(manifest, "psnr", "overall", 0) > 0
    assert figure(manifest, "psnr", "overall", 1) is State.NOT_STORED


@pytest.mark.parametrize(
    "change,reason",
    [
        (dict(hash_grid_configs=[grid(8, interpolation="gather"), grid(4)]), "gather"),
        (dict(hash_grid_configs=[grid(8, quantize_bits=4), grid(4)]), "8 features"),
        (dict(storage="true_rate", hash_grid_configs=[grid(8, quantize_bits=4, save_bits=16)]), "B4G4R4A4"),
        (dict(hash_grid_configs=[grid(8, quantize_bits=16, save_bits=64)]), "R16G16B16A16"),
        (dict(n_frequencies=2, period_cells=2), "period"),
        (dict(n_frequencies=2, phases=2), "phases"),
        (dict(use_bias=True), "biases"),
        (dict(network_precision="float16"), "float16"),
        (dict(activation="gelu"), "gelu"),
        (dict(diffuse_space="srgb"), "srgb"),
    ],
)
def test_only_what_the_plugin_knows_is_called_a_plugin_export(tmp_path, change, reason):
    assert plugin_obstacles(make_source().layout, "rgba8") == []
    source = make_source(**change)
    manifest = export_material(source, tmp_path).manifest
    assert manifest["ue5_plugin"] is False
    assert reason in "; ".join(manifest["ue5_plugin_obstacles"])
    assert manifest["ue5_plugin_obstacles"] == plugin_obstacles(source.layout, source.storage)


def test_an_export_replaces_an_older_one_and_leaves_nothing_else_behind(tmp_path):
    (tmp_path / "model.pth").write_bytes(b"kept")
    export_material(make_source(hash_grid_configs=[grid(8, quantize_bits=4), grid(4), grid(4)]), tmp_path)
    manifest = export_material(make_source(), tmp_path).manifest
    assert {path.name for path in tmp_path.iterdir()} == {entry["name"] for entry in manifest["files"]} | {
        "manifest.json",
        "model.pth",
    }
    NeuralTextureReader(tmp_path).decode(0)


def test_a_diverged_model_is_refused_and_the_older_export_stays(tmp_path):
    export_material(make_source(), tmp_path)
    before = NeuralTextureReader(tmp_path).decode(0)
    for spoil in (
        lambda source: source.network.__setitem__(0, np.nan),
        lambda source: source.grids[1][0].__setitem__((0, 0, 0), np.inf),
    ):
        source = make_source()
        spoil(source)
        with pytest.raises(UserError, match="diverged"):
            export_material(source, tmp_path)
    assert (NeuralTextureReader(tmp_path).decode(0) == before).all()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def run_export(*arguments):
    return subprocess.run([sys.executable, "export.py", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)


def test_decode_writes_one_png_per_present_map(tmp_path):
    export_material(make_source(present={**ALL, "metallic": False}), tmp_path / "export")
    result = run_export("--decode", tmp_path / "export", "--out", tmp_path / "pngs", "--mip", -1)
    assert result.returncode == 0, result.stderr
    decoded = NeuralTextureReader(tmp_path / "export").decode_uint8(0)
    with Image.open(tmp_path / "pngs" / "diffuse.png") as image:
        assert image.mode == "RGB" and (np.asarray(image) == decoded[..., :3]).all()
    with Image.open(tmp_path / "pngs" / "roughness.png") as image:
        assert image.mode == "L" and (np.asarray(image) == decoded[..., 6]).all()
    with Image.open(tmp_path / "pngs" / "normal_mip2.png") as image:
        assert image.size == (5, 3)
    assert len(list((tmp_path / "pngs").iterdir())) == 6 * 4
    assert "bits per texel" in result.stdout and "24 PNG files" in result.stdout


@pytest.mark.parametrize(
    "change,code",
    [
        (["--mips", "3"], 2),
        (["--mip", "x"], 2),
        (["--mip", "-2"], 2),
        (["--storage", "rgba8"], 2),
        (["--mip", "9"], 1),
        (["--load_dir", "x"], 2),
        (["--decode", "nowhere"], 1),
        (["--dds_mips", "perhaps"], 2),
    ],
)
def test_a_wrong_flag_ends_with_its_exit_code_and_one_line(tmp_path, capsys, change, code):
    export_material(make_source(), tmp_path / "export")
    valid = ["--decode", str(tmp_path / "export"), "--out", str(tmp_path / "pngs")]
    assert main(valid) == 0
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        run_command(lambda: main(valid + change))
    assert left.value.code == code
    message = capsys.readouterr().err
    assert message.startswith("error: ") and len(message.splitlines()) == 1


def test_a_checkpoint_is_exported_again_with_other_storage(tmp_path):
    from training.checkpoint import Checkpoint, checkpoint_folder, save_checkpoint

    model = ModelConfig(hash_grid_configs=[grid(8, quantize_bits=4), grid(4, quantize_bits=4)])
    source = make_source(hash_grid_configs=model.hash_grid_configs)
    config = Config(model=model)
    config.run.data_dir = str(tmp_path / "gone")
    save_checkpoint(
        Checkpoint(
            config_to_dict(config),
            20,
            12,
            ALL,
            "opengl",
            7,
            0.0,
            [[torch.from_numpy(level) for level in levels] for levels in source.grids],
            torch.from_numpy(source.network),
            "torch",
            "float32",
            {},
            {"drawn": [0] * source.layout.mips, "steps": 7},
            torch.zeros(1),
            [],
            [],
        ),
        checkpoint_folder(tmp_path, 7),
    )
    result = run_export("--load_dir", tmp_path, "--storage", "true_rate", "--dds_mips", "False")
    assert result.returncode == 0, result.stderr
    assert "PSNR is not measured" in result.stderr
    reader = NeuralTextureReader(checkpoint_folder(tmp_path, 7))
    assert reader.manifest["grids"][0]["format"] == "B4G4R4A4_UNORM" and reader.manifest["psnr"] == {}
    assert len(reader.codes(0)) == 1
    assert (reader.codes(0)[0] == values_to_codes(source.grids[0][1], 4)).all()
    assert run_export("--load_dir", tmp_path, "--load_iter", 8).returncode == 2
