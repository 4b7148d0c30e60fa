"""Sheets of several materials: every material is there, islands keep apart, and the mask says what is used."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation

from benchmarks.atlas import MASK_NAME, compose, grid_places, island_places, make_atlas
from benchmarks.materials import make_materials
from configs import TEXTURE_CHANNELS
from dataset import channel_slice, load_texture_set
from utils.errors import UsageError, UserError


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return [str(path) for path in make_materials(tmp_path_factory.mktemp("materials"), 64, ["twill", "lacquered_wood"])]


@pytest.mark.parametrize(
    "places", [island_places(256, 3, 8, 0.3, 0), island_places(256, 3, 8, 0.3, 1), grid_places(256, 3, 8)]
)
def test_islands_of_every_material_keep_apart_and_leave_the_border_free(places):
    assert set(np.unique(places)) == {-1, 0, 1, 2}
    assert 0.05 < (places < 0).mean() < 0.7
    for side in (places[:4], places[-4:], places[:, :4], places[:, -4:]):
        assert (side == -1).all()
    for index in range(3):
        near = binary_dilation(places == index, np.ones((5, 5), bool)) & (places != index)
        assert (places[near] == -1).all()


def test_the_same_seed_gives_the_same_sheet_and_another_another_one():
    first, again, other = (island_places(128, 2, 4, 0.2, seed) for seed in (5, 5, 6))
    assert (first == again).all() and (first != other).any()


def test_a_sheet_holds_its_materials_texels_and_neutral_ones_for_maps_that_one_lacks(folders, tmp_path):
    materials = [load_texture_set(folder) for folder in folders]
    folder = make_atlas(tmp_path / "atlas", folders, size=160)
    sheet = load_texture_set(folder)
    used = np.asarray(Image.open(folder / MASK_NAME)) > 0
    assert sheet.present == {name: any(each.present[name] for each in materials) for name in TEXTURE_CHANNELS}
    places = island_places(160, 2, 1, 0.25, 0)
    assert ((places >= 0) == used).all()
    y, x = np.nonzero(places == 1)
    for name in ("diffuse", "roughness", "specular"):
        channels = channel_slice(name)
        assert (sheet.mips[0][y, x][:, channels] == materials[1].mips[0][y % 64, x % 64][:, channels]).all()
    # Lacquered wood has neither occlusion nor heights.
    assert set(sheet.mips[0][y, x, channel_slice("occlusion").start]) == {255}
    y, x = np.nonzero(~used)
    assert set(map(tuple, sheet.mips[0][y, x][:, :6])) == {(0, 0, 0, 128, 128, 255)}


def test_a_grid_of_one_material_is_that_material_repeated(folders):
    textures = load_texture_set(folders[0])
    maps = compose([textures], grid_places(128, 1, 0))
    assert (maps["diffuse"] == np.tile(textures.mips[0][..., :3], (2, 2, 1))).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [({"size": 32}, "--size 32"), ({"idle": 1.0}, "--idle 1"), ({"size": 128, "gutter": 64}, "--gutter 64")],
)
def test_numbers_that_cannot_be_are_refused(folders, tmp_path, options, words):
    with pytest.raises(UsageError, match=words):
        make_atlas(tmp_path / "atlas", folders, **options)
    assert not (tmp_path / "atlas").exists()


def test_a_folder_that_is_no_material_is_refused_before_anything_is_written(tmp_path, folders):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError):
        make_atlas(tmp_path / "atlas", [*folders, str(tmp_path / "empty")], size=64)
    assert not (tmp_path / "atlas").exists()
