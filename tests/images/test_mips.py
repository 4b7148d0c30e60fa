"""Maps are averaged in the space where it is right: linear light, unit vectors, plain data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset import load_texture_set
from tests.images.files import flat, save


def test_max_size_reduces_every_map_and_keeps_the_shape(tmp_path: Path) -> None:
    save(tmp_path / "a_albedo.png", np.tile(np.uint8([[[0] * 3, [255] * 3]]), (8, 8, 1)))
    textures = load_texture_set(tmp_path, max_size=8)
    assert (textures.width, textures.height, len(textures.mips)) == (8, 4, 3)
    assert (textures.mips[0][..., :3] == 188).all()
    assert any("8 x 4" in line for line in textures.notices)
    assert load_texture_set(tmp_path, max_size=16).notices == []


def test_black_and_white_average_in_linear_light_for_diffuse_alone(tmp_path: Path) -> None:
    # Half the light is 0.5 linear: 1.055 * 0.5^(1/2.4) - 0.055 = 0.7354, code 188; as data 127.5, code 128.
    checker = np.uint8([[0, 255], [255, 0]])
    save(tmp_path / "a_albedo.png", checker)
    save(tmp_path / "a_rough.png", checker)
    textures = load_texture_set(tmp_path)
    assert textures.mips[1][0, 0].tolist() == [188, 188, 188, 0, 0, 0, 128, 0, 0, 0, 0]


def test_mips_do_not_accumulate_rounding(tmp_path: Path) -> None:
    # Three of the four first averages are 0.5, rounded 1; the mean of all is 0.375, rounded 0 (of the rounded: 0.75).
    save(tmp_path / "a_height.png", [[1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
    mips = load_texture_set(tmp_path).mips
    assert mips[1][..., 10].tolist() == [[1, 1], [1, 0]]
    assert mips[2][0, 0, 10] == 0


def test_normals_are_averaged_as_vectors_and_renormalised(tmp_path: Path) -> None:
    # (1, 0, 0) and (0, 0, 1), near enough: the mean points half way, at length 1, not at length 0.7.
    save(tmp_path / "a_normal.png", np.uint8([[[255, 128, 128], [128, 128, 255]]] * 2))
    normal = load_texture_set(tmp_path).mips[1][0, 0, 3:6] / 127.5 - 1
    assert normal == pytest.approx([np.sqrt(0.5), 0, np.sqrt(0.5)], abs=0.006)


def test_opposite_normals_do_not_divide_by_zero(tmp_path: Path) -> None:
    save(tmp_path / "a_normal.png", np.uint8([[[255, 0, 255], [0, 255, 0]]] * 2))
    assert load_texture_set(tmp_path).mips[1][0, 0, 3:6].tolist() == [128, 128, 255]


def test_odd_sizes_average_true_areas(tmp_path: Path) -> None:
    # Five texels become two of 2.5 each: (0 + 100 + 200 / 2) / 2.5 = 80 and (200 / 2 + 50 + 250) / 2.5 = 160.
    save(tmp_path / "a_height.png", np.uint8([[0, 100, 200, 50, 250]] * 2))
    textures = load_texture_set(tmp_path)
    assert len(textures.mips) == 2 and textures.mips[1][..., 10].tolist() == [[80, 160]]
    save(tmp_path / "a_height.png", np.uint8([[0, 100, 200, 50, 250]] * 2).T)
    assert load_texture_set(tmp_path).mips[1][..., 10].tolist() == [[80], [160]]


def test_area_average_keeps_the_mean_at_any_size(tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(0, 256, (999, 301), np.uint8)
    save(tmp_path / "a_height.png", values)
    textures = load_texture_set(tmp_path)
    assert [mip.shape[:2] for mip in textures.mips][-2:] == [(7, 2), (3, 1)]
    for mip in textures.mips:
        assert mip[..., 10].mean() == pytest.approx(values.mean(), abs=0.51)


def test_single_texel_has_one_mip(tmp_path: Path) -> None:
    save(tmp_path / "a_albedo.png", flat(1, 1, (1, 2, 3)))
    textures = load_texture_set(tmp_path)
    assert [mip.shape for mip in textures.mips] == [(1, 1, 11)]
    assert textures.mips[0][0, 0, :3].tolist() == [1, 2, 3]
