"""Mips as materials of their own: which there are, and what an export spends on each."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from baselines.results import texture_fetches
from benchmarks import rate_distortion
from benchmarks.mips import measured_mips, mip_rates, mip_textures
from dataset import load_texture_set
from formats.manifest import find_export
from formats.reader import NeuralTextureReader
from tests.baselines.textures import material


def test_mips_end_at_sixteen_texels():
    assert measured_mips(1024, 1024) == [1, 2, 3, 4, 5, 6]
    assert measured_mips(1024, 64) == [1, 2] and measured_mips(31, 31) == [] == measured_mips(8, 8)
    assert measured_mips(100, 70) == [1, 2]


def test_a_mip_is_a_material_of_its_own(tmp_path):
    Image.fromarray(material(64, 48).mips[0][..., :3]).save(tmp_path / "m_albedo.png")
    textures = load_texture_set(tmp_path)
    part = mip_textures(textures, 1)
    assert (part.width, part.height, len(part.mips)) == (32, 24, 1)
    assert np.array_equal(part.mips[0], textures.mips[1]) and part.fingerprint != textures.fingerprint


def test_rates_of_mips_count_every_byte_once(finished):
    export = find_export(finished[1])
    manifest = NeuralTextureReader(export).manifest
    rates = mip_rates(manifest)
    texels = [max(manifest["width"] >> mip, 1) * max(manifest["height"] >> mip, 1) for mip in range(manifest["mips"])]
    bits = sum(rate * count for rate, count in zip(rates, texels))
    files = [path for path in export.iterdir() if path.suffix in (".dds", ".npz")]
    assert bits == pytest.approx(8 * sum(path.stat().st_size for path in files), abs=8)
    # The decoder is counted for all mips, so the finest has a little less than all of the finest levels' files.
    assert 0 < manifest["bpp"] - rates[0] < manifest["bpp"] / 2


def test_a_level_that_two_mips_read_is_shared_by_their_texels():
    grid = {
        "files": ["hash_grid_0.dds"],
        "format": "R8G8B8A8_UNORM",
        "base_resolution": 4,
        "n_features": 4,
        "quantize_bits": 8,
        "interpolation": "gather",
    }
    manifest = {"width": 16, "height": 16, "mips": 3, "mip_levels": [[1], [1], [0]], "grids": [grid], "bpp_mips": 10.0}
    rates = mip_rates(manifest)
    left = 10 * 256 - 32 * (64 + 16)
    assert rates == pytest.approx(
        [32 * 64 / (256 + 64) + left / 336, 32 * 64 / (256 + 64) + left / 336, 32 + left / 336]
    )


@pytest.mark.parametrize(
    ("interpolation", "more", "fetches"),
    [
        ("gather", {}, 8),
        ("bilinear", {}, 2),
        ("bilinear", {"fields": [{"word": 0, "shift": 0, "bits": 4}]}, 8),
        ("bilinear", {"curve_offset": 0}, 8),
    ],
)
def test_fetches_are_four_taps_where_the_sampler_does_not_blend(interpolation, more, fetches):
    grid = {"files": ["a.dds", "b.dds"], "interpolation": interpolation, **more}
    assert texture_fetches({"grids": [grid]}) == fetches


def test_the_benchmark_measures_every_mip_of_a_trained_run(tmp_path, capsys):
    source = tmp_path / "waves"
    source.mkdir()
    image = material(64, 64).mips[0]
    Image.fromarray(image[..., :3]).save(source / "waves_albedo.png")
    Image.fromarray(image[..., 6]).save(source / "waves_rough.png")
    arguments = ["--data_dir", str(source), "--out", str(tmp_path / "out"), "--presets", "ue5", "--bpp", "10"]
    arguments += ["--time_budget", "4", "--codecs", "astc", "klt4:5", "klt8:5", "--mips"]
    assert rate_distortion.main(arguments) == 0
    text = capsys.readouterr().out
    assert "## Mips" in text and "below bound" in text
    records = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["records"]
    ours = {record["mip"]: record for record in records if record["codec"] == "neural-ue5"}
    assert sorted(ours) == [0, 1, 2] and (ours[2]["width"], ours[2]["height"]) == (16, 16)
    assert ours[1]["psnr"]["overall"] > 10 and ours[0]["fetches_per_texel"] == 2
    assert {record["codec"] for record in records if record["mip"] == 1} >= {"bound", "astc", "neural-ue5"}
    # 64 x 64 texels have too few blocks of 8 x 8 to tell what they have in common.
    assert all(record["bound_side"] < 8 for record in records)
    assert not [record for record in records if record["codec"] == "klt8" and record["mip"]]
    assert (tmp_path / "out" / "rate_distortion_waves.svg").read_text("utf-8").count('<g id="line2d') > 10
    assert rate_distortion.main(arguments) == 0
    assert capsys.readouterr().out.count("(kept)") == sum(record["codec"] != "bound" for record in records)
