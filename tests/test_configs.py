"""The settings: types and ranges, what is said where they do not fit, and values that follow from others."""

from __future__ import annotations

import copy
import dataclasses
import json
import typing

import pytest

from configs import (
    ACTIVATION_NAMES,
    PRESETS,
    SECTIONS,
    TEXTURE_CHANNELS,
    Config,
    ConfigError,
    HashGridConfig,
    ModelConfig,
    RunConfig,
    TextureType,
    TrainConfig,
    config_from_dict,
    config_to_dict,
    effective_early_stop_interval,
    validate,
)

UNFIT = {
    "a text for a whole number": ({"train": {"max_iter": "5"}}, "max_iter is '5', expected a whole number"),
    "a switch for a whole number": ({"train": {"max_iter": True}}, "max_iter is True, expected a whole number"),
    "a fraction for a whole number": ({"train": {"max_iter": 5.0}}, "max_iter is 5.0, expected a whole number"),
    "a text for a number": ({"train": {"learning_rate": "1"}}, "learning_rate is '1', expected a number"),
    "a number for a switch": ({"train": {"early_stop": 1}}, "early_stop is 1, expected true or false"),
    "a number for a text": ({"run": {"data_dir": 1}}, "data_dir is 1, expected text"),
    "too few": ({"train": {"batch_size": 0}}, "batch_size is 0, expected at least 1"),
    "too many": ({"model": {"n_frequencies": 17}}, "n_frequencies is 17, expected at most 16"),
    "not above": ({"quantize": {"noise_anneal_fraction": 0}}, "noise_anneal_fraction is 0, expected more than 0"),
    "below zero": ({"train": {"time_budget": -1}}, "time_budget is -1, expected more than 0"),
    "infinite": ({"train": {"learning_rate": float("inf")}}, "learning_rate is inf; give a finite number"),
    "no choice": ({"model": {"activation": "swish"}}, "activation is 'swish'; choose none, relu, leaky_relu"),
    "an unknown key": ({"train": {"iterations": 3}}, "unknown setting 'iterations' in train; known are max_iter, "),
    "an unknown section": ({"rum": {}}, "unknown section 'rum'; known are run, model"),
    "an unknown key of a grid": (
        {"model": {"hash_grid_configs": [{}, {"bits": 4}]}},
        "unknown setting 'bits' in hash_grid_configs[1]; known are max_resolution, ",
    ),
    "bits of a grid": (
        {"model": {"hash_grid_configs": [{}, {"quantize_bits": 3}]}},
        "hash_grid_configs[1].quantize_bits is 3; choose 2, 4, 8 or 16",
    ),
    "a text for a grid's number": (
        {"model": {"hash_grid_configs": [{"max_resolution": "8"}]}},
        "hash_grid_configs[0].max_resolution is '8', expected a whole number",
    ),
    "no grids": ({"model": {"hash_grid_configs": []}}, "hash_grid_configs is empty; give at least one"),
    "a number for a grid": ({"model": {"hash_grid_configs": [3]}}, "hash_grid_configs[0] is 3, expected an object"),
    "an unknown map": (
        {"train": {"texture_loss_weights": {"glow": 1}}},
        "texture_loss_weights has 'glow'; known are diffuse, normal, ",
    ),
    "a weight below zero": (
        {"train": {"texture_loss_weights": {"normal": -1}}},
        "texture_loss_weights.normal is -1, expected at least 0",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_does_not_fit_is_one_line_with_the_name_what_was_found_and_what_is_expected(name):
    values, words = UNFIT[name]
    with pytest.raises(ConfigError) as caught:
        config_from_dict(values)
    assert str(caught.value).startswith(words) and "\n" not in str(caught.value)


def test_whole_numbers_stand_for_numbers():
    assert config_from_dict({"train": {"learning_rate": 1}}).train.learning_rate == 1.0


def test_zeros_and_empty_texts_of_older_records_mean_none():
    config = config_from_dict(
        {
            "run": {"config": "", "load_dir": ""},
            "train": {"time_budget": 0.0},
            "model": {
                "target_bpp": 0.0,
                "target_psnr": 0,
                "period_cells": 0,
                "hash_grid_configs": [{"max_resolution": 0, "n_levels": 0}],
            },
        }
    )
    (grid,) = config.model.hash_grid_configs
    assert (
        config.run.config,
        config.run.load_dir,
        config.train.time_budget,
        config.model.target_bpp,
        config.model.target_psnr,
        config.model.period_cells,
        grid.max_resolution,
        grid.n_levels,
    ) == (None,) * 8


def test_settings_survive_json_copies_and_replacement():
    config = config_from_dict({**PRESETS["quality"], "train": {"seed": 7}})
    assert config_from_dict(json.loads(json.dumps(config_to_dict(config)))) == config
    assert copy.deepcopy(config) == config
    changed = dataclasses.replace(config, train=dataclasses.replace(config.train, seed=8))
    assert (changed.train.seed, config.train.seed) == (8, 7) and changed != config


def test_what_was_given_by_hand_is_kept_but_not_recorded():
    config = Config(given=frozenset({"seed"}))
    assert dataclasses.replace(config, train=TrainConfig(seed=1)).given == {"seed"}
    assert set(config_to_dict(config)) == set(SECTIONS) and config == Config()


def test_lists_of_names_agree():
    choices = typing.get_type_hints(RunConfig)["preset"]
    assert set(typing.get_args(choices)) == set(PRESETS)
    assert typing.get_args(TextureType) == tuple(TEXTURE_CHANNELS)
    assert ModelConfig().activation in ACTIVATION_NAMES
    assert {field.name: field.type for field in dataclasses.fields(Config)}.keys() == {*SECTIONS, "given"}


def test_the_decoders_learning_rate_follows_the_optimiser():
    assert [TrainConfig(optimizer=name).learning_rate for name in ("muon", "adam")] == [0.03, 0.005]
    assert TrainConfig(optimizer="adam", learning_rate=0.1).learning_rate == 0.1
    assert config_from_dict({"train": {"optimizer": "adam"}}).train.learning_rate == 0.005


@pytest.mark.parametrize(
    "settings, interval",
    [
        ({}, 2000),
        ({"max_iter": 40000}, 5000),
        ({"eval_interval": 1500}, 1500),
        ({"max_iter": 100}, 1000),
        ({"max_iter": 100, "eval_interval": 10}, 20),
        ({"early_stop": False}, 5000),
        ({"time_budget": 5.0}, 5000),
        ({"early_stop_interval": 4000}, 4000),
        ({"early_stop_interval": 4000, "eval_interval": 1500}, 1500),
    ],
)
def test_an_interval_of_early_stop_that_was_not_given_can_act(settings, interval):
    assert effective_early_stop_interval(Config(train=TrainConfig(**settings))) == interval


def test_an_interval_of_early_stop_that_was_given_holds():
    given = frozenset({"early_stop_interval"})
    assert effective_early_stop_interval(Config(given=given)) == 5000
    unfit = Config(train=TrainConfig(early_stop_interval=25, eval_interval=10), given=given)
    with pytest.raises(ConfigError, match="early_stop_interval 25 .* eval_interval 10"):
        validate(unfit)


@pytest.mark.parametrize(
    "model, words",
    [
        (ModelConfig(target_bpp=1.0, target_psnr=30.0), ("target_bpp", "target_psnr")),
        (
            ModelConfig(hash_grid_configs=[HashGridConfig(), HashGridConfig(quantize_bits=16, save_bits=8)]),
            ("save_bits 8", "quantize_bits 16", "grid 1"),
        ),
        (ModelConfig(n_neurons=20), ("n_neurons is 20", "16")),
    ],
)
def test_settings_that_cannot_both_hold_are_named_together(model, words):
    with pytest.raises(ConfigError) as caught:
        validate(Config(model=model))
    assert all(word in str(caught.value) for word in words)
