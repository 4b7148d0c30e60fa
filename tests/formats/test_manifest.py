"""Manifests: what is refused and how it is said, what is kept, and updates."""

from __future__ import annotations

import math

import pytest

from configs import ACTIVATION_NAMES
from formats.manifest import find_export, read_manifest, update_manifest
from formats.network import ACTIVATIONS
from formats.reader import NeuralTextureReader
from tests.formats.export_changes import assert_one_line, changed
from tests.formats.reference_decoder import make_source
from training.exporting import export_material
from utils.errors import UsageError, UserError

BESIDE = {"gain_db": 2.5, "bpp": 4.6, "psnr_db": 36.0, "astc": [], "quality": "medium", "texels": 64}


@pytest.mark.parametrize(
    "path,value,words",
    [
        (["width"], "20", ["width is '20'", "a whole number"]),
        (["wrap"], 1, ["wrap is 1", "true or false"]),
        (["height"], -1, ["height is -1", "at least 1"]),
        (["mips"], 99, ["mips is 99", "expected 4"]),
        (["grids", 0, "scale"], math.nan, ["grids[0].scale is nan", "a finite number"]),
        (["grids", 1, "offset"], "1", ["grids[1].offset is '1'", "a number"]),
        (["grids", 0, "quantize_bits"], 3, ["grids[0].quantize_bits is 3", "2, 4, 8, 16"]),
        (["grids", 0, "n_features"], 3, ["grids[0]", "3 features have 2 files"]),
        (["grids", 0, "max_resolution"], 9, ["grids[0]", "max_resolution 9"]),
        (["grids"], [], ["grids", "at least 1 entries"]),
        (["grids", 0], None, ["grids[0] is None", "an object"]),
        (["mip_levels", 2], [7, 1], ["mip_levels[2] is [7, 1]", "a level of each grid"]),
        (["channels", 0, "space"], "rec709", ["channels[0]", "'rec709'", "linear, srgb"]),
        (["channels", 1, "name"], "bump", ["bump (3)", "normal (3)"]),
        (["network", "inputs"], 8, ["cols of layer 0 is", "expected 16 for 8 inputs"]),
        (["network", "layers", 1, "cols"], 32, ["network", "cols of layer 1 is 32", "expected 16"]),
        (["network", "layers", 0, "activation"], "swish", ["network.layers[0].activation is 'swish'", "hard_swish"]),
        (["files", 0, "name"], "../hash_grid_0.dds", ["files[0].name is '../hash_grid_0.dds'", "without a folder"]),
        (["files", 0, "name"], "..", ["files[0].name is '..'"]),
        (["files", 0, "sha256"], "0", ["64 hexadecimal digits"]),
        (["files", 1, "name"], "hash_grid_0.dds", ["twice"]),
        (["psnr", "overall", 0], "x", ["psnr.overall[0] is 'x'"]),
        (["notices"], [3], ["notices[0] is 3", "a text"]),
        (["beside_astc"], "6x6", ["beside_astc is '6x6'", "an object"]),
        (["beside_astc"], {"bpp": 4.6}, ["beside_astc.gain_db is missing"]),
        (["beside_astc"], {**BESIDE, "astc": []}, ["beside_astc.astc is a list of 0", "at least 1 entries"]),
        (["beside_astc"], {**BESIDE, "astc": [{"blocks": "6x6"}]}, ["beside_astc.astc[0].bpp is missing"]),
    ],
)
def test_the_message_names_the_key_what_was_found_and_what_is_expected(rewrite, path, value, words):
    manifest, write = rewrite
    folder = write(changed(manifest, path, value))
    with pytest.raises(UserError) as caught:
        read_manifest(folder)
    for word in [*words, str(folder / "manifest.json"), "export the material again"]:
        assert word in str(caught.value)
    assert_one_line(caught.value, folder)


FIELDS = ["grids", 0, "fields"]


@pytest.mark.parametrize(
    "path,value,words",
    [
        ([*FIELDS, 1, "shift"], 3, ["fields[1] overlaps another one in word 0"]),
        ([*FIELDS, 1, "shift"], 25, ["grids[0].fields[1]: 8 bits from 25 on do not lie within a word of 32"]),
        ([*FIELDS, 1, "shift"], -1, ["grids[0].fields[1].shift is -1", "at least 0"]),
        ([*FIELDS, 1, "shift"], 32, ["fields[1].shift is 32", "at most 31"]),
        ([*FIELDS, 0, "bits"], 9, ["fields[0].bits is 9", "1, 2, 3, 4, 5, 6, 7, 8, 16"]),
        ([*FIELDS, 0, "bits"], 0, ["fields[0].bits is 0"]),
        ([*FIELDS, 0, "bits"], True, ["fields[0].bits is True", "a whole number"]),
        ([*FIELDS, 0, "word"], -1, ["fields[0].word is -1"]),
        ([*FIELDS, 0, "word"], 2, ["fields up to word 2 have 2 files of R8G8B8A8_UNORM, expected 3"]),
        ([*FIELDS, 0, "word"], 10**9, ["fields[0].word is 1000000000", "at most 1023"]),
        (FIELDS, [], ["fields", "at least 1"]),
        (FIELDS, None, ["fields is None", "a list"]),
        ([*FIELDS, 0], None, ["fields[0] is None", "an object"]),
        (["grids", 0, "feature_bits"], [4] * 8, ["feature_bits is [4, 4", "[4, 8, 1, 16, 3, 7, 2, 6]"]),
        (["grids", 0, "quantize_bits"], 8, ["quantize_bits is 8", "16"]),
        (["grids", 0, "quantize_bits"], 32, ["quantize_bits is 32", "1, 2, 3, 4, 5, 6, 7, 8, 16"]),
        (["grids", 0, "scale"], 0.5, ["scale and offset are 0.5"]),
        (["grids", 0, "format"], "B4G4R4A4_UNORM", ["format of a grid with fields is 'B4G4R4A4_UNORM'"]),
        (["grids", 0, "format"], "R32G32B32A32_UINT", ["have 2 files", "expected 1"]),
        (["grids", 0, "n_features"], 7, ["7 features have 8 fields"]),
        (
            ["grids", 1, "files"],
            ["by_hand_hash_grid_0.dds", "by_hand_hash_grid_0_1.dds"],
            ["have 2 files of R32_UINT, expected 1"],
        ),
    ],
)
def test_fields_that_cannot_be_are_refused_by_name(rewrite_packed, path, value, words):
    manifest, write = rewrite_packed
    folder = write(changed(manifest, path, value))
    with pytest.raises(UserError) as caught:
        read_manifest(folder)
    for word in [*words, "grids[", "export the material again"]:
        assert word in str(caught.value)
    assert_one_line(caught.value, folder)


def test_words_without_fields_and_files_of_another_format_are_refused(rewrite_packed):
    manifest, write = rewrite_packed
    with pytest.raises(UserError, match="the key fields is missing, which a grid of R32_UINT needs"):
        read_manifest(write(changed(manifest, ["grids", 1, "fields"], None, delete=True)))
    # One word of RGBA8 would fit the manifest, but the file holds another format.
    folder = write(changed(manifest, ["grids", 1, "format"], "R8G8B8A8_UNORM"))
    with pytest.raises(UserError, match="holds 4 x 4 R32_UINT .* not what its manifest says"):
        NeuralTextureReader(folder)


def test_fields_in_any_place_that_is_free_are_read(rewrite_packed):
    manifest, write = rewrite_packed
    before = NeuralTextureReader(write(manifest)).codes(1)
    fields = manifest["grids"][1]["fields"]
    swapped = changed(manifest, ["grids", 1, "fields"], fields[::-1])
    found = NeuralTextureReader(write(swapped)).codes(1)
    assert all((a == b[..., ::-1]).all() for a, b in zip(found, before, strict=True))


def test_a_missing_key_is_named(rewrite):
    manifest, write = rewrite
    with pytest.raises(UserError, match=r"the key grids\[1\].scale is missing"):
        read_manifest(write(changed(manifest, ["grids", 1, "scale"], None, delete=True)))


def test_keys_that_are_not_known_are_kept(rewrite):
    manifest, write = rewrite
    manifest["grids"][0]["later"] = {"any": [1]}
    manifest["later"] = None
    assert read_manifest(write(manifest)) == manifest


def test_a_manifest_of_an_earlier_release_still_reads(rewrite):
    manifest, write = rewrite
    before = NeuralTextureReader(write(manifest)).decode(1)
    for key in (
        "toolkit_version",
        "name",
        "sources",
        "notices",
        "ssim",
        "flip",
        "normal_angle_deg",
        "dds_mips",
        "bytes_per_texel",
        "ue5_plugin_obstacles",
    ):
        del manifest[key]
    assert (NeuralTextureReader(write(manifest)).decode(1) == before).all()


def test_an_update_changes_its_keys_alone_and_an_invalid_one_changes_nothing(rewrite):
    manifest, write = rewrite
    folder = write(manifest)
    assert update_manifest(folder, {"ssim": {"overall": [None]}}) == {**manifest, "ssim": {"overall": [None]}}
    assert read_manifest(folder)["ssim"] == {"overall": [None]}
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(ValueError, match="ssim.overall"):
        update_manifest(folder, {"ssim": {"overall": ["high"]}})
    assert (folder / "manifest.json").read_bytes() == before


def test_the_reader_has_exactly_the_activations_that_settings_know():
    assert tuple(ACTIVATIONS) == ACTIVATION_NAMES


def test_a_run_folder_is_answered_with_the_export_in_it(tmp_path):
    for iteration in (5, 10):
        export_material(make_source(), tmp_path / "models" / f"train_result_{iteration}")
    with pytest.raises(UserError, match="train_result_10"):
        NeuralTextureReader(tmp_path)
    assert find_export(tmp_path) == tmp_path / "models" / "train_result_10"
    assert find_export(tmp_path, 5) == find_export(tmp_path / "models" / "train_result_5")
    with pytest.raises(UsageError, match="choose one of 5, 10"):
        find_export(tmp_path, 7)
    with pytest.raises(UsageError, match="holds no export"):
        find_export(tmp_path / "models")
