"""Slopes tell which way green points and whether heights are upside down, or that they cannot tell."""

from __future__ import annotations

import numpy as np
import pytest

from images.depth import peak
from images.relief import LEAST_ERRORS, Agreement, Relief, agreement, channels_are_apart, correlation, read_relief
from images.resampling import area_average
from images.samples import BLOCKS, TILE, levels, tiles
from tests.images.surfaces import as_jpeg, coded, heights, normals


@pytest.mark.parametrize("directx", [False, True])
@pytest.mark.parametrize("roughness", [0.8, 1.5, 2.5])
@pytest.mark.parametrize("quality", [None, 95, 75])
def test_normals_alone_tell_their_convention(directx: bool, roughness: float, quality: int | None) -> None:
    texels = coded(normals(heights(roughness=roughness), directx=directx))
    texels = texels if quality is None else as_jpeg(texels, quality)
    assert read_relief(texels).directx.sign == (1 if directx else -1)


@pytest.mark.parametrize("directx", [False, True])
@pytest.mark.parametrize("upside_down", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_heights_and_normals_tell_convention_and_direction(directx: bool, upside_down: bool, bits: int) -> None:
    height = heights(seed=3)
    texels = coded(normals(height, directx=directx, noise=1.0))
    stored = coded(-height if upside_down else height, bits)[..., None]
    found = read_relief(texels, stored)
    assert found.directx.sign == (1 if directx else -1) and found.by_height
    assert found.upright.sign == (-1 if upside_down else 1) and found.by_normals


@pytest.mark.parametrize("directx", [False, True])
def test_grooves_of_one_direction_are_told_by_normals_and_heights_together(directx: bool) -> None:
    """Where nothing changes along x, red says nothing of heights, and only the direction of green would be a guess."""
    rows = np.repeat(heights(seed=4)[:, :1], 256, 1)
    found = read_relief(coded(normals(rows, directx=directx)), coded(rows)[..., None])
    assert found.directx.sign == 0 and found.upright.sign == 0


@pytest.mark.parametrize("size", [(128, 128), (512, 512), (256, 128), (200, 150)])
def test_heights_of_another_size_are_compared(size: tuple[int, int]) -> None:
    height = heights(seed=5, roughness=2)
    small = area_average(height[..., None].astype(np.float32), *size, None) if min(size) < 256 else None
    stored = small if small is not None else np.kron(height, np.ones((2, 2)))[..., None].astype(np.float32)
    found = read_relief(coded(normals(height, directx=True)), -stored)
    assert (found.directx.sign, found.upright.sign) == (1, -1)


def test_occlusion_tells_which_heights_are_deep() -> None:
    height = heights(seed=6)
    occlusion = coded(np.minimum(height, 0))[..., None]
    for upside_down in (False, True):
        found = read_relief(None, coded(-height if upside_down else height)[..., None], occlusion)
        assert found.upright.sign == (-1 if upside_down else 1) and not found.by_normals


@pytest.mark.parametrize("seed", range(8))
def test_red_and_green_that_have_nothing_to_do_with_each_other_do_not_tell(seed: int) -> None:
    p, q = normals(heights(seed=seed)), normals(heights(seed=seed + 100))
    mixed = np.stack([p[..., 0], q[..., 0], np.sqrt(np.maximum(1 - p[..., 0] ** 2 - q[..., 0] ** 2, 0))], 2)
    assert read_relief(coded(mixed)).directx.sign == 0


@pytest.mark.parametrize("quality", [40, 60, 75, 90])
@pytest.mark.parametrize("slope", [0.02, 0.05, 0.2])
@pytest.mark.parametrize("angle", [0.8, 1.3, 2.4])
def test_colour_at_half_resolution_never_turns_the_answer(quality: int, slope: float, angle: float) -> None:
    """JPEG mixes the detail of red and green, which looks like one convention where all grooves go one way."""
    height = heights(seed=7, roughness=0.9, angle=angle)
    for directx in (False, True):
        found = read_relief(as_jpeg(coded(normals(height, directx=directx, slope=slope)), quality))
        assert found.directx.sign in (0, 1 if directx else -1)


def test_detail_that_an_encoder_mixed_is_known() -> None:
    texels = coded(normals(heights(seed=8)))
    assert channels_are_apart(tiles(texels, 1))
    assert not channels_are_apart(tiles(as_jpeg(texels, 90), 1))


def test_normals_of_any_length_tell() -> None:
    vectors = normals(heights(seed=11), directx=True) * np.random.default_rng(1).uniform(0.5, 1, (256, 256, 1))
    assert read_relief(coded(vectors)).directx.sign == 1


def test_flat_normals_have_no_convention() -> None:
    flat = np.full((64, 64, 3), (128, 128, 255), np.uint8)
    found = read_relief(flat)
    assert found.is_flat and found.directx.sign == 0


def test_one_loud_block_is_no_evidence() -> None:
    field = 0.01 * np.random.default_rng(2).standard_normal((64, 8, 8))
    other = 0.01 * np.random.default_rng(3).standard_normal((64, 8, 8))
    field[5], other[5] = 3, 3
    value, errors = correlation(field, other)
    assert value > 0.9 and errors < LEAST_ERRORS


def test_correlation_of_a_field_with_itself_and_with_its_negative_and_with_nothing() -> None:
    field = np.random.default_rng(4).standard_normal((64, 6, 6))
    assert correlation(field, 2 * field)[0] == pytest.approx(1)
    assert correlation(field, -field)[0] == pytest.approx(-1)
    assert correlation(field, 0 * field) == (0.0, 0.0)


def test_resolutions_that_contradict_each_other_do_not_tell() -> None:
    field = np.random.default_rng(5).standard_normal((64, 6, 6))
    assert agreement([(field, field)]).sign == 1
    assert agreement([(field, field), (field, -field)]).sign == 0
    assert agreement([]) == Agreement()


def test_heights_that_contradict_the_normals_do_not_tell() -> None:
    yes, no = Agreement(1, 0.9), Agreement(-1, -0.9)
    assert Relief(curl=no, along=yes, down=yes).directx.sign == 0
    assert Relief(curl=yes, along=yes, down=yes).directx.sign == 1
    assert Relief(curl=no, down=no).upright.sign == 1
    assert Relief(along=yes, shade=no).upright.sign == 0


@pytest.mark.parametrize("size", [(4096, 4096), (3000, 500), (1024, 666), (100, 700), (33, 40)])
def test_no_more_is_looked_at_of_a_large_map(size: tuple[int, int]) -> None:
    texels = np.zeros((size[1], size[0], 1), np.uint8)
    found = levels([texels])
    assert found
    for level in found:
        (block,) = level.blocks
        assert len(block) == BLOCKS**2 and max(block.shape[1:3]) <= TILE and min(block.shape[1:3]) >= 4


def test_levels_are_area_averages_at_any_depth() -> None:
    texels = np.random.default_rng(6).integers(0, 65535, (512, 512, 2), np.uint16)
    level = next(level for level in levels([texels]) if level.texels == 4)
    block = texels[64:128, 128:192].astype(float).reshape(16, 4, 16, 4, 2).mean((1, 3)) / peak(texels)
    assert level.blocks[0][1 * BLOCKS + 2] == pytest.approx(block, abs=1e-6)


def test_a_map_too_small_for_slopes_has_no_level() -> None:
    assert levels([np.zeros((31, 500, 3), np.uint8)]) == []
    assert read_relief(np.random.default_rng(7).integers(0, 255, (16, 16, 3), np.uint8)).directx.sign == 0
