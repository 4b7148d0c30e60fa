"""The sampler: every texel in turn, the promised share for every mip, targets that match, an exact restart."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from configs import N_CHANNELS, HashGridConfig, ModelConfig
from dataset import TextureSet
from images.mips import mip_count, mip_size
from model.grids.cells import AlignedCells
from model.grids.lookup import TilePlanner
from model.layout import model_layout
from model.texture import NeuralTexture
from tests.model.plain_rendering import run_tiles
from training.sampler import TileSampler, mip_probabilities

CPU = torch.device("cpu")
TYPES = ("diffuse", "normal", "roughness", "occlusion", "metallic", "specular", "displacement")
CHANNELS = [0, 1, 2, 6, 10]


def make_sampler(width=64, height=64, *, seed=0, tile_size=8, batch_size=512, mip_floor=0.02, wrap=True, grids=None):
    random = np.random.default_rng(1)
    mips = [
        random.integers(0, 256, (*reversed(mip_size(width, height, mip)), N_CHANNELS), np.uint8)
        for mip in range(mip_count(width, height))
    ]
    texture_set = TextureSet("noise", width, height, mips, dict.fromkeys(TYPES, True), "opengl", {}, [])
    model = ModelConfig(wrap=wrap, **({"hash_grid_configs": grids} if grids else {}))
    layout = model_layout(model, width, height)
    sampler = TileSampler(
        texture_set,
        layout,
        CHANNELS,
        batch_size=batch_size,
        tile_size=tile_size,
        mip_floor=mip_floor,
        seed=seed,
        device=CPU,
    )
    return sampler, texture_set, layout


def n_texels(group):
    return group.x.shape[0] * group.x.shape[1] * group.y.shape[1]


def count_texels(sampler, draws):
    """How often each texel [H, W] of each mip was drawn, after each of a number of draws."""
    every = np.zeros(len(sampler.texels), int)
    counts = [
        every[start : start + width * height].reshape(height, width)
        for start, (width, height) in zip(sampler.starts, sampler.sizes)
    ]
    for _ in range(draws):
        batch = sampler.draw()
        weights = np.ones(len(batch.targets)) if batch.texel_weights is None else batch.texel_weights[:, 0]
        np.add.at(every, batch.targets[weights > 0], 1)
        yield counts


GATHER_4 = [
    HashGridConfig(max_resolution=16, quantize_bits=4, interpolation="gather"),
    HashGridConfig(max_resolution=8),
]


@pytest.mark.parametrize("grids", [None, GATHER_4])
@pytest.mark.parametrize("size", [(64, 64), (64, 16)])
def test_every_texel_of_a_mip_comes_once_before_any_comes_again(size, grids):
    sampler, _, _ = make_sampler(*size, grids=grids)
    for counts in count_texels(sampler, 120):
        assert all(count.max() - count.min() <= 1 for count in counts)
    assert all(count.min() >= 1 for count in counts) and counts[0].min() >= 10


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("size", [(20, 12), (64, 64), (33, 47), (9, 40)])
def test_sizes_that_tiles_do_not_divide_are_covered_in_every_round(size, wrap):
    sampler, _, _ = make_sampler(*size, wrap=wrap)
    rounds = 0
    for counts in count_texels(sampler, 200):
        per_round = [-(-width // 8) + (not wrap and width > 8) for width in size]
        rounds = sampler.drawn[0] // (per_round[0] * per_round[1])
        assert counts[0].min() >= rounds
    assert rounds >= 10 and all(count.min() >= 1 for count in counts)


def test_the_tiles_of_two_rounds_lie_differently():
    sampler, _, _ = make_sampler(16, 16, batch_size=256)
    offsets = {
        (group.x[0, 0] % 8, group.y[0, 0] % 8) for _ in range(20) for group in sampler.draw().groups if group.mip == 0
    }
    assert len(offsets) > 5


def test_tiles_wrap_only_where_the_material_does():
    crossed = {}
    for wrap in (True, False):
        sampler, _, _ = make_sampler(40, 24, wrap=wrap)
        groups = [group for _ in range(60) for group in sampler.draw().groups]
        assert all(group.x.min() >= 0 and group.y.min() >= 0 for group in groups)
        crossed[wrap] = any(group.x.max() >= sampler.sizes[group.mip][0] for group in groups)
        assert all((np.diff(group.x) == 1).all() and (np.diff(group.y) == 1).all() for group in groups)
    assert crossed == {True: True, False: False}


@pytest.mark.parametrize("wrap", [True, False])
def test_targets_are_the_images_texels_in_the_order_of_the_tiles(wrap):
    sampler, texture_set, _ = make_sampler(40, 24, wrap=wrap)
    for _ in range(30):
        batch = sampler.draw()
        groups, target = batch.groups, sampler.texels[batch.targets]
        assert target.dtype == torch.uint8 and target.shape == (sum(n_texels(group) for group in groups), len(CHANNELS))
        expected = []
        for group in groups:
            (width, height), image = sampler.sizes[group.mip], texture_set.mips[group.mip]
            expected += [
                image[y % height, x % width, CHANNELS] for xs, ys in zip(group.x, group.y) for y in ys for x in xs
            ]
        assert np.array_equal(target.numpy(), np.array(expected))


def test_a_mip_smaller_than_a_tile_comes_whole():
    sampler, _, _ = make_sampler(64, 32, tile_size=16)
    seen = set()
    for _ in range(200):
        for group in sampler.draw().groups:
            width, height = sampler.sizes[group.mip]
            assert group.x.shape[1] == min(16, width) and group.y.shape[1] == min(16, height)
            if width <= 16:
                assert sorted(group.x[0] % width) == list(range(width))
            seen.add(group.mip)
    assert seen == set(range(6))


def test_a_single_texel_can_be_drawn():
    sampler, texture_set, _ = make_sampler(1, 1)
    batch = sampler.draw()
    assert [n_texels(group) for group in batch.groups] == [1]
    assert sampler.texels[batch.targets][0].tolist() == texture_set.mips[0][0, 0, CHANNELS].tolist()


@pytest.mark.parametrize("floor", [0, 0.02, 0.1, 0.2, 1])
def test_mips_share_the_draws_by_area_but_at_least_the_floor(floor):
    sizes = [(64, 32), (32, 16), (16, 8), (8, 4), (4, 2), (2, 1)]
    probabilities = mip_probabilities(sizes, floor)
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities.min() >= min(floor, 1 / 6) - 1e-12
    free = probabilities > min(floor, 1 / 6) + 1e-9
    area = np.array([width * height for width, height in sizes])
    assert np.allclose(probabilities[free] / probabilities[free].sum(), area[free] / area[free].sum())
    assert (np.diff(probabilities) <= 1e-12).all()


def test_drawn_texels_follow_the_shares_and_the_batch_size():
    sampler, _, _ = make_sampler(128, 128, batch_size=2048, mip_floor=0.05)
    texels = np.zeros(len(sampler.sizes))
    for _ in range(600):
        groups = sampler.draw().groups
        # A mip that is smaller than its part of the step is drawn whole, so the step may be smaller, never larger.
        assert 0.9 * 2048 * sampler.probabilities[0] < sum(n_texels(group) for group in groups) <= 1.05 * 2048
        for group in groups:
            texels[group.mip] += n_texels(group)
    large = slice(0, 3)
    share = texels[large] / texels[large].sum()
    assert share == pytest.approx(sampler.probabilities[large] / sampler.probabilities[large].sum(), rel=0.2)
    assert (texels > 0).all()


def test_a_restored_sampler_goes_on_with_the_same_tiles():
    whole, _, _ = make_sampler()
    for _ in range(13):
        whole.draw()
    other, _, _ = make_sampler()
    other.load_state(whole.state())
    for _ in range(40):
        batch, again = whole.draw(), other.draw()
        assert np.array_equal(batch.targets, again.targets)
        for ours, theirs in zip(batch.groups, again.groups, strict=True):
            assert ours.mip == theirs.mip and (ours.x == theirs.x).all() and (ours.y == theirs.y).all()


def test_a_saved_state_does_not_move_on_with_its_sampler():
    sampler, _, _ = make_sampler()
    state = sampler.state()
    copy = {name: list(value) if isinstance(value, list) else value for name, value in state.items()}
    sampler.draw()
    assert state == copy


def test_the_seed_decides_the_tiles():
    firsts = [make_sampler(seed=seed)[0].draw().groups[0].x.tolist() for seed in (0, 0, 1)]
    assert firsts[0] == firsts[1] != firsts[2]


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("size", [(64, 64), (64, 32), (128, 64)])
def test_tiles_over_gathered_grids_start_on_cell_borders_of_both_axes(size, wrap):
    sampler, _, layout = make_sampler(*size, grids=GATHER_4, wrap=wrap)
    planner = TilePlanner(layout)
    for _ in range(40):
        for tiles in planner.look_up([group for group in sampler.draw().groups if group.mip == 0]):
            assert isinstance(tiles.grids[0].cells, AlignedCells)
            assert tiles.grids[0].cells.texels == (size[1] // 16, size[0] // 16)


@pytest.mark.parametrize("size", [(64, 64), (64, 32), (20, 12)])
def test_texels_outside_of_a_clamped_material_have_no_weight_and_the_others_have_one_in_all(size):
    sampler, _, _ = make_sampler(*size, grids=GATHER_4, wrap=False)
    outside = 0
    for _ in range(60):
        batch = sampler.draw()
        inside = np.concatenate(
            [
                np.ravel(
                    ((y >= 0) & (y < sampler.sizes[group.mip][1]))[:, None]
                    & ((x >= 0) & (x < sampler.sizes[group.mip][0]))
                )
                for group in batch.groups
                for x, y in zip(group.x, group.y)
            ]
        )
        outside += (~inside).sum()
        if batch.texel_weights is None:
            assert inside.all()
            continue
        assert batch.texel_weights.mean() == pytest.approx(1, abs=1e-5)
        assert ((batch.texel_weights[:, 0] > 0) == inside).all()
        assert np.ptp(batch.texel_weights[inside]) == 0
    assert (outside > 0) == (size[0] % 16 == 0)


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("tile_size", [3, 6, 8, 10, 64])
@pytest.mark.parametrize("size", [(64, 64), (48, 40), (64, 32)])
@torch.no_grad()
def test_drawn_tiles_decode_to_the_texels_that_a_whole_mip_has_there(size, tile_size, wrap):
    sampler, _, layout = make_sampler(*size, tile_size=tile_size, grids=GATHER_4, wrap=wrap)
    layout = dataclasses.replace(layout, n_frequencies=0)
    texture = NeuralTexture(layout, CHANNELS, CPU, torch.Generator().manual_seed(0))
    mips = [texture.decode(mip) for mip in range(layout.mips)]
    for _ in range(25):
        groups = sampler.draw().groups
        values = run_tiles(texture, groups, True)[0].split([n_texels(group) for group in groups])
        for group, texels in zip(groups, values):
            width, height = sampler.sizes[group.mip]
            for tile, x, y in zip(texels.view(len(group.x), group.y.shape[1], group.x.shape[1], -1), group.x, group.y):
                rows, columns = (
                    np.ones(len(at), bool) if wrap else (at >= 0) & (at < size)
                    for at, size in ((y, height), (x, width))
                )
                expected = mips[group.mip][y[rows] % height][:, x[columns] % width]
                torch.testing.assert_close(tile[rows][:, columns], expected, rtol=1e-4, atol=1e-5)
