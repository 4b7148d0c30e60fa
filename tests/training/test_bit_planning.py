"""Bits shared out among the features of a material: words without gaps, and bits given by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dataset import load_texture_set
from model.transform import MOST_BITS, share_bits
from tests.helpers import make_material
from training import flags as cli
from training.bit_planning import fill_words, share_texel_bits
from training.session import planned_config


def falling_errors(n, seed):
    """Errors of components like those of images: about a quarter with each bit, never more with more bits."""
    random = np.random.default_rng(seed)
    errors = np.sort(random.lognormal(0, 3, n))[::-1, None] * random.uniform(0.2, 0.7, (n, MOST_BITS)).cumprod(1)
    return np.concatenate([errors[:, :1] * random.uniform(1, 4, (n, 1)), errors], 1)


@pytest.mark.parametrize("seed", range(4))
def test_bits_are_all_given_and_no_other_place_of_a_bit_would_help(seed):
    errors = falling_errors(30, seed)
    for total in (1, 16, 64):
        bits = share_bits(errors, total)
        assert sum(bits) == total and min(bits) >= 0 and max(bits) <= MOST_BITS
    # Along convex errors the greedy choice is the best one: no bit that is moved lowers their sum.
    convex = np.sort(np.exp2(-2.0 * np.arange(MOST_BITS + 1)) * errors[:, :1])[:, ::-1]
    bits = share_bits(convex, 64)
    lost = [convex[k, b - 1] - convex[k, b] for k, b in enumerate(bits) if b]
    gained = [convex[k, b] - convex[k, b + 1] for k, b in enumerate(bits) if b < MOST_BITS]
    assert max(gained) <= min(lost)


def test_bits_that_would_not_help_are_not_given():
    errors = np.array([[1.0, 0.2, *[0.0] * 7], [0.0] * 9])
    assert share_bits(errors, 64) == [2, 0]


def test_a_step_of_several_bits_is_taken_where_the_first_one_gains_nothing():
    errors = np.array([[1.0, 1.0, 1.0, 0.0, *[0.0] * 5], [0.1, *[0.0] * 8]])
    assert share_bits(errors, 4) == [3, 1]


@pytest.mark.parametrize("n_bits", [1, 8, 16, 32, 64, 96, 128])
def test_features_fill_words_without_a_gap(n_bits):
    random = np.random.default_rng(n_bits)
    for _ in range(50):
        bits = random.integers(0, MOST_BITS + 1, random.integers(0, 60)).tolist()
        filled = fill_words(bits, n_bits)
        assert sum(filled) == n_bits and all(1 <= count <= MOST_BITS for count in filled)
        ends = np.cumsum(filled)
        starts = ends - filled
        assert (starts // 32 == (ends - 1) // 32).all()


def test_bits_that_fit_are_kept_as_they_are():
    assert sorted(fill_words([8, 5, 4, 4, 3, 3, 2, 2, 1], 32)) == sorted([8, 5, 4, 4, 3, 3, 2, 2, 1])


@pytest.fixture(scope="module")
def texture_set(tmp_path_factory):
    return load_texture_set(make_material(tmp_path_factory.mktemp("planning") / "wall"))


@pytest.mark.parametrize("preset", ["quality", "realtime"])
def test_texel_bits_are_shared_out_the_same_on_every_call(preset, texture_set):
    config = cli.make_config({"preset": preset})
    assert all(grid.feature_bits is None for grid in config.model.hash_grid_configs)
    planned = planned_config(config, texture_set)
    for before, after in zip(config.model.hash_grid_configs, planned.model.hash_grid_configs, strict=True):
        assert sum(after.feature_bits) == before.texel_bits == after.texel_bits
    assert planned == planned_config(config, texture_set)
    # What is shared out already stays.
    assert all(grid.feature_bits for grid in planned.model.hash_grid_configs)
    assert share_texel_bits(planned.model, texture_set) is planned.model


@pytest.mark.parametrize("preset", ["quality", "realtime"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_bits_given_by_hand_are_those_of_all_features(preset, bits, texture_set):
    own = cli.make_config({"preset": preset}).model.hash_grid_configs
    for flags, totals in (
        ({"quantize_bits": bits}, [grid.texel_bits for grid in own]),
        ({"quantize_bits": bits, "save_bits": 16}, [16] * len(own)),
    ):
        planned = planned_config(cli.make_config({"preset": preset, **flags}), texture_set)
        assert [grid.bits for grid in planned.model.hash_grid_configs] == [(bits,) * (n // bits) for n in totals]


def test_bits_of_a_texel_given_by_hand_are_shared_out(texture_set):
    planned = planned_config(cli.make_config({"preset": "realtime", "save_bits": 16}), texture_set)
    assert [sum(grid.bits) for grid in planned.model.hash_grid_configs] == [16]
