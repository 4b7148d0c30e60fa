"""Going on from a checkpoint: bit for bit, with the same settings alone, and not from damaged files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from dataset import load_texture_set
from tests.helpers import (
    ON,
    SHORT,
    assert_export_agrees,
    assert_one_line,
    assert_same_training,
    make_material,
    run_folder,
    run_train,
)
from training import flags as cli
from training.checkpoint import load_checkpoint
from training.session import open_session


def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(finished, workspace):
    _, folder = finished
    process = run_train(
        *f"--mode train --load_iter 20 --load_dir outputs/{folder.name} --save_dir resumed".split(), cwd=workspace
    )
    assert process.returncode == 0 and process.stderr == ""
    other = run_folder(workspace / "resumed")
    assert json.loads((other / "config.json").read_text())["lineage"] == [str(Path("outputs") / folder.name)]
    assert not (other / "models" / "train_result_20").exists()
    whole, resumed = (load_checkpoint(path / "models" / "train_result_40" / "model.pth") for path in (folder, other))
    assert [entry["iteration"] for entry in resumed.history] == [10, 20, 30, 40]
    assert (
        resumed.training_time_s > load_checkpoint(folder / "models" / "train_result_20" / "model.pth").training_time_s
    )
    assert_same_training(whole, resumed)
    for name in ("hash_grid_0.dds", "hash_grid_1_1.dds", "network_data.npz"):
        ours, theirs = (path / "models" / "train_result_40" / name for path in (folder, other))
        assert ours.read_bytes() == theirs.read_bytes()


def assert_same_files(first, second):
    """What readers of two exports decode is the same, byte for byte."""
    names = sorted(path.name for path in first.iterdir() if path.suffix in (".dds", ".npz"))
    assert len(names) > 1
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


@pytest.mark.parametrize(
    "flags",
    [
        ["--preset", "quality"],
        ["--preset", "realtime"],
        ["--preset", "realtime", "--wrap", "False", "--network_precision", "float32", "--optimizer", "adam"],
        ["--optimizer", "adam", "--wrap", "False"],
        ["--no-quantize"],
        ["--precision", "float32", "--noise_std", "0"],
    ],
)
def test_resuming_is_exact_with_other_models_and_optimisers(flags, call, workspace, tmp_path):
    code, _, err = call("--data_dir", workspace / "data" / "test", "--save_dir", tmp_path / "out", *SHORT, *ON, *flags)
    assert (code, err) == (0, "")
    folder = run_folder(tmp_path / "out")
    code, _, err = call("--load_dir", folder, "--load_iter", 20, "--save_dir", tmp_path / "resumed")
    assert (code, err) == (0, "")
    newest = [path / "models" / "train_result_40" for path in (folder, run_folder(tmp_path / "resumed"))]
    assert_same_training(*(load_checkpoint(path / "model.pth") for path in newest))
    assert_same_files(*newest)
    if flags[0] == "--preset":
        assert_export_agrees(newest[0], workspace / "data" / "test")


def test_a_run_of_mixed_bits_repeats_to_the_byte_and_differs_by_seed(call, workspace, tmp_path):
    runs = []
    for index, seed in enumerate((0, 0, 1)):
        flags = ["--preset", "realtime", *SHORT, "--max_iter", 6, "--deterministic", "--no-report", "--seed", seed]
        code, _, err = call("--data_dir", workspace / "data" / "test", "--save_dir", tmp_path / str(index), *flags)
        assert (code, err) == (0, "")
        runs.append(run_folder(tmp_path / str(index)) / "models" / "train_result_6")
    assert_same_files(*runs[:2])
    same, other = ((run / "network_data.npz").read_bytes() for run in runs[1:])
    assert same != other


def test_training_differs_by_seed_and_repeats_without_one(call, workspace, tmp_path):
    networks = []
    for index, seed in enumerate((0, 0, 1)):
        out = tmp_path / str(index)
        assert (
            call("--data_dir", workspace / "data" / "test", "--save_dir", out, *SHORT, "--max_iter", 4, "--seed", seed)[
                0
            ]
            == 0
        )
        networks.append(load_checkpoint(run_folder(out) / "models" / "train_result_4" / "model.pth").network)
    assert torch.equal(networks[0], networks[1]) and not torch.equal(networks[0], networks[2])


CONTRADICTIONS = {
    "n_neurons": (["--n_neurons", "32"], "--n_neurons 32", "n_neurons 16"),
    "wrap": (["--wrap", "False"], "--wrap False", "wrap True"),
    "quantize": (["--no-quantize"], "--quantize False", "quantize True"),
    "quantize_bits": (["--quantize_bits", "8"], "quantize_bits 8", "quantize_bits 4"),
    "preset": (["--preset", "quality"], "--preset quality", "preset ue5"),
    "optimizer": (["--optimizer", "adam"], "--optimizer adam", "optimizer muon"),
    "grids": (["--hash_grid_configs", '[{"max_resolution": 16}]'], "has 1 grids", "trained with 2"),
}


@pytest.mark.parametrize("mode", ["train", "infer"])
@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_flag_that_contradicts_the_checkpoint_is_refused_by_both_names(name, mode, call, finished):
    flags, asked, stored = CONTRADICTIONS[name]
    _, folder = finished
    code, _, err = call("--mode", mode, "--load_dir", folder, "--load_iter", 20, *flags)
    assert code == 2
    assert_one_line(err, asked, stored, "model.pth", "leave it out")


def test_a_config_file_that_contradicts_the_checkpoint_is_refused_too(call, finished, tmp_path):
    (tmp_path / "other.json").write_text('{"model": {"n_neurons": 32}}')
    code, _, err = call("--load_dir", finished[1], "--load_iter", 20, "--config", tmp_path / "other.json")
    assert code == 2
    assert_one_line(err, "--n_neurons 32", "n_neurons 16")


def test_flags_that_repeat_the_checkpoints_settings_are_welcome(finished):
    path = finished[1] / "models" / "train_result_20" / "model.pth"
    saved = load_checkpoint(path)
    config = cli.resume_config(
        saved.config,
        cli.parse_flags(
            "--preset ue5 --quantize_bits 4 --n_neurons 16 --quantize --learning_rate 0.5 --max_iter 99 "
            "--grid_learning_rate 0.25 --storage true_rate".split()
        ),
        path,
    )
    assert (config.train.learning_rate, config.train.max_iter, config.export.storage) == (0.5, 99, "true_rate")
    assert [grid.learning_rate for grid in config.model.hash_grid_configs] == [0.25, 0.25]
    assert config.train.batch_size == 1024


def test_a_checkpoint_of_another_material_is_refused(call, finished, tmp_path):
    make_material(tmp_path / "small", 32, 32)
    code, _, err = call("--load_dir", finished[1], "--load_iter", 20, "--data_dir", tmp_path / "small")
    assert code == 2
    assert_one_line(err, "32 x 32", "64 x 64", "data_dir")
    other = make_material(tmp_path / "other")
    (other / "wall_roughness.png").rename(other / "wall_metallic.png")
    code, _, err = call("--load_dir", finished[1], "--load_iter", 20, "--data_dir", other)
    assert code == 2
    assert_one_line(err, "metallic", "roughness")


@pytest.mark.parametrize("iteration", [7, -2, 21])
def test_a_checkpoint_that_does_not_exist_is_answered_with_those_that_do(iteration, call, finished):
    code, _, err = call("--load_dir", finished[1], "--load_iter", iteration)
    assert code == 2
    assert_one_line(err, iteration, "20, 40")


def test_a_finished_run_asks_for_a_larger_max_iter(call, finished, workspace):
    code, _, err = call("--load_dir", finished[1], "--load_iter", -1, "--data_dir", workspace / "data" / "test")
    assert code == 2
    assert_one_line(err, "40 iterations", "--max_iter")


def test_damaged_checkpoints_end_in_one_line(finished, workspace, call, tmp_path):
    content = (finished[1] / "models" / "train_result_20" / "model.pth").read_bytes()
    folder = tmp_path / "run" / "models" / "train_result_5"
    folder.mkdir(parents=True)
    foreign = tmp_path / "foreign.pth"
    torch.save({"weights": torch.zeros(3)}, foreign)
    torch.save(
        {**torch.load(finished[1] / "models" / "train_result_20" / "model.pth", weights_only=True), "iteration": "x"},
        tmp_path / "typed.pth",
    )
    wrong = bytearray(content)
    wrong[content.find(b"data.pkl") + 60] ^= 255
    damaged = [
        content[: len(content) // 2],
        content[:-40],
        b"",
        b"no checkpoint",
        bytes(wrong),
        foreign.read_bytes(),
        (tmp_path / "typed.pth").read_bytes(),
    ]
    for data in damaged:
        (folder / "model.pth").write_bytes(data)
        code, _, err = call("--load_dir", tmp_path / "run", "--load_iter", 5)
        assert code == 1
        assert_one_line(err, "model.pth")
    (folder / "model.pth").write_bytes(content[:1000])
    process = run_train("--mode", "infer", "--load_dir", tmp_path / "run", cwd=workspace)
    assert process.returncode == 1 and process.stdout == ""
    assert_one_line(process.stderr, "model.pth", "load another iteration")


def test_a_checkpoint_that_would_run_code_is_refused(call, tmp_path):
    folder = tmp_path / "run" / "models" / "train_result_5"
    folder.mkdir(parents=True)
    victim = tmp_path / "victim"
    (folder / "model.pth").write_bytes(b"cbuiltins\nopen\n(S'" + str(victim).encode() + b"'\nS'w'\ntR.")
    code, _, err = call("--load_dir", tmp_path / "run")
    assert code == 1 and not victim.exists()
    assert_one_line(err, "model.pth")


def test_a_decoder_trained_in_half_precision_by_another_backend_goes_on_as_a_run_of_this_one(finished, workspace):
    path = finished[1] / "models" / "train_result_20" / "model.pth"
    saved = dataclasses.replace(load_checkpoint(path), backend="tcnn", precision="bfloat16")
    config = cli.resume_config(saved.config, {"device": "cpu"}, path)
    session = open_session(config, load_texture_set(workspace / "data" / "test"), saved, path)
    assert (session.backend.name, session.precision, session.backend.arithmetic) == ("torch", "float32", "float32")
    same = dataclasses.replace(saved, backend="torch")
    assert open_session(config, session.texture_set, same, path).precision == "bfloat16"


def test_a_checkpoint_from_before_there_was_a_choice_falls_along_a_cosine(finished):
    path = finished[1] / "models" / "train_result_20" / "model.pth"
    config = load_checkpoint(path).config
    assert cli.resume_config(config, {}, path).train.learning_rate_schedule == "power"
    del config["train"]["learning_rate_schedule"]
    assert cli.resume_config(config, {}, path).train.learning_rate_schedule == "cosine"
