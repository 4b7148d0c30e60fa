"""An export in another storage: the same codes, weights and figures from other files, and what cannot be repacked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import export
import train
from benchmarks.random_version_2 import RandomGrid, write_version_2
from configs import STORAGES
from formats.dds import read_dds
from formats.manifest import update_manifest
from formats.names import file_prefix
from formats.reader import NeuralTextureReader
from formats.repack import repack_export
from formats.words import grid_words
from tests.formats import reference_decoder
from tests.formats.export_changes import replace_grid
from tests.formats.reference_decoder import ALL, grid, make_source, random_texture_set, slow_mip
from tests.helpers import make_material
from training.exporting import export_material
from utils.errors import UsageError, UserError

GRIDS = [
    grid(8, interpolation="gather", quantize_bits=4, save_bits=64),
    grid(4, quantize_bits=4, save_bits=32),
    grid(4, quantize_bits=2, save_bits=8),
    grid(4, 1, quantize_bits=16, save_bits=64),
    grid(4, 1),
]


def make_export(folder, **change):
    """An export with figures, of grids of all bits."""
    source = make_source(**{"hash_grid_configs": GRIDS, "use_bias": True, "network_precision": "int8", **change})
    return export_material(source, folder, random_texture_set(20, 12, ALL)).manifest


def files(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.mark.parametrize("dds_mips", [True, False])
@pytest.mark.parametrize("after", STORAGES)
@pytest.mark.parametrize("before", STORAGES)
def test_a_repacked_export_is_the_export_that_was_stored_so_from_the_start(tmp_path, before, after, dds_mips):
    make_export(tmp_path / "before", storage=before, dds_mips=dds_mips)
    expected = make_export(tmp_path / "expected", storage=after, dds_mips=dds_mips)
    assert repack_export(tmp_path / "before", tmp_path / "after", after) == expected
    assert files(tmp_path / "after") == files(tmp_path / "expected")
    one, other = NeuralTextureReader(tmp_path / "before"), NeuralTextureReader(tmp_path / "after")
    for mip in one.stored_mips:
        assert (one.decode(mip) == other.decode(mip)).all()
    assert (one.sample(0.3, 0.7, 0.0) == other.sample(0.3, 0.7, 0.0)).all()


@pytest.mark.parametrize("storage", STORAGES)
def test_any_grid_is_given_as_the_same_words(tmp_path, storage):
    make_export(tmp_path / "packed", storage="packed")
    make_export(tmp_path / "other", storage=storage)
    packed, other = NeuralTextureReader(tmp_path / "packed"), NeuralTextureReader(tmp_path / "other")
    for g, entry in enumerate(packed.manifest["grids"]):
        words, fields = grid_words(other, g)
        _, (first, *_) = read_dds(tmp_path / "packed" / entry["files"][0])
        assert [field._asdict() for field in fields] == entry["fields"]
        assert (words[0] == first).all() and words[0].dtype == np.uint32
        assert [level.shape for level in words] == [level.shape for level in grid_words(packed, g).levels]
        for level, codes in zip(words, packed.codes(g)[::-1], strict=True):
            found = [level[..., word] >> shift & (1 << bits) - 1 for word, shift, bits in fields]
            assert (np.stack(found, axis=-1) == codes).all()


def test_three_words_of_rgba8_textures_fill_a_texture_of_four(tmp_path):
    export_material(make_source(hash_grid_configs=[grid(4, quantize_bits=8)]), tmp_path)
    bits = [8, 8, 8, 7, 8, 8, 8, 7, 8]
    codes = replace_grid(tmp_path, 0, bits, "packed_rgba8", features=9)
    assert [level.shape for level in grid_words(NeuralTextureReader(tmp_path), 0).levels] == [(4, 4, 4), (2, 2, 4)]
    repack_export(tmp_path, tmp_path / "packed", "packed")
    reader = NeuralTextureReader(tmp_path / "packed")
    assert reader.manifest["grids"][0]["format"] == "R32G32B32A32_UINT"
    assert all((a == b).all() for a, b in zip(reader.codes(0), codes))


@pytest.mark.parametrize("storage", ["packed", "packed_rgba8"])
def test_features_that_differ_in_bits_are_decoded_each_by_its_own_levels(tmp_path, monkeypatch, storage):
    source = make_source(
        hash_grid_configs=[grid(8, interpolation="gather", save_bits=64), grid(4)], n_frequencies=1, use_bias=True
    )
    export_material(source, tmp_path)
    bits = [8, 1, 5, 16, 3, 7, 2, 6]
    codes = replace_grid(tmp_path, 0, bits, storage)
    for level, values in zip(codes, source.grids[0], strict=True):
        values[...] = (level - (np.exp2(bits) - 1) / 2) / np.exp2(bits)
    reader = NeuralTextureReader(tmp_path)
    assert reader.manifest["grids"][0]["feature_bits"] == bits and reader.manifest["grids"][0]["quantize_bits"] == 16
    rounded = reference_decoder.slow_features
    monkeypatch.setattr(
        reference_decoder,
        "slow_features",
        lambda model, g, level, x, y: (
            rounded(model, g, level, x, y)
            if g
            else [float(value) for value in model.grids[0][level][y % (4 << level), x % (4 << level)]]
        ),
    )
    for mip in range(source.layout.mips):
        np.testing.assert_allclose(reader.decode(mip), slow_mip(source, mip), atol=2e-5)
    assert all((a == b).all() for a, b in zip(reader.codes(0), codes))
    other = {"packed": "packed_rgba8", "packed_rgba8": "packed"}[storage]
    repack_export(tmp_path, tmp_path / "other", other)
    assert (NeuralTextureReader(tmp_path / "other").decode(0) == reader.decode(0)).all()
    before = files(tmp_path / "other")
    with pytest.raises(UsageError, match="cannot hold features of 1, 2, 3, 5, 6, 7, 8, 16 bits"):
        repack_export(tmp_path, tmp_path / "other", "rgba8")
    assert files(tmp_path / "other") == before


def test_features_on_a_scale_of_their_own_are_not_repacked(tmp_path):
    manifest = make_export(tmp_path / "one")
    manifest["grids"][1]["scale"] = 2.0
    update_manifest(tmp_path / "one", {"grids": manifest["grids"]})
    with pytest.raises(UserError, match="hash_grid_1.dds has scale 2"):
        repack_export(tmp_path / "one", tmp_path / "two", "packed")
    with pytest.raises(UserError, match="hash_grid_1.dds has scale 2"):
        grid_words(NeuralTextureReader(tmp_path / "one"), 1)
    assert not (tmp_path / "two").exists()


def test_a_damaged_export_is_not_repacked_and_an_older_one_stays(tmp_path):
    make_export(tmp_path / "one")
    make_export(tmp_path / "two", seed=3)
    before = files(tmp_path / "two")
    path = tmp_path / "one" / "network_data.npz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="network_data.npz"):
        repack_export(tmp_path / "one", tmp_path / "two", "packed")
    assert files(tmp_path / "two") == before


def test_an_export_is_repacked_in_its_own_folder(tmp_path):
    make_export(tmp_path)
    codes = NeuralTextureReader(tmp_path).codes(0)
    manifest = repack_export(tmp_path, tmp_path, "packed", "Alt Name")
    assert set(files(tmp_path)) == {entry["name"] for entry in manifest["files"]} | {"manifest.json"}
    assert all((a == b).all() for a, b in zip(NeuralTextureReader(tmp_path).codes(0), codes))
    repack_export(tmp_path, tmp_path, "rgba8")
    assert sorted(files(tmp_path))[0] == "hash_grid_0.dds" and "network_data.npz" in files(tmp_path)
    assert not [name for name in files(tmp_path) if name.startswith("Alt")]


def test_named_files_of_two_materials_share_no_name(tmp_path):
    make_export(tmp_path / "run")
    one = repack_export(tmp_path / "run", tmp_path / "one", "packed_rgba8", "Brick, wet")
    other = repack_export(tmp_path / "run", tmp_path / "other", "packed_rgba8", "rust")
    names = [{entry["name"] for entry in manifest["files"]} for manifest in (one, other)]
    assert not names[0] & names[1] and one["name"] == "random"
    assert "Brick_wet_hash_grid_0_1.dds" in names[0] and one["network"]["file"] == "Brick_wet_network_data.npz"
    assert NeuralTextureReader(tmp_path / "one").decode(0).shape == (12, 20, 11)
    named = export_material(make_source(), tmp_path / "third", name="rust").manifest
    assert named["grids"][1]["files"] == ["rust_hash_grid_1.dds"] and named["name"] == "rust"


@pytest.mark.parametrize(
    "name,prefix",
    [
        ("rust", "rust"),
        ("Rock 04 (4K)", "Rock_04_4K"),
        ("../../etc", "etc"),
        ("a/b\\c:d", "a_b_c_d"),
        ("Müll–Èimer", "Mull_Eimer"),
        ("2nd", "m_2nd"),
        ("NUL", "m_NUL"),
        ("__x__", "x"),
        ("rust_", "rust"),
        ("岩石", "m_9074f394"),
        ("岩石 4K", "m_4K_"),
        ("Rock 岩", "Rock_"),
        ("x" * 300, "x" * 52 + "_"),
    ],
)
def test_a_prefix_is_an_identifier_that_every_system_takes(name, prefix):
    found = file_prefix(name)
    assert found == prefix or re.fullmatch(prefix + "[0-9a-f]{8}", found)
    assert re.fullmatch(r"[A-Za-z]\w{0,63}", found, re.ASCII)


def test_names_that_differ_in_what_is_left_out_give_other_files():
    names = ["岩石", "木头", "岩石 4K", "木头 4K", "x" * 80, "x" * 81]
    assert len({file_prefix(name) for name in names}) == len(names)


@pytest.mark.parametrize("name", ["", "…", "..", "\ud800"])
def test_a_name_of_which_nothing_is_left_is_refused(name):
    with pytest.raises(UsageError, match="letters or digits") as caught:
        file_prefix(name)
    assert str(caught.value).isascii()


def test_a_run_with_packed_storage_decodes_as_one_at_true_rate(tmp_path, capsys):
    material = make_material(tmp_path / "material")
    command = [
        "--data_dir",
        str(material),
        "--save_dir",
        str(tmp_path / "out"),
        "--max_iter",
        "20",
        "--report",
        "False",
    ]
    train.main([*command, "--quantize_bits", "4", "--save_bits", "32", "--storage", "packed"])
    assert "grid 0 is stored as R32_UINT" in capsys.readouterr().out
    (run,) = (tmp_path / "out").glob("2*")
    packed = NeuralTextureReader(run / "models" / "train_result_20")
    assert {entry["format"] for entry in packed.manifest["grids"]} == {"R32_UINT"}
    for storage in ("true_rate", "packed_rgba8"):
        out = str(tmp_path / storage)
        assert export.main(["--load_dir", str(run), "--storage", storage, "--out", out, "--name", "my rock"]) == 0
        other = NeuralTextureReader(out)
        assert other.manifest["grids"][0]["files"][0] == "my_rock_hash_grid_0.dds"
        assert other.manifest["psnr"] == packed.manifest["psnr"]
        for mip in range(packed.manifest["mips"]):
            assert (other.decode(mip) == packed.decode(mip)).all()
    with Image.open(tmp_path / "packed_rgba8" / "my_rock_hash_grid_0.dds") as image:
        (level, *_), _ = grid_words(packed, 0)
        assert np.asarray(image).view("<u4").tolist() == level.tolist()
    for flags, code in ((["--name", "…"], 2), (["--storage", "bc7"], 2)):
        with pytest.raises((SystemExit, UsageError)) as left:
            export.main(["--load_dir", str(run), "--out", str(tmp_path / "x"), *flags])
        assert getattr(left.value, "exit_code", getattr(left.value, "code", None)) == code


def test_what_a_repacked_manifest_says_of_the_plugin_is_that_of_its_own_files(tmp_path):
    export_material(make_source(), tmp_path / "plugin")
    packed = repack_export(tmp_path / "plugin", tmp_path / "packed", "packed")
    assert not packed["ue5_plugin"] and packed["ue5_plugin_obstacles"][0] == "grid 0 is stored as R32_UINT"
    bytes_ = repack_export(tmp_path / "packed", tmp_path / "bytes", "packed_rgba8")
    assert bytes_["ue5_plugin_obstacles"] == [f"grid {g} is stored as bit fields" for g in (0, 1)]
    back = repack_export(tmp_path / "bytes", tmp_path / "back", "rgba8")
    assert back["ue5_plugin"] and files(tmp_path / "back") == files(tmp_path / "plugin")
    assert json.loads((tmp_path / "back" / "manifest.json").read_text("utf-8")) == back


@pytest.mark.parametrize("storage", ["packed", "packed_rgba8"])
def test_curves_and_a_linear_decoder_outlast_another_storage(tmp_path, storage):
    other = {"packed": "packed_rgba8", "packed_rgba8": "packed"}[storage]
    before = write_version_2(tmp_path / "before", storage=storage, precision="float16")
    after = repack_export(tmp_path / "before", tmp_path / "after", other)
    assert after["version"] == 2 and after["network"] == before["network"]
    assert after["grids"][0]["curve_offset"] == before["grids"][0]["curve_offset"]
    one, two = NeuralTextureReader(tmp_path / "before"), NeuralTextureReader(tmp_path / "after")
    for mip in one.stored_mips:
        assert (one.decode(mip) == two.decode(mip)).all()
    assert repack_export(tmp_path / "after", tmp_path / "back", storage) == before


def test_features_along_curves_may_lie_in_channels_of_a_texture(tmp_path):
    write_version_2(tmp_path / "packed", grids=[RandomGrid(bits=(4, 4, 4, 4, 4))])
    repack_export(tmp_path / "packed", tmp_path / "channels", "true_rate")
    packed, channels = NeuralTextureReader(tmp_path / "packed"), NeuralTextureReader(tmp_path / "channels")
    np.testing.assert_allclose(channels.decode(0), packed.decode(0), atol=1e-6)
    assert channels.manifest["grids"][0]["format"] == "B4G4R4A4_UNORM"


def test_the_plugin_can_read_neither_curves_nor_a_linear_decoder(tmp_path):
    manifest = write_version_2(tmp_path, use_bias=False)
    assert not manifest["ue5_plugin"]
    assert {"grid 0 has feature curves", "the network corrects a linear decoder"} < set(
        manifest["ue5_plugin_obstacles"]
    )


def test_what_a_run_said_beside_astc_is_left_out_where_the_rate_is_another(tmp_path):
    make_export(tmp_path / "run", storage="rgba8")
    points = [{"blocks": "6x6", "bpp": 10.7, "psnr_db": 33.0}]
    beside = {"gain_db": 2.5, "bpp": 9.9, "psnr_db": 35.5, "astc": points, "quality": "medium", "texels": 240}
    update_manifest(tmp_path / "run", {"beside_astc": beside})
    assert repack_export(tmp_path / "run", tmp_path / "named", "rgba8", "rust")["beside_astc"] == beside
    assert "beside_astc" not in repack_export(tmp_path / "run", tmp_path / "packed", "packed")
