"""Manifests with feature curves and a linear decoder: what is refused and how it is said."""

from __future__ import annotations

import json
import shutil
import tracemalloc
import zipfile

import numpy as np
import pytest

from benchmarks.random_version_2 import write_version_2
from formats.manifest import manifest_version, read_manifest
from formats.npz import npz_bytes
from formats.reader import NeuralTextureReader
from tests.formats.export_changes import assert_one_line, changed, rewrite_file
from utils.errors import UserError

LINEAR = ["network", "linear"]


@pytest.mark.parametrize(
    "path,value,words",
    [
        (
            ["version"],
            1,
            ["version is 1, expected 2 for a manifest with a grid's curve_offset or the network's linear"],
        ),
        (["version"], 3, ["version '3', expected 1 or 2"]),
        (["version"], True, ["version 'True', expected 1 or 2"]),
        (["grids", 0, "curve_offset"], None, ["grids[0].curve_offset is None", "a value, or no such key"]),
        (["grids", 0, "curve_offset"], -1, ["grids[0].curve_offset is -1", "at least 0"]),
        (["grids", 0, "curve_offset"], 0.5, ["grids[0].curve_offset is 0.5", "a whole number"]),
        (LINEAR, None, ["network.linear is None", "a value, or no such key"]),
        ([*LINEAR, "order"], 8, ["network.linear.order is 8", "at most 7"]),
        ([*LINEAR, "order"], 2, ["cols of network.linear is 323, expected 183 for its order and the grids"]),
        ([*LINEAR, "cols"], 322, ["cols of network.linear is 322, expected 323"]),
        ([*LINEAR, "cols"], 10**9, ["network.linear.cols is 1000000000", "at most"]),
        ([*LINEAR, "outputs"], [], ["network.linear.outputs", "at least 1 entries"]),
        ([*LINEAR, "outputs"], [0, 2, 1], ["outputs is [0, 2, 1], expected channels in rising order"]),
        ([*LINEAR, "outputs"], [0, 0], ["outputs is [0, 0], expected channels in rising order"]),
        ([*LINEAR, "outputs"], [11], ["network.linear.outputs[0] is 11", "at most 10"]),
        (["network", "inputs"], 25, ["the network has 25 inputs and 11 outputs, expected 43"]),
        (["network", "macs_as_run"], -1, ["network.macs_as_run is -1"]),
        (
            ["channels", 4, "present"],
            False,
            ["outputs of network.linear has 8, a channel of metallic, which is missing"],
        ),
    ],
)
def test_the_message_names_the_key_what_was_found_and_what_is_expected(rewrite_curved, path, value, words):
    manifest, write = rewrite_curved
    if path == ["network", "inputs"]:
        # As many columns, but none of them read what the linear decoder gives.
        manifest["network"]["layers"][0]["cols"] = 32
    folder = write(changed(manifest, path, value))
    with pytest.raises(UserError) as caught:
        read_manifest(folder)
    for word in words:
        assert word in str(caught.value)
    assert_one_line(caught.value, folder)


def test_version_2_is_refused_without_a_key_that_needs_it(rewrite):
    manifest, write = rewrite
    with pytest.raises(UserError, match="version is 2, expected 1 for a manifest without a grid's curve_offset"):
        read_manifest(write({**manifest, "version": 2}))


def test_each_new_key_needs_version_2(tmp_path):
    for name, settings in {"curves": {"linear_order": None}, "both": {}}.items():
        manifest = write_version_2(tmp_path / name, **settings)
        assert manifest["version"] == manifest_version(manifest) == 2
    assert manifest_version({"grids": [{}], "network": {"linear": {}}}) == 2
    assert manifest_version({"grids": [{}], "network": {}}) == 1


@pytest.mark.parametrize("precision", ["int8", "float16", "float32"])
@pytest.mark.parametrize("path", [["grids", 0, "curve_offset"], [*LINEAR, "offset"]])
def test_offsets_beyond_the_array_are_refused(tmp_path, precision, path):
    manifest = write_version_2(tmp_path, precision=precision)
    NeuralTextureReader(tmp_path)
    end = len(np.load(tmp_path / "network_data.npz")["network"])
    (tmp_path / "manifest.json").write_text(json.dumps(changed(manifest, path, end - 8)), "utf-8")
    with pytest.raises(UserError, match="too few for its manifest") as caught:
        NeuralTextureReader(tmp_path)
    assert_one_line(caught.value, tmp_path)


@pytest.mark.parametrize("path", [["grids", 0, "curve_offset"], [*LINEAR, "offset"]])
def test_numbers_that_are_not_finite_are_refused(tmp_path, path):
    manifest = write_version_2(tmp_path, precision="float16")
    array = np.load(tmp_path / "network_data.npz")["network"].copy()
    place = manifest
    for key in path:
        place = place[key]
    array[place + 3] = np.inf
    rewrite_file(tmp_path, "network_data.npz", npz_bytes({"network": array}))
    with pytest.raises(UserError, match="weights that are not finite"):
        NeuralTextureReader(tmp_path)


def test_numbers_that_overflow_decode_to_values_inside_the_range(tmp_path):
    manifest = write_version_2(tmp_path, precision="float32")
    array = np.full_like(np.load(tmp_path / "network_data.npz")["network"], 3e38)
    rewrite_file(tmp_path, manifest["network"]["file"], npz_bytes({"network": array}))
    reader = NeuralTextureReader(tmp_path)
    for values in (reader.decode(0), reader.decode(1), reader.sample(0.2, 0.3, 0.5)):
        assert ((values >= 0) & (values <= 1)).all()


def test_a_linear_decoder_that_a_small_file_claims_asks_for_no_memory(tmp_path):
    manifest = write_version_2(tmp_path / "export", precision="float32")
    linear = manifest["network"]["linear"]
    folder = tmp_path / "large"
    shutil.copytree(tmp_path / "export", folder)
    # A grid of as many features as a manifest may have, in a file of zeros packed to next to nothing.
    grid = manifest["grids"][0]
    grid.update(n_features=1024, quantize_bits=1, feature_bits=[1] * 1024, scale=0.5, offset=-0.25)
    grid["fields"] = [{"word": f // 32, "shift": f % 32, "bits": 1} for f in range(1024)]
    grid.update(format="R32G32B32A32_UINT", files=[f"g_{j}.dds" for j in range(8)])
    linear.update(order=7, cols=64 * 4096)
    manifest["network"]["layers"][0].update(cols=4128, rows=8192)
    manifest["network"]["layers"][1]["cols"] = 8192
    manifest["network"]["inputs"] = 4 * 2 + 4096 + 1 + 11
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    with zipfile.ZipFile(folder / "network_data.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("network.npy", bytes(1000))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="the layers have .* weights, expected at most"):
            NeuralTextureReader(folder)
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()
