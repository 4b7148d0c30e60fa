"""How a run's settings come together: precedence, config files, runs given back, and settings that depend on others."""

from __future__ import annotations

import json
import os

import pytest

from configs import SECTIONS, Config, config_to_dict, effective_early_stop_interval
from training import flags as cli
from training.combinations import ineffective, ineffective_on_material
from utils.errors import UsageError


def test_later_sources_of_a_setting_win(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text('{"model": {"n_neurons": 48, "activation": "silu"}, "train": {"batch_size": 77}}')
    flags = cli.parse_flags(["--preset", "quality", "--config", str(path), "--activation", "relu", "--save_bits", "64"])
    config = cli.make_config(flags)
    preset = cli.make_config({"preset": "quality"})
    assert (config.model.n_neurons, config.model.activation, config.train.batch_size) == (48, "relu", 77)
    assert config.model.use_bias and [grid.save_bits for grid in config.model.hash_grid_configs] == [64, 64]
    assert config.model.n_frequencies == preset.model.n_frequencies != Config().model.n_frequencies


def write(path, values):
    path.write_text(json.dumps(values), encoding="utf-8")
    return str(path)


@pytest.fixture
def record(tmp_path):
    """Write a run's config.json as a run of these flags would, and return its name."""

    def write_record(name="record.json", **flags):
        return write(tmp_path / name, config_to_dict(cli.make_config(flags)) | {"lineage": [], "version": "0.1"})

    return write_record


# Records of runs.


def test_a_record_gives_settings_and_folders_but_not_what_was_done(tmp_path, record):
    path = record(groups_batching=True, data_dir=str(tmp_path / "wall"), save_dir="there", seed=5, preset="quality")
    values = json.loads((tmp_path / "record.json").read_text("utf-8"))
    values["run"].update(mode="infer", load_dir="a run", load_iter=3)
    write(tmp_path / "record.json", values)
    run = cli.run_settings({"config": path})
    assert (run.mode, run.load_dir, run.load_iter, run.groups_batching) == ("train", None, None, False)
    config = cli.make_config({"config": path, "max_iter": 20000})
    assert config.run == run and config.run.config == path
    assert (config.run.data_dir, config.run.save_dir, config.run.preset) == (str(tmp_path / "wall"), "there", "quality")
    assert (config.train.seed, config.train.max_iter, config.model.n_neurons) == (5, 20000, 64)


def test_a_preset_that_contradicts_a_record_is_refused_by_both_names(record):
    path = record(preset="quality")
    assert cli.make_config({"config": path, "preset": "quality"}).run.preset == "quality"
    with pytest.raises(UsageError, match="--preset ue5 contradicts .*record.json.* preset quality"):
        cli.make_config({"config": path, "preset": "ue5"})


def test_a_config_file_written_by_hand_can_say_what_to_do(tmp_path):
    path = write(tmp_path / "mine.json", {"run": {"mode": "infer", "load_dir": "a run", "preset": "mobile"}})
    run = cli.run_settings({"config": path, "preset": "ue5"})
    assert (run.mode, run.load_dir, run.preset) == ("infer", "a run", "ue5")


def test_the_material_is_recorded_with_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data_dir = cli.make_config({"data_dir": os.path.join("data", "..", "wall")}).run.data_dir
    assert data_dir == str(tmp_path / "wall")


# What ends a run.


def test_max_iter_given_by_hand_takes_a_presets_time_budget_away():
    assert cli.make_config({"preset": "fast"}).train.time_budget == 18
    train = cli.make_config({"preset": "fast", "max_iter": 300}).train
    assert (train.max_iter, train.time_budget) == (300, None)


def test_max_iter_and_time_budget_given_together_are_refused_by_both_names():
    with pytest.raises(UsageError, match="--max_iter 300 and --time_budget 5 exclude each other"):
        cli.make_config({"max_iter": 300, "time_budget": 5.0})
    assert cli.make_config({"max_iter": 300, "time_budget": None}).train.max_iter == 300


def test_of_file_and_flags_the_later_decides_what_ends_a_run(tmp_path, record):
    clock, steps = record("clock.json", time_budget=7.0), record("steps.json", max_iter=50, eval_interval=10)
    assert cli.make_config({"config": clock}).train.time_budget == 7
    assert cli.make_config({"config": clock, "max_iter": 80}).train.time_budget is None
    assert cli.make_config({"config": steps, "time_budget": 9.0}).train.time_budget == 9
    mine = write(tmp_path / "mine.json", {"train": {"max_iter": 60}})
    assert cli.make_config({"preset": "fast", "config": mine}).train.time_budget is None


def test_a_run_on_the_clock_goes_on_by_iterations_where_max_iter_is_given(tmp_path):
    saved = config_to_dict(cli.make_config({"time_budget": 5.0, "eval_interval": 100}))
    assert cli.resume_config(saved, {}, tmp_path).train.time_budget == 5
    config = cli.resume_config(saved, {"max_iter": 4000}, tmp_path)
    assert (config.train.time_budget, config.train.max_iter) == (None, 4000)
    assert effective_early_stop_interval(config) == 800
    with pytest.raises(UsageError, match="--max_iter 4000 and --time_budget 9"):
        cli.resume_config(saved, {"max_iter": 4000, "time_budget": 9.0}, tmp_path)


def test_evaluations_at_other_intervals_do_not_ask_for_another_early_stop(tmp_path, record):
    assert cli.make_config({"eval_interval": 2000}).train.eval_interval == 2000
    assert cli.make_config({"eval_interval": 2000, "early_stop_interval": 3000, "early_stop": False})
    assert cli.make_config({"eval_interval": 2000, "early_stop_interval": 3000, "time_budget": 5.0})
    with pytest.raises(UsageError, match="early_stop_interval 3000 .* eval_interval 2000"):
        cli.make_config({"eval_interval": 2000, "early_stop_interval": 3000})
    path = record(early_stop_interval=2000)
    assert cli.make_config({"config": path, "eval_interval": 1500}).train.eval_interval == 1500
    saved = config_to_dict(cli.make_config({"early_stop_interval": 3000}))
    assert effective_early_stop_interval(cli.resume_config(saved, {}, tmp_path)) == 3000
    assert effective_early_stop_interval(cli.resume_config(saved, {"eval_interval": 2000}, tmp_path)) == 2000


def test_an_early_stop_that_was_not_given_follows_the_length_of_the_next_run(tmp_path, record):
    path = record(max_iter=40)
    saved = json.loads((tmp_path / "record.json").read_text("utf-8"))
    assert saved["train"]["early_stop_interval"] == 5000
    for config in (
        cli.make_config({"config": path, "max_iter": 20000}),
        cli.resume_config({name: saved[name] for name in saved if name in SECTIONS}, {"max_iter": 20000}, tmp_path),
    ):
        assert effective_early_stop_interval(config) == 4000


def test_a_run_that_goes_on_refuses_another_seed_and_decoding_alone_does_not(tmp_path):
    saved = config_to_dict(cli.make_config({"seed": 3}))
    assert cli.resume_config(saved, {"seed": 3}, tmp_path).train.seed == 3
    with pytest.raises(UsageError, match="--seed 5 contradicts .*, trained with seed 3; leave it out"):
        cli.resume_config(saved, {"seed": 5}, tmp_path)
    config = cli.resume_config(saved, {"mode": "infer", "load_dir": "x", "seed": 5}, tmp_path)
    assert ineffective(config) == ["seed has no effect with mode infer"]


# Optimisers.


def test_another_optimiser_brings_its_own_learning_rate(record):
    path = record()
    assert json.loads(open(path, encoding="utf-8").read())["train"]["learning_rate"] == 0.03
    assert cli.make_config({"optimizer": "adam"}).train.learning_rate == 0.005
    assert cli.make_config({"config": path, "optimizer": "adam"}).train.learning_rate == 0.005
    assert cli.make_config({"config": path, "optimizer": "muon"}).train.learning_rate == 0.03
    assert cli.make_config({"optimizer": "adam", "learning_rate": 0.02}).train.learning_rate == 0.02


def test_of_file_and_flags_the_later_says_what_the_grids_are_chosen_for(record):
    model = cli.make_config({"config": record(target_bpp=4.0), "target_psnr": 30.0}).model
    assert (model.target_bpp, model.target_psnr) == (None, 30)
    with pytest.raises(UsageError, match="target_bpp and target_psnr exclude each other"):
        cli.make_config({"target_bpp": 4.0, "target_psnr": 30.0})


# Settings beside others.


@pytest.mark.parametrize(
    "flags, words",
    [
        ({"position_order": 1}, ("position_order 1", "interpolation bilinear")),
        (
            {"preset": "quality", "position_order": 2, "interpolation": "bilinear"},
            ("position_order 2", "interpolation"),
        ),
        ({"period_cells": 4}, ("period_cells 4", "n_frequencies 0")),
        ({"phases": 2}, ("phases 2", "n_frequencies 0")),
        (
            {"target_bpp": 5.0, "hash_grid_configs": [{}, {"max_resolution": 64}]},
            ("target_bpp 5", "max_resolution 64", "grid 1"),
        ),
        ({"target_psnr": 30.0, "hash_grid_configs": [{"max_resolution": 64}]}, ("target_psnr 30", "max_resolution 64")),
    ],
)
def test_a_setting_that_needs_another_one_is_refused_by_both_names(flags, words):
    with pytest.raises(UsageError) as caught:
        cli.make_config(flags)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    "flags",
    [
        {"preset": "quality", "interpolation": "bilinear"},
        {"preset": "quality", "n_frequencies": 0},
        {"position_order": 0},
        {"phases": 1},
        {"preset": "quality", "position_order": 2},
    ],
)
def test_what_a_preset_brings_along_or_means_none_is_never_refused(flags):
    assert ineffective(cli.make_config(flags)) == []


def test_a_record_with_a_target_and_the_grids_chosen_for_it_is_no_contradiction(record, tmp_path):
    path = record(target_bpp=5.0)
    values = json.loads((tmp_path / "record.json").read_text("utf-8"))
    values["model"]["hash_grid_configs"][0]["max_resolution"] = 64
    write(tmp_path / "record.json", values)
    assert cli.make_config({"config": path}).model.target_bpp == 5


@pytest.mark.parametrize(
    "flags, words",
    [
        ({"quantize": False, "noise_std": 0.5}, ["noise_std", "quantize False"]),
        ({"noise_std": 0.0, "noise_anneal_fraction": 0.5}, ["noise_anneal_fraction", "noise_std 0"]),
        ({"early_stop": False, "early_stop_interval": 100}, ["early_stop_interval", "early_stop False"]),
        ({"time_budget": 5.0, "early_stop_psnr_threshold": 0.1}, ["early_stop_psnr_threshold", "time_budget 5"]),
        ({"early_stop_interval": 5000}, ["early_stop_interval", "max_iter 10000"]),
        ({"groups_max_workers": 2}, ["groups_max_workers", "groups_batching"]),
        ({"groups_batching": True, "data_dir": "x"}, ["data_dir", "groups_batching"]),
        (
            {"mode": "infer", "load_dir": "x", "max_iter": 5, "report": False, "dds_mips": False, "storage": "rgba8"},
            ["max_iter, report have", "mode infer"],
        ),
        ({"mode": "infer", "load_dir": "x", "save_dir": "y"}, ["save_dir", "mode infer"]),
        ({"load_dir": "x", "start": "random"}, ["start", "checkpoint"]),
        ({"n_hidden_layers": 0, "activation": "relu", "n_neurons": 32}, ["activation, n_neurons", "n_hidden_layers 0"]),
        ({"storage": "true_rate"}, ["storage", "true_rate", "quantize_bits 4"]),
        ({"hash_grid_configs": [{"max_resolution": 64, "texels_per_cell": 3}]}, ["texels_per_cell", "max_resolution"]),
    ],
)
def test_a_setting_given_by_hand_without_effect_is_named_in_a_note(flags, words):
    (line,) = ineffective(cli.make_config(flags))
    assert all(word in line for word in words)


def test_settings_with_an_effect_are_in_no_note():
    assert ineffective(cli.make_config({})) == []
    assert (
        ineffective(
            cli.make_config(
                {"mode": "infer", "load_dir": "x", "data_dir": "y", "device": "cpu", "n_neurons": 16, "quantize": True}
            )
        )
        == []
    )
    assert ineffective(cli.make_config({"mode": "infer", "load_dir": "x", "dds_mips": False})) == []
    assert ineffective(cli.make_config({"storage": "true_rate", "quantize_bits": 4, "n_neurons": 32})) == []
    assert ineffective(cli.make_config({"seed": 3, "early_stop_interval": 1000, "noise_std": 0.5})) == []


def test_what_a_file_written_by_hand_gives_counts_as_given_and_a_record_does_not(tmp_path, record):
    mine = write(tmp_path / "mine.json", {"train": {"max_iter": 60, "time_budget": 5.0}})
    assert ineffective(cli.make_config({"config": mine})) == ["max_iter has no effect with time_budget 5"]
    assert ineffective(cli.make_config({"config": record(time_budget=5.0)})) == []


@pytest.mark.parametrize(
    "flags, words",
    [
        ({"texture_loss_weights": {"metallic": 2, "normal": 2}}, ["texture_loss_weights", "for metallic:"]),
        ({"mip_floor": 0.5}, ["mip_floor 0.5", "5 mips", "0.2"]),
        ({"batch_size": 16, "tile_size": 64}, ["batch_size 16", "tile_size 64", "64 x 32 texels"]),
        ({"tile_size": 512, "batch_size": 2000}, ["batch_size 2000", "tile_size 512", "64 x 32 texels"]),
    ],
)
def test_a_setting_that_the_material_leaves_without_effect_is_named_in_a_note(flags, words):
    present = {"diffuse": True, "normal": True, "metallic": False}
    (line,) = ineffective_on_material(cli.make_config(flags), present, 64, 32, 5)
    assert all(word in line for word in words)


def test_what_the_material_has_and_a_step_can_hold_is_in_no_note():
    flags = {"texture_loss_weights": {"normal": 2}, "mip_floor": 0.2, "batch_size": 2048, "tile_size": 512}
    assert ineffective_on_material(cli.make_config(flags), {"normal": True}, 64, 32, 5) == []
    assert ineffective_on_material(cli.make_config({}), {"normal": True}, 512, 512, 8) == []
