"""Baseline codecs: exact sizes, decoded maps close to the reference, odd sizes, missing packages."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from baselines.block_codecs import reconstruct_z
from baselines.cache import ResultCache
from baselines.codec import pack_textures
from baselines.codecs import CODECS, choose_codecs
from baselines.results import measure_baselines
from benchmarks.materials import make_materials
from dataset import load_texture_set
from formats.bc7 import bc7_encoder
from reporting.metrics import material_psnr
from tests.baselines.textures import ALL, material, run
from utils.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
BY_INTEL = "ispc-texcomp" in bc7_encoder()
DATA = ROOT.parent / "shared" / "data"


@pytest.mark.parametrize(
    "name, size_bytes, fetched",
    [
        ("bc7:linear", 3 * 16 * 16 * 16, 48),
        ("bc7:perceptual", 3 * 16 * 16 * 16, 48),
        ("bc7+bc5", 3 * 16 * 16 * 16, 48),
        ("bc7+bc4", 2 * 16 * 16 * 16 + 3 * 16 * 16 * 8, 56),
        ("astc:4x4", 3 * 16 * 16 * 16, 48),
        ("astc:6x6", 3 * 11 * 11 * 16, 48),
        ("astc:12x12", 3 * 6 * 6 * 16, 48),
    ],
)
def test_block_codecs_have_the_size_that_their_blocks_add_up_to(name, size_bytes, fetched):
    result = run(material(64, 64), name)
    assert (result.size_bytes, result.bytes_fetched_per_texel, result.random_access) == (size_bytes, fetched, True)


@pytest.mark.parametrize(
    "name, least_db",
    [
        ("bc7", 40 if BY_INTEL else 38),
        ("bc7:thorough", 40 if BY_INTEL else 38),
        ("bc7+bc5", 36),
        ("bc7+bc4", 38),
        ("astc:4x4", 38),
        ("astc:6x6-thorough", 36),
        ("jxl:q90", 34),
        ("avif:q90", 34),
    ],
)
@pytest.mark.parametrize("width, height", [(64, 64), (37, 21)])
def test_every_map_decodes_close_to_the_reference_in_its_own_channels(name, least_db, width, height):
    textures = material(width, height)
    result = run(textures, name)
    psnr = material_psnr(textures.mips[0], result.decoded, textures.present)
    assert result.decoded.shape == (height, width, 11) and result.decoded.dtype == np.uint8
    assert min(psnr.values()) > least_db, psnr
    assert not result.decoded[..., 8:10].any()


@pytest.mark.parametrize(
    "name, size_bytes", [("bc7", 3 * 10 * 6 * 16), ("bc7+bc4", (2 * 16 + 3 * 8) * 10 * 6), ("astc:5x5", 3 * 8 * 5 * 16)]
)
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
        [6],
        [7],
        [8],
        [9],
        [10],
    ]


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


@pytest.mark.parametrize(
    "name, overall_db, bpp",
    [
        ("bc7:perceptual", 38.66, 32.0),
        ("bc7+bc5:perceptual", 41.54, 32.0),
        ("bc7", 43.44 if BY_INTEL else 38.96, 32.0),
        ("bc7+bc5", 45.53 if BY_INTEL else 41.64, 32.0),
        ("astc:6x6", 35.39, 14.22),
    ],
)
def test_a_procedural_material_gives_the_known_figures(name, overall_db, bpp, tmp_path):
    assert_figures(load_texture_set(make_materials(tmp_path, 192, ["tiles"])[0]), name, overall_db, bpp)


if (DATA / "Ground068").is_dir():

    @pytest.mark.parametrize(
        "name, overall_db, bpp",
        [
            ("bc7", 35.93 if BY_INTEL else 33.31, 24.0),
            ("bc7+bc5", 33.15 if BY_INTEL else 32.87, 24.0),
            ("bc7:perceptual", 32.62, 24.0),
            ("bc7+bc5:perceptual", 32.71, 24.0),
            ("astc:6x6", 30.33, 10.71),
        ],
    )
    def test_a_photographed_material_gives_the_published_figures(name, overall_db, bpp):
        assert_figures(load_texture_set(DATA / "Ground068"), name, overall_db, bpp)
