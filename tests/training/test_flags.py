"""The trainer's command line: every flag, and what is said to bad input."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from configs import SECTIONS, VERSION
from tests.helpers import SHORT, assert_one_line, run_train
from training import flags as cli
from utils.errors import UsageError

# Bad input.


def test_an_unknown_flag_ends_in_one_line_with_exit_code_2(workspace):
    process = run_train("--bogus", "1", cwd=workspace)
    assert process.returncode == 2 and process.stdout == ""
    assert_one_line(process.stderr, "--bogus")


def test_a_file_in_the_way_of_the_output_ends_in_one_line_before_any_work(workspace):
    (workspace / "taken").write_text("")
    process = run_train("--data_dir", "data/test", "--save_dir", "taken/out", *SHORT, cwd=workspace)
    assert process.returncode == 1 and process.stdout == ""
    assert_one_line(process.stderr, "taken")


HUGE = '[{"max_resolution": 16777216}]'
BAD = {
    "save_bits below quantize_bits": (["--save_bits", 8, "--quantize_bits", 16], "save_bits 8", "quantize_bits 16"),
    "quantize_bits of no kind": (["--quantize_bits", 3], "--quantize_bits", "2"),
    "early_stop_interval": (["--early_stop_interval", 25], "early_stop_interval 25", "eval_interval 10"),
    "a word for a number": (["--max_iter", "many"], "--max_iter", "many"),
    "no iterations": (["--max_iter", 0], "max_iter", "at least 1"),
    "a boolean of no kind": (["--early_stop", "maybe"], "--early_stop", "maybe"),
    "a negated flag with a value": (["--no-early_stop", "True"], "--no-early_stop"),
    "a cut flag": (["--max_ite", 3], "--max_ite"),
    "a stray word": (["extra"], "extra"),
    "preset": (["--preset", "best"], "--preset", "quality"),
    "not a number": (["--learning_rate", "nan"], "learning_rate"),
    "infinite": (["--noise_std", "inf"], "noise_std"),
    "a share of more than all": (["--mip_floor", 5], "mip_floor is 5", "at most 1"),
    "negative": (["--learning_rate", "-1"], "learning_rate", "at least 0"),
    "grids of broken JSON": (["--hash_grid_configs", "[{"], "--hash_grid_configs", "JSON"),
    "no grids": (["--hash_grid_configs", "[]"], "hash_grid_configs"),
    "a grid with an unknown key": (["--hash_grid_configs", '[{"bits": 4}]'], "bits", "quantize_bits"),
    "grids of a wrong type": (["--hash_grid_configs", '[{"max_resolution": "8"}]'], "max_resolution", "whole number"),
    "a huge grid": (["--hash_grid_configs", HUGE], "16777216", "16384"),
    "levels that cannot be": (["--hash_grid_configs", '[{"max_resolution": 24, "n_levels": 5}]'], "24", "16"),
    "period": (["--period_cells", 3, "--n_frequencies", 2], "period_cells 3", "4"),
    "weights of nothing": (
        ["--texture_loss_weights", '{"diffuse": 0, "normal": 0, "roughness": 0}'],
        "texture_loss_weights",
    ),
    "weights of an unknown map": (["--texture_loss_weights", '{"glow": 1}'], "glow", "diffuse"),
    "seed": (["--seed", -1], "seed"),
    "a seed of too many bits": (["--seed", 2**70], "seed"),
    "neurons": (["--n_neurons", 20], "n_neurons", "16"),
    "too many octaves": (["--n_frequencies", 17], "n_frequencies", "at most 16"),
    "cells far below a texel": (["--hash_grid_configs", '[{"texels_per_cell": 0.001}]'], "texels_per_cell", "0.015625"),
    "a rate and a quality": (["--target_bpp", 4, "--target_psnr", 30], "target_bpp", "target_psnr"),
    "a rate below the decoder's": (["--target_bpp", 0.5], "target_bpp 0.5", "decoder"),
    "a device that is no device": (["--device", "abacus"], "device is 'abacus'", "cuda:N"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_flags_end_in_one_line_with_exit_code_2(name, call, workspace, tmp_path):
    flags, *words = BAD[name]
    code, out, err = call("--data_dir", workspace / "data" / "test", "--save_dir", tmp_path / "out", *SHORT, *flags)
    assert (code, out) == (2, "")
    assert_one_line(err, *words)
    assert not (tmp_path / "out").exists()


BAD_CONFIGS = {
    "no JSON": ("{", 1),
    "a list": ("[1]", 2),
    "a section of a wrong type": ('{"run": 3}', 2),
    "an unknown section": ('{"rum": {}}', 2),
    "an unknown key": ('{"train": {"iterations": 3}}', 2),
    "a wrong type": ('{"train": {"max_iter": "5"}}', 2),
    "a preset of a wrong type": ('{"run": {"preset": []}}', 2),
    "infinity": ('{"train": {"learning_rate": Infinity}}', 2),
    "no grids": ('{"model": {"hash_grid_configs": null}}', 2),
    "a mode of no kind": ('{"run": {"mode": "dance"}}', 2),
}


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_bad_config_files_end_in_one_line(name, call, tmp_path):
    text, expected = BAD_CONFIGS[name]
    (tmp_path / "settings.json").write_text(text)
    code, _, err = call("--config", tmp_path / "settings.json", "--save_dir", tmp_path / "out")
    assert code == expected
    assert_one_line(err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["missing", "empty", "a file"])
def test_a_folder_without_a_material_ends_in_one_line(name, call, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a file").write_text("")
    code, out, err = call("--data_dir", tmp_path / name, "--save_dir", tmp_path / "out")
    assert (code, out) == (1, "")
    assert_one_line(err, name)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("flags", [["--device", "cuda"], ["--backend", "tcnn"]])
def test_a_gpu_that_is_not_there_is_no_silent_fallback(flags, call, workspace, tmp_path):
    code, _, err = call("--data_dir", workspace / "data" / "test", "--save_dir", tmp_path / "out", *flags)
    assert code == 1
    assert_one_line(err, flags[1], "auto" if flags[1] == "cuda" else "--backend torch")


def test_too_little_memory_ends_in_one_line(call, workspace, tmp_path):
    # More than any address space, so that it fails everywhere at once.
    code, _, err = call(
        "--data_dir", workspace / "data" / "test", "--save_dir", tmp_path / "out", "--n_neurons", 16 * 10**15
    )
    assert code == 1
    assert_one_line(err, "memory")


def test_training_that_diverges_ends_in_one_line_and_exports_nothing(call, workspace, tmp_path):
    code, _, err = call(
        "--data_dir", workspace / "data" / "test", "--save_dir", tmp_path / "out", *SHORT, "--learning_rate", "1e30"
    )
    assert code == 1
    assert_one_line(err, "--learning_rate")
    assert not list(tmp_path.rglob("manifest.json")) and not list(tmp_path.rglob("model.pth"))


# Flags.


@pytest.mark.parametrize(
    "text, value",
    [
        ("--early_stop True", True),
        ("--early_stop true", True),
        ("--early_stop TRUE", True),
        ("--early_stop", True),
        ("--early_stop=True", True),
        ("--early_stop False", False),
        ("--early_stop false", False),
        ("--early_stop=FALSE", False),
        ("--no-early_stop", False),
        ("--no_early_stop", False),
        ("--early_stop False --early_stop", True),
    ],
)
def test_booleans_read_every_spelling(text, value):
    assert cli.make_config(cli.parse_flags(text.split())).train.early_stop is value


def test_every_boolean_setting_can_be_switched_both_ways():
    booleans = [
        field.name for section in SECTIONS.values() for field in dataclasses.fields(section) if field.type == "bool"
    ]
    assert {"groups_batching", "groups_verbose", "quantize", "wrap", "dds_mips", "use_bias"} <= set(booleans)
    for name in booleans:
        assert [cli.parse_flags(argv) for argv in ([f"--{name}"], [f"--{name}", "False"], [f"--no-{name}"])] == [
            {name: True},
            {name: False},
            {name: False},
        ]


def test_the_documented_defaults_hold():
    config = cli.make_config({})
    run, settings, quantize = config.run, config.train, config.quantize
    assert (run.groups_batching, run.groups_batch_dir, run.groups_save_dir) == (False, "data_batch", "save_batch")
    assert (run.groups_max_workers, run.groups_verbose) == (1, False)
    assert (settings.learning_rate, settings.eval_interval, settings.time_budget) == (0.03, 1000, None)
    assert (settings.early_stop, settings.early_stop_interval, settings.early_stop_psnr_threshold) == (True, 5000, 0.01)
    assert (quantize.noise_std, quantize.noise_anneal_fraction, quantize.quantize) == (1.0, 0.8, True)


def test_the_help_names_every_setting(capsys):
    with pytest.raises(SystemExit) as end:
        cli.parse_flags(["--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    for section in SECTIONS.values():
        for field in dataclasses.fields(section):
            assert f"--{field.name}" in text
    assert "hard_gelu" in text and "Octaves of the positional encoding" in text and "default 16384" in text


def test_the_version_is_printed(call):
    code, out, _ = call("--version")
    assert (code, out.strip()) == (0, f"neural-texture {VERSION}")


@pytest.mark.parametrize("text", ["--period_cells none", "--period_cells 0", "--period_cells None"])
def test_none_and_zero_stand_for_no_value(text):
    assert cli.make_config(cli.parse_flags(text.split())).model.period_cells is None


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:1", "mps"])
def test_every_device_can_be_asked_for(name):
    assert cli.make_config(cli.parse_flags(["--device", name])).train.device == name


@pytest.mark.parametrize("name", ["cuda:", "cuda:x", "cpu:0", "gpu", "cuda:1 "])
def test_a_device_of_no_kind_is_refused(name):
    with pytest.raises(UsageError, match="device is .*choose auto, cpu, cuda, cuda:N or mps"):
        cli.make_config({"device": name})


def test_an_unknown_key_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="unknown setting 'quantise_bits'; did you mean quantize_bits"):
        cli.make_config({"preset": "quality", "quantise_bits": 4})
    with pytest.raises(UsageError, match="unknown setting 'xyzzy'"):
        cli.make_config({"xyzzy": 1})
