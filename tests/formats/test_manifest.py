"""Manifests: what is refused and how it is said, that nothing in one can do harm, and updates."""

from __future__ import annotations

import copy
import json
import math
import random
import tracemalloc
import warnings

import pytest

from configs import ACTIVATION_NAMES
from formats.manifest import find_export, read_manifest, update_manifest
from formats.network import ACTIVATIONS
from formats.reader import NeuralTextureReader
from tests.formats.reference_decoder import ALL, grid, make_source
from tests.formats.test_export import random_texture_set
from training.exporting import export_material
from utils.errors import UsageError, UserError

WRONG_VALUES = (
    None,
    True,
    False,
    -1,
    0,
    1,
    3,
    2.5,
    -1e9,
    1e300,
    math.nan,
    math.inf,
    10**9,
    10**30,
    10**400,
    "",
    "x",
    "..",
    "../hash_grid_0.dds",
    "a\\b",
    "C:x",
    "nul\0",
    "\ud800",
    "line\nbreak",
    "x" * 5000,
    [],
    [[]],
    [1] * 5000,
    {},
    {"a": {}},
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An export whose manifest has every key that this release knows."""
    folder = tmp_path_factory.mktemp("export")
    export_material(
        make_source(
            network_precision="int8",
            use_bias=True,
            n_frequencies=2,
            period_cells=2,
            position_order=1,
            storage="true_rate",
            hash_grid_configs=[grid(8, interpolation="gather", quantize_bits=4, save_bits=32), grid(4)],
        ),
        folder,
        random_texture_set(20, 12, ALL),
    )
    update_manifest(folder, {"ssim": {"overall": [0.5, 0.25]}, "flip": {"diffuse": [0.125, None]}})
    return folder


@pytest.fixture
def rewrite(exported):
    """Write another manifest into the export; the valid one comes back afterwards."""
    path = exported / "manifest.json"
    text = path.read_text("utf-8")

    def write(manifest):
        path.write_text(json.dumps(manifest), "utf-8")
        return exported

    yield json.loads(text), write
    path.write_text(text, "utf-8")


def key_paths(value, path=()):
    """Every place in nested containers, the root left out."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from key_paths(item, (*path, key))


def changed(manifest, path, value, delete=False):
    manifest = copy.deepcopy(manifest)
    place = manifest
    for key in path[:-1]:
        place = place[key]
    if delete:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return manifest


def assert_one_line(error, folder):
    text = str(error)
    assert text.isprintable() and text.isascii() and len(text) < 600 and str(folder) in text, text


def test_no_change_of_a_manifest_is_more_than_one_line_to_the_user(rewrite):
    manifest, write = rewrite
    paths = list(key_paths(manifest))
    cases = [(path, value, False) for path in paths for value in WRONG_VALUES] + [(path, None, True) for path in paths]
    cases = random.Random(0).sample(cases, 1500)
    assert len(paths) > 150
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path, value, delete in cases:
            folder = write(changed(manifest, path, value, delete))
            try:
                reader = NeuralTextureReader(folder)
                assert reader.decode_uint8(0).shape == (12, 20, 11)
                reader.sample(0.5, 0.5, 1.5)
            except UserError as error:
                refused += 1
                assert_one_line(error, folder)
    assert refused > 1000


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


def test_a_missing_key_is_named(rewrite):
    manifest, write = rewrite
    with pytest.raises(UserError, match=r"the key grids\[1\].scale is missing"):
        read_manifest(write(changed(manifest, ["grids", 1, "scale"], None, delete=True)))


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 32768, "height": 32768, "mips": 16},
        {"width": 65536, "height": 16384, "mips": 15},
        {"width": 10**9, "height": 1, "mips": 1},
    ],
)
def test_a_texture_too_large_for_any_engine_is_refused_before_memory_is_asked_for(rewrite, changes):
    manifest, write = rewrite
    levels = [[0, 0]] * changes["mips"]
    folder = write({**manifest, **changes, "mip_levels": levels})
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="at most"):
            NeuralTextureReader(folder)
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


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


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": "neural-texture", "version": ' + "9" * 5000 + "}"])
def test_json_made_to_overwhelm_a_parser_is_refused(rewrite, text):
    manifest, write = rewrite
    folder = write(manifest)
    (folder / "manifest.json").write_text(text, "utf-8")
    with pytest.raises(UserError) as caught:
        read_manifest(folder)
    assert_one_line(caught.value, folder)
