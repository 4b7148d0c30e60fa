"""Baseline codecs: exact sizes, decoded maps close to the reference, odd sizes, and their place in the benchmark."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from baselines.bjontegaard import bd_psnr, bd_rate, psnr_at, rising_curve
from baselines.block_codecs import reconstruct_z
from baselines.cache import ResultCache
from baselines.codec import pack_textures
from baselines.codecs import CODECS, choose_codecs
from baselines.results import measure, measure_baselines
from baselines.summary import curves_of, summary_table
from benchmarks import rate_distortion
from benchmarks.materials import make_materials
from benchmarks.toolkit import newest_run
from dataset import TextureSet, load_texture_set
from formats.manifest import find_export
from reporting.metrics import channel_ranges, material_psnr
from utils.errors import UsageError, UserError

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
ALL = ("diffuse", "normal", "roughness", "occlusion", "metallic", "specular", "displacement")


def material(width, height, maps=("diffuse", "normal", "roughness", "occlusion", "displacement"), name="waves"):
    """A smooth texture set of the given size; every channel differs from the others."""
    y, x = np.mgrid[:height, :width] / 32
    image = np.zeros((height, width, 11), np.uint8)
    for map_name, channels in channel_ranges().items():
        for channel in range(channels.start, channels.stop) if map_name in maps else ():
            image[..., channel] = 128 + 100 * np.sin(x * (1 + channel / 9) + channel) * np.cos(y * (1 + channel / 5))
    if "normal" in maps:
        vector = np.stack([np.sin(3 * x) * 0.4, np.cos(2 * y) * 0.4, np.ones_like(x)], axis=-1)
        vector /= np.linalg.norm(vector, axis=-1, keepdims=True)
        image[..., 3:6] = np.round((vector + 1) * 127.5)
    return TextureSet(name, width, height, [image], {kind: kind in maps for kind in ALL}, "opengl", {}, [])


def run(textures, name):
    codec, setting = choose_codecs([name])[0]
    if codec.missing():
        pytest.skip(codec.missing())
    return codec.run(textures, setting)


@pytest.mark.parametrize("name, size_bytes, fetched", [
    ("bc7:linear", 3 * 16 * 16 * 16, 48), ("bc7:perceptual", 3 * 16 * 16 * 16, 48), ("bc7+bc5", 3 * 16 * 16 * 16, 48),
    ("bc7+bc4", 2 * 16 * 16 * 16 + 3 * 16 * 16 * 8, 56), ("astc:4x4", 3 * 16 * 16 * 16, 48),
    ("astc:6x6", 3 * 11 * 11 * 16, 48), ("astc:12x12", 3 * 6 * 6 * 16, 48)])
def test_block_codecs_have_the_size_that_their_blocks_add_up_to(name, size_bytes, fetched):
    result = run(material(64, 64), name)
    assert (result.size_bytes, result.bytes_fetched_per_texel, result.random_access) == (size_bytes, fetched, True)


@pytest.mark.parametrize("name, least_db", [
    ("bc7", 38), ("bc7:thorough", 38), ("bc7+bc5", 36), ("bc7+bc4", 38), ("astc:4x4", 38), ("astc:6x6-thorough", 36),
    ("jxl:q90", 34), ("avif:q90", 34)])
@pytest.mark.parametrize("width, height", [(64, 64), (37, 21)])
def test_every_map_decodes_close_to_the_reference_in_its_own_channels(name, least_db, width, height):
    textures = material(width, height)
    result = run(textures, name)
    psnr = material_psnr(textures.mips[0], result.decoded, textures.present)
    assert result.decoded.shape == (height, width, 11) and result.decoded.dtype == np.uint8
    assert min(psnr.values()) > least_db, psnr
    assert not result.decoded[..., 8:10].any()


@pytest.mark.parametrize("name, size_bytes", [("bc7", 3 * 10 * 6 * 16), ("bc7+bc4", (2 * 16 + 3 * 8) * 10 * 6),
                                              ("astc:5x5", 3 * 8 * 5 * 16)])
def test_odd_sizes_cost_whole_blocks(name, size_bytes):
    assert run(material(37, 21), name).size_bytes == size_bytes


@pytest.mark.parametrize("maps, blocks", [(("roughness",), 1), (("roughness", "metallic"), 1), (ALL, 4)])
@pytest.mark.parametrize("name", ["bc7", "astc:4x4", "jxl:q90"])
def test_any_number_of_scalar_maps_is_packed_three_to_a_texture(maps, blocks, name):
    textures = material(32, 32, maps)
    result = run(textures, name)
    assert min(material_psnr(textures.mips[0], result.decoded, textures.present).values()) > 33
    if result.random_access:
        assert result.size_bytes == blocks * 8 * 8 * 16


def test_scalars_are_packed_in_canonical_order_after_diffuse_and_normal():
    textures = material(8, 8, ALL)
    packed = pack_textures(textures.mips[0], textures.present)
    assert [texture.channels for texture in packed] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10]]
    assert [texture.channels for texture in pack_textures(textures.mips[0], textures.present, 1)][2:] == [
        [6], [7], [8], [9], [10]]


def test_a_single_texel_goes_through_every_codec():
    for name in ("bc7", "bc7+bc5", "bc7+bc4", "astc:12x12"):
        textures = material(1, 1)
        difference = np.abs(textures.mips[0].astype(int) - run(textures, name).decoded)
        assert difference.max() <= 12, name


def test_reconstructed_normals_have_unit_length_where_x_and_y_allow_it():
    normals = reconstruct_z(np.array([[[128, 128], [179, 77], [255, 255]]], np.uint8))[0]
    vectors = normals / 127.5 - 1
    assert np.linalg.norm(vectors[:2], axis=1) == pytest.approx(1, abs=0.01)
    assert normals[2, 2] == 128


def test_an_unknown_codec_or_setting_is_refused_by_name():
    with pytest.raises(UsageError, match="no codec is called bc9"):
        choose_codecs(["bc9"])
    with pytest.raises(UsageError, match="no setting 7x7"):
        choose_codecs(["astc:7x7"])
    assert [setting for _, setting in choose_codecs(["astc"])] == list(CODECS["astc"].settings)


def test_what_compare_shows_by_default_needs_no_development_package():
    required = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    shown = [codec for codec in CODECS.values() if codec.random_access]
    assert {"bc7", "bc7+bc5", "astc"} <= {codec.name for codec in shown}
    for package in (package for codec in shown for package in codec.packages.values()):
        assert f"\n{package}>=" in required, package


def test_a_codec_whose_package_is_missing_is_left_out_with_one_line(tmp_path, monkeypatch, capsys):
    absent = dataclasses.replace(CODECS["bc7"], packages={"no_such_module": "no-such-package"})
    monkeypatch.setitem(CODECS, "bc7", absent)
    assert measure_baselines(material(16, 16), ["bc7", "bc7:thorough"], ResultCache(tmp_path)) == []
    assert capsys.readouterr().out.count("BC7 is left out: pip install no-such-package") == 1


def assert_figures(textures, name, overall_db, bpp):
    result = run(textures, name)
    psnr = material_psnr(textures.mips[0], result.decoded, textures.present)
    assert psnr["overall"] == pytest.approx(overall_db, abs=0.1)
    assert 8 * result.size_bytes / (textures.width * textures.height) == pytest.approx(bpp, abs=0.01)


@pytest.mark.parametrize("name, overall_db, bpp", [("bc7:perceptual", 38.66, 32.0), ("bc7+bc5:perceptual", 40.57, 32.0),
                                                   ("bc7", 38.96, 32.0), ("astc:6x6", 35.39, 14.22)])
def test_a_procedural_material_gives_the_known_figures(name, overall_db, bpp, tmp_path):
    assert_figures(load_texture_set(make_materials(tmp_path, 192, ["tiles"])[0]), name, overall_db, bpp)


if (DATA / "Ground068").is_dir():
    @pytest.mark.parametrize("name, overall_db, bpp", [
        ("bc7:perceptual", 32.62, 24.0), ("bc7+bc5:perceptual", 32.71, 24.0), ("astc:6x6", 30.33, 10.71)])
    def test_a_photographed_material_gives_the_published_figures(name, overall_db, bpp):
        assert_figures(load_texture_set(DATA / "Ground068"), name, overall_db, bpp)


def test_bjontegaard_differences_of_shifted_curves_are_the_shift():
    anchor = [(2.0, 28.0), (4.0, 32.0), (8.0, 35.0), (16.0, 37.0)]
    assert bd_psnr(anchor, [(bpp, psnr + 1.5) for bpp, psnr in anchor]) == pytest.approx(1.5)
    assert bd_rate(anchor, [(bpp * 0.8, psnr) for bpp, psnr in anchor]) == pytest.approx(-20)
    assert bd_rate(anchor, [(bpp * 2, psnr) for bpp, psnr in anchor]) == pytest.approx(100)


def test_bjontegaard_differences_take_the_overlap_alone():
    # Straight lines in log rate: PCHIP reproduces them, and the mean over [2, 4] is worked by hand.
    anchor, test = [(1.0, 30.0), (4.0, 34.0)], [(2.0, 33.0), (8.0, 39.0)]
    assert bd_psnr(anchor, test) == pytest.approx(((33 - 32) + (36 - 34)) / 2)
    assert bd_psnr(anchor, [(5.0, 33.0), (8.0, 39.0)]) is None
    assert bd_rate(anchor, [(2.0, 33.0)]) is None


def test_curves_drop_points_that_a_cheaper_one_beats():
    assert rising_curve([(4, 30), (2, 31), (8, 33), (8, 32)]) == [(2, 31), (8, 33)]
    assert psnr_at([(2, 30), (8, 34)], 4) == pytest.approx(32)
    assert psnr_at([(2, 30), (8, 34)], 9) is None


def test_identical_output_is_null_in_json_and_identical_in_the_table():
    textures = material(16, 16, ("roughness",))
    result = run(textures, "bc7")
    result.decoded = textures.mips[0].copy()
    record = json.loads(json.dumps(measure(textures, result), allow_nan=False))
    assert record["psnr"] == {"overall": None, "roughness": None}
    assert record["ssim"]["roughness"] == pytest.approx(1) and record["normal_angle_deg"] is None
    assert summary_table([record]).rows[0][2] == float("inf")


def test_kept_results_are_used_for_the_same_images_alone(tmp_path):
    cache, calls = ResultCache(tmp_path), []

    def get(textures):
        def encode():
            calls.append(textures.name)
            result = run(textures, "bc7")
            return measure(textures, result), result.decoded
        return cache.get(textures, "bc7", "linear", encode)

    textures = material(16, 16)
    first, kept = get(textures)
    again, kept_again = get(textures)
    assert (kept, kept_again, again, len(calls)) == (False, True, first, 1)
    assert np.array_equal(cache.decoded(first), run(textures, "bc7").decoded)
    textures.mips[0][0, 0, 0] ^= 255
    assert get(textures)[1] is False and len(calls) == 2


def test_the_newest_run_and_its_last_export_are_found(tmp_path):
    for run_name, iterations in (("2025-01-31-12-00-00", (500,)), ("2025-02-01-09-00-00", (500, 1000))):
        for iteration in iterations:
            folder = tmp_path / run_name / "models" / f"train_result_{iteration}"
            folder.mkdir(parents=True)
            (folder / "manifest.json").write_text("{}")
    (tmp_path / "tensorboard").mkdir()
    newest = newest_run(tmp_path)
    assert newest.name == "2025-02-01-09-00-00"
    assert find_export(newest).name == "train_result_1000"
    assert find_export(newest, 500).name == "train_result_500"
    assert find_export(find_export(newest)) == find_export(newest)
    with pytest.raises(UsageError, match="500, 1000"):
        find_export(newest, 7)
    with pytest.raises(UserError, match="no run folder"):
        newest_run(tmp_path / "tensorboard")


def test_the_benchmark_writes_json_plots_tables_and_a_report_and_resumes(tmp_path, capsys):
    from PIL import Image
    source = tmp_path / "waves"
    source.mkdir()
    image = material(48, 40).mips[0]
    Image.fromarray(image[..., :3]).save(source / "waves_albedo.png")
    Image.fromarray(image[..., 6]).save(source / "waves_rough.png")
    arguments = ["--data_dir", str(source), "--out", str(tmp_path / "out"), "--presets", "--codecs", "bc7", "astc"]
    assert rate_distortion.main(arguments) == 0
    assert "(kept)" not in capsys.readouterr().out
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert [record["codec"] for record in results["records"]] == ["bc7"] + ["astc"] * 6
    assert len({tuple(record) for record in results["records"]}) == 1, "records differ in their schema"
    for name in ("report.html", "summary.md", "rate_distortion_waves.svg", "crops/waves_worst.png",
                 "crops/waves_typical.png"):
        assert (tmp_path / "out" / name).stat().st_size > 500, name
    assert rate_distortion.main(arguments) == 0
    assert capsys.readouterr().out.count("(kept)") == 7


@pytest.mark.parametrize("choice, cause", [
    (["--presets", "no_such_preset"], "no_such_preset"),
    (["--presets", "ue5", "--flags", '{"n_neurons": 15}'], "n_neurons is 15")])
def test_a_training_that_fails_is_named_and_keeps_the_baselines(choice, cause, tmp_path, capsys):
    from PIL import Image
    (tmp_path / "m").mkdir()
    Image.fromarray(material(16, 16).mips[0][..., :3]).save(tmp_path / "m" / "m_albedo.png")
    code = rate_distortion.main(["--data_dir", str(tmp_path / "m"), "--out", str(tmp_path / "out"), *choice, "--bpp",
                                 "5", "--time_budget", "1", "--codecs", "bc7"])
    errors = capsys.readouterr().err
    assert code == 1 and cause in errors and "train.log" in errors
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert [record["codec"] for record in results["records"]] == ["bc7"]
    assert rate_distortion.toolkit_setting(5, 60, {"batch_size": 8}) != rate_distortion.toolkit_setting(5, 60)


def test_trainings_of_other_length_lie_on_other_curves():
    def record(codec, label, bpp, psnr_db):
        return {"material": "m", "codec": codec, "label": label, "bpp": bpp, "psnr": {"overall": psnr_db},
                "random_access": True}
    records = [record("astc", "ASTC 4x4", 8.0, 40.0), record("astc", "ASTC 8x8", 2.0, 30.0),
               record("neural-quality", "neural quality 5 bpp 60 s", 4.6, 38.0),
               record("neural-quality", "neural quality 10 bpp 60 s", 10.3, 42.0),
               record("neural-quality", "neural quality 5 bpp 600 s", 4.6, 39.0)]
    assert curves_of(records) == {"astc": [(2.0, 30.0), (8.0, 40.0)],
                                  "neural quality 60 s": [(4.6, 38.0), (10.3, 42.0)],
                                  "neural quality 600 s": [(4.6, 39.0)]}
