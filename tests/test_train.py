"""The trainer through its command line: what a run writes, how it resumes and stops, and what it says to bad input.

One short run in a process of its own, with the command line of the manual, is shared by the tests that only read.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cli
import train
from session import new_run_folder
from checkpoint import Checkpoint, load_checkpoint
from configs import Config, config_from_dict
from dataset import load_texture_set
from evaluate import decode_mip, stored_precision
from loss import channel_weights, present_channels, texture_loss
from metrics import material_psnr
from model.layout import model_layout
from model.torch_backend import TorchBackend
from quantize import values_to_codes
from reader import NeuralTextureReader
from utils.errors import run_command

ROOT = Path(__file__).resolve().parent.parent
SHORT = ["--max_iter", "40", "--eval_interval", "10", "--early_stop_interval", "20", "--save_interval", "20",
         "--tile_size", "16", "--batch_size", "1024"]
ON = ["--early_stop_psnr_threshold", "-100"]
"""Early stopping watches, but never stops."""
STAMP = re.compile(r"\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d")
# No network: weights that are not there are refused at once instead of being downloaded.
OFFLINE = {"OMP_NUM_THREADS": "1", "HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


def make_material(folder, width=64, height=64, constant=False):
    """A smooth tiling material: albedo, normals, roughness."""
    folder.mkdir(parents=True)
    y, x = np.mgrid[:height, :width]
    def wave(fx, fy):
        return 0.5 + (0 if constant else 0.35) * np.sin(2 * np.pi * (fx * x / width + fy * y / height))
    maps = {"albedo": np.stack([wave(1, 2), wave(3, 0), wave(0, 2)], -1), "roughness": wave(2, 1),
            "normal": np.stack([wave(1, 0), wave(0, 1), np.ones_like(wave(0, 0))], -1)}
    for name, values in maps.items():
        Image.fromarray((values * 255).astype(np.uint8)).save(folder / f"wall_{name}.png")
    return folder


def run_train(*arguments, cwd, **environment):
    return subprocess.run([sys.executable, str(ROOT / "train.py"), *map(str, arguments)], cwd=cwd, text=True,
                          encoding="utf-8", errors="replace", capture_output=True, timeout=300,
                          env={**os.environ, **OFFLINE, "TORCH_HOME": str(cwd), **environment})


def run_folder(save_dir):
    """The newest run folder in an output folder."""
    return sorted(path for path in Path(save_dir).iterdir() if STAMP.fullmatch(path.name))[-1]


@pytest.fixture(scope="session", autouse=True)
def offline(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**OFFLINE, "TORCH_HOME": str(tmp_path_factory.mktemp("torch"))}.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    """A folder to work in, with the material where the manual's command lines expect it."""
    folder = tmp_path_factory.mktemp("workspace")
    make_material(folder / "data" / "test")
    return folder


@pytest.fixture(scope="session")
def finished(workspace):
    """The manual's first command line, cut short: the finished process and its run folder."""
    process = run_train(*"--mode train --data_dir ./data/test --save_dir ./outputs --quantize True --quantize_bits 4 "
                        "--save_bits 32".split(), *SHORT, *ON, cwd=workspace)
    assert process.returncode == 0, process.stderr
    return process, run_folder(workspace / "outputs")


@pytest.fixture
def call(monkeypatch, capsys):
    """Run train.py's entry point in this process: (exit code, stdout, stderr)."""
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            run_command(train.run)
        out, err = capsys.readouterr()
        return end.value.code, out, err
    return run


def assert_one_line(err, *words):
    assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n"), err
    for word in words:
        assert str(word) in err, err


def equal(first, second):
    """Whether nested containers of tensors and plain values are the same, bit for bit (NaN equals NaN)."""
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second or (first != first and second != second)


def assert_same_training(first, second):
    """Two checkpoints hold the same model, state and history; only times, places and settings may differ."""
    for field in dataclasses.fields(Checkpoint):
        if field.name in ("config", "training_time_s", "lineage"):
            continue
        values = [getattr(checkpoint, field.name) for checkpoint in (first, second)]
        if field.name == "history":
            values = [[{**entry, "time_s": 0} for entry in history] for history in values]
        assert equal(*values), field.name


# What a run writes.

def test_a_run_has_the_promised_files_and_leaves_nothing_else(finished, workspace):
    _, folder = finished
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    last = "models/train_result_40/"
    exports = {last + name for name in ("model.pth", "network_data.npz", "manifest.json", "hash_grid_0.dds",
                                        "hash_grid_0_1.dds", "hash_grid_1.dds", "hash_grid_1_1.dds")}
    media = {name for name in files if name.startswith("media/")}
    assert files - media == {"config.json", "report.html", "models/train_result_20/model.pth"} | exports
    assert len(media) == 7 and all(Image.open(folder / name).width > 64 for name in media)
    events = list((workspace / "outputs" / "tensorboard" / folder.name).iterdir())
    assert len(events) == 1 and events[0].name.startswith("events.out.tfevents")
    assert sorted(path.name for path in (workspace / "outputs").iterdir()) == [folder.name, "tensorboard"]


def test_the_output_of_a_run_reads_as_lines_without_bars_errors_or_escapes(finished):
    process, folder = finished
    assert process.stderr == ""
    assert "\r" not in process.stdout and "\x1b" not in process.stdout and "it/s" not in process.stdout
    assert len(re.findall(r"iteration \d+: +loss \d\.\d+, PSNR \d+\.\d\d dB", process.stdout)) == 4
    assert process.stdout.count("LPIPS is off") == 1
    for words in ("material:", "64 x 64, 7 mips: diffuse, normal, roughness", "bits per texel", "multiply-adds", "dB",
                  "UE5 plugin:            does not read these files: ", "train_result_40"):
        assert words in process.stdout
    assert max(map(len, process.stdout.splitlines())) < 400 and "nan" not in process.stdout


def test_config_json_holds_the_settings_and_can_be_given_back(finished):
    _, folder = finished
    record = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert record.pop("lineage") == []
    config = config_from_dict(record)
    assert config.train.max_iter == 40 and config.run.data_dir == "./data/test"
    assert [(grid.quantize_bits, grid.save_bits) for grid in config.model.hash_grid_configs] == [(4, 32), (4, 32)]
    again = cli.make_config({"config": str(folder / "config.json"), "seed": 3})
    assert again.train.seed == 3
    again.train.seed, again.run.config = 0, ""
    assert again == config


def test_tensorboard_shows_the_promised_tags_and_means(finished, workspace):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    _, folder = finished
    events = accumulator.EventAccumulator(str(workspace / "outputs" / "tensorboard" / folder.name))
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    assert scalars == {"Loss/train", "PSNR/train", "SSIM/train", *(f"PSNR_LOD{mip}/train" for mip in range(7)),
                       *(f"SSIM_LOD{mip}/train" for mip in range(3))}
    assert {f"LOD{mip}/maps" for mip in range(3)} <= set(events.Tags()["images"])
    assert [event.step for event in events.Scalars("PSNR_LOD0/train")] == [10, 20, 30, 40]
    assert all(math.isfinite(event.value) for event in events.Scalars("Loss/train"))
    means = [np.mean([events.Scalars(f"PSNR_LOD{mip}/train")[index].value for mip in range(3)]) for index in range(4)]
    assert [event.value for event in events.Scalars("PSNR/train")] == pytest.approx(means, abs=1e-4)
    history = load_checkpoint(folder / "models" / "train_result_40" / "model.pth").history
    assert [event.value for event in events.Scalars("PSNR_LOD0/train")] == pytest.approx(
        [entry["psnr_db"] for entry in history], abs=1e-4)


def trained_backend(checkpoint, layout, channels):
    backend = TorchBackend(layout, channels, torch.device("cpu"), "float32", torch.Generator().manual_seed(0))
    backend.load_grids(checkpoint.grids)
    backend.load_network(checkpoint.network)
    return backend


def assert_export_agrees(folder, data_dir):
    """Codes equal the checkpoint's exactly, texels of every mip within one step, PSNR the last evaluation's."""
    checkpoint = load_checkpoint(folder / "model.pth")
    texture_set = load_texture_set(data_dir)
    config = config_from_dict(checkpoint.config)
    layout = model_layout(config.model, checkpoint.width, checkpoint.height)
    channels = present_channels(checkpoint.present)
    backend = trained_backend(checkpoint, layout, channels)
    reader = NeuralTextureReader(folder)
    for g, grid in enumerate(layout.grids):
        for level, codes in enumerate(reader.codes(g)):
            assert (codes == values_to_codes(checkpoint.grids[g][level].numpy(), grid.quantize_bits)).all()
    with stored_precision(backend):
        decoded = [decode_mip(backend, channels, mip, True) for mip in range(layout.mips)]
    for mip, texels in enumerate(decoded):
        assert np.abs(texels.astype(int) - reader.decode_uint8(mip)).max() <= 1
    overall = reader.manifest["psnr"]["overall"]
    measured = [material_psnr(reference, texels, texture_set.present)["overall"]
                for reference, texels in zip(texture_set.mips, decoded)]
    assert overall == pytest.approx(measured, abs=0.05)
    return checkpoint, overall[0]


def test_the_export_decodes_to_what_the_trainer_evaluated_last(finished, workspace):
    _, folder = finished
    checkpoint, overall = assert_export_agrees(folder / "models" / "train_result_40", workspace / "data" / "test")
    assert overall == pytest.approx(checkpoint.history[-1]["psnr_db"], abs=0.02)


# Resuming.

def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(finished, workspace):
    _, folder = finished
    process = run_train(*f"--mode train --load_iter 20 --load_dir outputs/{folder.name} --save_dir resumed".split(),
                        cwd=workspace)
    assert process.returncode == 0 and process.stderr == ""
    other = run_folder(workspace / "resumed")
    assert json.loads((other / "config.json").read_text())["lineage"] == [str(Path("outputs") / folder.name)]
    assert not (other / "models" / "train_result_20").exists()
    whole, resumed = (load_checkpoint(path / "models" / "train_result_40" / "model.pth") for path in (folder, other))
    assert [entry["iteration"] for entry in resumed.history] == [10, 20, 30, 40]
    assert resumed.training_time_s > load_checkpoint(
        folder / "models" / "train_result_20" / "model.pth").training_time_s
    assert_same_training(whole, resumed)
    for name in ("hash_grid_0.dds", "hash_grid_1_1.dds", "network_data.npz"):
        ours, theirs = (path / "models" / "train_result_40" / name for path in (folder, other))
        assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("flags", [["--preset", "quality"], ["--optimizer", "adam", "--wrap", "False"],
                                   ["--no-quantize"], ["--precision", "float32", "--noise_std", "0"]])
def test_resuming_is_exact_with_other_models_and_optimisers(flags, call, workspace, tmp_path):
    code, _, err = call("--data_dir", workspace / "data" / "test", "--save_dir", tmp_path / "out", *SHORT, *ON, *flags)
    assert (code, err) == (0, "")
    folder = run_folder(tmp_path / "out")
    code, _, err = call("--load_dir", folder, "--load_iter", 20, "--save_dir", tmp_path / "resumed")
    assert (code, err) == (0, "")
    newest = [path / "models" / "train_result_40" for path in (folder, run_folder(tmp_path / "resumed"))]
    assert_same_training(*(load_checkpoint(path / "model.pth") for path in newest))
    if flags[0] == "--preset":
        assert_export_agrees(newest[0], workspace / "data" / "test")


def test_training_differs_by_seed_and_repeats_without_one(call, workspace, tmp_path):
    networks = []
    for index, seed in enumerate((0, 0, 1)):
        out = tmp_path / str(index)
        assert call("--data_dir", workspace / "data" / "test", "--save_dir", out, *SHORT, "--max_iter", 4, "--seed",
                    seed)[0] == 0
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
    config = cli.resume_config(saved.config, cli.parse_flags(
        "--preset ue5 --quantize_bits 4 --n_neurons 16 --quantize --learning_rate 0.5 --max_iter 99 "
        "--grid_learning_rate 0.25 --storage true_rate".split()), path)
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
    torch.save({**torch.load(finished[1] / "models" / "train_result_20" / "model.pth", weights_only=True),
                "iteration": "x"}, tmp_path / "typed.pth")
    wrong = bytearray(content)
    wrong[content.find(b"data.pkl") + 60] ^= 255
    damaged = [content[:len(content) // 2], content[:-40], b"", b"no checkpoint", bytes(wrong), foreign.read_bytes(),
               (tmp_path / "typed.pth").read_bytes()]
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


# Inferring.

def test_infer_writes_metrics_and_pictures_of_every_mip(finished, workspace):
    _, folder = finished
    process = run_train(*f"--mode infer --load_iter 40 --load_dir outputs/{folder.name}".split(), cwd=workspace)
    try:
        assert process.returncode == 0 and process.stderr == ""
        files = {path.name for path in (folder / "infer").iterdir()}
        assert files == {"metrics.json", *(f"mip{mip}_{kind}.png" for mip in range(7)
                                           for kind in ("diffuse", "normal", "roughness", "compare"))}
        metrics = json.loads((folder / "infer" / "metrics.json").read_text())
        manifest = json.loads((folder / "models" / "train_result_40" / "manifest.json").read_text())
        assert metrics["iteration"] == 40
        assert [entry["psnr"]["overall"] for entry in metrics["mips"]] == pytest.approx(
            manifest["psnr"]["overall"], abs=0.05)
        assert [(entry["width"], entry["height"]) for entry in metrics["mips"]] == [(64 >> mip,) * 2 for mip in range(7)]
        picture = np.asarray(Image.open(folder / "infer" / "mip1_diffuse.png")).astype(int)
        decoded = NeuralTextureReader(folder / "models" / "train_result_40").decode_uint8(1)
        assert picture.shape == (32, 32, 3) and np.abs(picture - decoded[..., :3]).max() <= 1
    finally:
        shutil.rmtree(folder / "infer", ignore_errors=True)


@pytest.mark.parametrize("flags", [["--mode", "infer"], ["--load_iter", "20"],
                                   ["--mode", "infer", "--load_iter", "-1"]])
def test_a_run_folder_is_asked_for_where_it_is_missing(flags, call):
    code, _, err = call(*flags)
    assert code == 2
    assert_one_line(err, "--load_dir")


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_a_load_dir_without_checkpoints_is_refused(folder, call, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = call("--load_dir", tmp_path / folder, "--load_iter", "-1")
    assert code == 2
    assert_one_line(err, folder, "run folder")


def test_a_file_in_the_way_of_the_pictures_ends_in_one_line(call, finished, workspace, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished[1] / "models" / "train_result_20", copy / "models" / "train_result_20")
    (copy / "infer").write_text("")
    code, _, err = call("--mode", "infer", "--load_dir", copy, "--data_dir", workspace / "data" / "test")
    assert code == 1
    assert_one_line(err, "infer")


# Early stopping.

def test_early_stopping_stops_saves_and_says_why_and_does_so_again_when_resumed(call, workspace, tmp_path):
    flags = [*SHORT, "--max_iter", 5000, "--early_stop_psnr_threshold", 100]
    code, out, err = call("--data_dir", workspace / "data" / "test", "--save_dir", tmp_path / "out", *flags)
    assert (code, err) == (0, "")
    assert re.search(r"early stop: +mean PSNR of iterations 20 to 40 is .* early_stop_psnr_threshold 100", out)
    folder = run_folder(tmp_path / "out")
    assert (folder / "models" / "train_result_40" / "manifest.json").is_file()
    code, out, _ = call("--load_dir", folder, "--load_iter", 20, "--save_dir", tmp_path / "resumed")
    assert code == 0 and "early stop: " in out
    resumed = run_folder(tmp_path / "resumed") / "models" / "train_result_40" / "model.pth"
    assert_same_training(load_checkpoint(folder / "models" / "train_result_40" / "model.pth"), load_checkpoint(resumed))
    code, out, _ = call("--load_dir", folder, "--load_iter", 40, "--save_dir", tmp_path / "on", "--max_iter", 50,
                        "--no-early_stop")
    assert code == 0 and "early stop: " not in out
    assert (run_folder(tmp_path / "on") / "models" / "train_result_50" / "manifest.json").is_file()


def evaluations(values, interval=10):
    return [{"iteration": (index + 1) * interval, "psnr_db": value} for index, value in enumerate(values)]


@pytest.mark.parametrize("values, stops", [
    ([20, 21], False), ([20, 21, 20.5], False), ([20, 21, 20.5, 20.51], True), ([20, 21, 21, 21], False),
    ([20, 21, 10, 10], True), ([20, 30, 30, 30.5, 30.25, 30.26], True), ([math.inf] * 4, True),
    ([20, 20, math.inf, math.inf], False), ([math.inf, math.inf, 50, 50], True)])
def test_the_mean_of_one_interval_is_compared_with_that_of_the_one_before(values, stops):
    # Evaluations every 10 iterations, intervals of 20.
    assert (train.stalled(evaluations(values), 20, 0.01) is not None) == stops


def test_a_gain_of_exactly_the_threshold_goes_on():
    assert train.stalled(evaluations([20.0, 21.0]), 10, 1.0) is None
    assert "+0.500 dB" in train.stalled(evaluations([20.0, 20.5]), 10, 1.0)


@pytest.mark.parametrize("size", [(64, 64), (1, 1), (40, 12)])
def test_materials_of_one_colour_and_any_size_train(size, call, tmp_path):
    make_material(tmp_path / "flat", *size, constant=True)
    code, out, err = call("--data_dir", tmp_path / "flat", "--save_dir", tmp_path / "out", *SHORT, *ON)
    assert (code, err) == (0, "") and "nan" not in out
    assert_export_agrees(run_folder(tmp_path / "out") / "models" / "train_result_40", tmp_path / "flat")


def test_training_without_rounding_says_what_the_rounding_cost(call, workspace, tmp_path):
    code, out, _ = call("--data_dir", workspace / "data" / "test", "--save_dir", tmp_path / "out", *SHORT, *ON,
                        "--quantize", "False", "--quantize_bits", 2, "--grid_learning_rate", "0.02")
    assert code == 0
    trained, shipped, cost = map(float, re.search(
        r"rounding: +trained without it at (\S+) dB, exported (\S+) dB: it cost (\S+) dB", out).groups())
    assert cost == pytest.approx(trained - shipped, abs=0.011)
    folder = run_folder(tmp_path / "out") / "models" / "train_result_40"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["psnr"]["overall"][0] == pytest.approx(shipped, abs=0.005)
    assert load_checkpoint(folder / "model.pth").history[-1]["psnr_db"] == pytest.approx(trained, abs=0.005)


def test_training_improves_the_picture(call, workspace, tmp_path):
    code, _, _ = call("--data_dir", workspace / "data" / "test", "--save_dir", tmp_path / "out", *SHORT, "--max_iter",
                      300, "--eval_interval", 100, "--no-early_stop", "--optimizer", "adam")
    folder = run_folder(tmp_path / "out") / "models" / "train_result_300"
    history = load_checkpoint(folder / "model.pth").history
    assert code == 0 and history[-1]["psnr_db"] > 15 and history[-1]["loss"] < history[0]["loss"]


# Ctrl-C.

@pytest.mark.skipif(os.name == "nt", reason="Windows delivers no SIGINT to a single process")
def test_ctrl_c_saves_a_whole_iteration_and_ends_with_130(workspace, tmp_path):
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), "--data_dir", str(workspace / "data" / "test"), "--save_dir",
         str(tmp_path / "out"), *SHORT, "--max_iter", "1000000", "--no-early_stop", "--save_interval", "1000000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **OFFLINE},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    try:
        for line in process.stdout:
            if line.startswith("iteration 30:"):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130 and err == "interrupted\n"
    saved, = (run_folder(tmp_path / "out") / "models").iterdir()
    assert f"saved {saved}" in out
    checkpoint = load_checkpoint(saved / "model.pth")
    assert saved.name == f"train_result_{checkpoint.iteration}" and checkpoint.iteration >= 30
    assert checkpoint.sampler["steps"] == checkpoint.iteration


# Groups.

def test_groups_train_what_they_can_and_name_what_failed(tmp_path):
    for name in ("a_wall", "c_石"):
        make_material(tmp_path / "data_batch" / name, 32, 32)
    (tmp_path / "data_batch" / "b_empty").mkdir()
    (tmp_path / "data_batch" / ".hidden").mkdir()
    (tmp_path / "data_batch" / "readme.txt").write_text("")
    process = run_train(*"--groups_batching --groups_batch_dir ./data_batch --groups_save_dir ./outputs_batch".split(),
                        *SHORT, *ON, cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert process.returncode == 1
    assert_one_line(process.stderr, "b_empty")
    assert "Traceback" not in process.stdout and "2 of 3 materials" in process.stdout
    assert len(re.findall(r"[\d.]+ dB at [\d.]+ bits per texel", process.stdout)) == 2
    assert len(process.stdout.splitlines()) <= 8 and "iteration 10" not in process.stdout
    assert sorted(path.name for path in (tmp_path / "outputs_batch").iterdir()) == ["a_wall", "c_石"]
    for name in ("a_wall", "c_石"):
        folder = run_folder(tmp_path / "outputs_batch" / name)
        assert (folder / "models" / "train_result_40" / "manifest.json").is_file()


def test_groups_that_all_train_end_with_0_and_show_everything_when_asked(call, tmp_path):
    make_material(tmp_path / "batch" / "one", 16, 16)
    code, out, err = call("--groups_batching", "True", "--groups_batch_dir", tmp_path / "batch", "--groups_save_dir",
                          tmp_path / "out", "--groups_verbose", *SHORT, *ON)
    assert (code, err) == (0, "") and "iteration 40" in out and "1 of 1 materials" in out


@pytest.mark.parametrize("flags, word", [
    (["--groups_batch_dir", "nowhere"], "nowhere"), (["--groups_batch_dir", "."], "sub-folder"),
    (["--load_dir", "x"], "--load_dir"), (["--mode", "infer"], "infer")])
def test_groups_refuse_what_they_cannot_do(flags, word, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = call("--groups_batching", *flags)
    assert code == 2
    assert_one_line(err, word)


def test_a_config_file_can_ask_for_groups(call, tmp_path):
    (tmp_path / "settings.json").write_text('{"run": {"groups_batching": true, "groups_batch_dir": "nowhere"}}')
    code, _, err = call("--config", tmp_path / "settings.json")
    assert code == 2
    assert_one_line(err, "nowhere")


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
    "negative": (["--learning_rate", "-1"], "learning_rate", "at least 0"),
    "grids of broken JSON": (["--hash_grid_configs", "[{"], "--hash_grid_configs", "JSON"),
    "no grids": (["--hash_grid_configs", "[]"], "hash_grid_configs"),
    "a grid with an unknown key": (["--hash_grid_configs", '[{"bits": 4}]'], "bits", "quantize_bits"),
    "grids of a wrong type": (["--hash_grid_configs", '[{"max_resolution": "8"}]'], "max_resolution", "int"),
    "a huge grid": (["--hash_grid_configs", HUGE], "16777216", "16384"),
    "levels that cannot be": (["--hash_grid_configs", '[{"max_resolution": 24, "n_levels": 5}]'], "24", "16"),
    "period": (["--period_cells", 3], "period_cells 3", "4"),
    "weights of nothing": (["--texture_loss_weights", '{"diffuse": 0, "normal": 0, "roughness": 0}'],
                           "texture_loss_weights"),
    "weights of an unknown map": (["--texture_loss_weights", '{"glow": 1}'], "glow", "diffuse"),
    "seed": (["--seed", -1], "seed"),
    "a seed of too many bits": (["--seed", 2 ** 70], "seed"),
    "neurons": (["--n_neurons", 20], "n_neurons", "16"),
    "too many octaves": (["--n_frequencies", 17], "n_frequencies", "at most 16"),
    "cells far below a texel": (["--hash_grid_configs", '[{"texels_per_cell": 0.001}]'], "texels_per_cell", "0.015625"),
    "a rate and a quality": (["--target_bpp", 4, "--target_psnr", 30], "target_bpp", "target_psnr"),
    "a rate below the decoder's": (["--target_bpp", 0.5], "target_bpp 0.5", "decoder"),
    "a device that is no device": (["--device", "abacus"], "--device", "cpu"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_flags_end_in_one_line_with_exit_code_2(name, call, workspace, tmp_path):
    flags, *words = BAD[name]
    code, out, err = call("--data_dir", workspace / "data" / "test", "--save_dir", tmp_path / "out", *SHORT, *flags)
    assert (code, out) == (2, "")
    assert_one_line(err, *words)
    assert not (tmp_path / "out").exists()


BAD_CONFIGS = {
    "no JSON": ("{", 1), "a list": ("[1]", 2), "a section of a wrong type": ('{"run": 3}', 2),
    "an unknown section": ('{"rum": {}}', 2), "an unknown key": ('{"train": {"iterations": 3}}', 2),
    "a wrong type": ('{"train": {"max_iter": "5"}}', 2), "a preset of a wrong type": ('{"run": {"preset": []}}', 2),
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
    code, _, err = call("--data_dir", workspace / "data" / "test", "--save_dir", tmp_path / "out", "--n_neurons",
                        16 * 10 ** 15)
    assert code == 1
    assert_one_line(err, "memory")


def test_training_that_diverges_ends_in_one_line_and_exports_nothing(call, workspace, tmp_path):
    code, _, err = call("--data_dir", workspace / "data" / "test", "--save_dir", tmp_path / "out", *SHORT,
                        "--learning_rate", "1e30")
    assert code == 1
    assert_one_line(err, "--learning_rate")
    assert not list(tmp_path.rglob("manifest.json")) and not list(tmp_path.rglob("model.pth"))


# Flags.

@pytest.mark.parametrize("text, value", [
    ("--early_stop True", True), ("--early_stop true", True), ("--early_stop TRUE", True), ("--early_stop", True),
    ("--early_stop=True", True), ("--early_stop False", False), ("--early_stop false", False),
    ("--early_stop=FALSE", False), ("--no-early_stop", False), ("--no_early_stop", False),
    ("--early_stop False --early_stop", True)])
def test_booleans_read_every_spelling(text, value):
    assert cli.make_config(cli.parse_flags(text.split())).train.early_stop is value


def test_every_boolean_setting_can_be_switched_both_ways():
    booleans = [field.name for section in cli.sections().values() for field in dataclasses.fields(section)
                if field.type == "bool"]
    assert {"groups_batching", "groups_verbose", "quantize", "wrap", "dds_mips", "use_bias"} <= set(booleans)
    for name in booleans:
        assert [cli.parse_flags(argv) for argv in ([f"--{name}"], [f"--{name}", "False"], [f"--no-{name}"])] \
            == [{name: True}, {name: False}, {name: False}]


def test_the_documented_defaults_hold():
    config = cli.make_config({})
    run, settings, quantize = config.run, config.train, config.quantize
    assert (run.groups_batching, run.groups_batch_dir, run.groups_save_dir) == (False, "data_batch", "save_batch")
    assert (run.groups_max_workers, run.groups_verbose) == (1, False)
    assert (settings.early_stop, settings.early_stop_interval, settings.early_stop_psnr_threshold) == (True, 5000, 0.01)
    assert (quantize.noise_std, quantize.noise_anneal_fraction, quantize.quantize) == (1.0, 0.8, True)


def test_later_sources_of_a_setting_win(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text('{"model": {"n_neurons": 48, "activation": "silu"}, "train": {"batch_size": 77}}')
    flags = cli.parse_flags(["--preset", "quality", "--config", str(path), "--activation", "relu", "--save_bits", "64"])
    config = cli.make_config(flags)
    preset = cli.make_config({"preset": "quality"})
    assert (config.model.n_neurons, config.model.activation, config.train.batch_size) == (48, "relu", 77)
    assert config.model.use_bias and [grid.save_bits for grid in config.model.hash_grid_configs] == [64, 64]
    assert config.model.n_frequencies == preset.model.n_frequencies != Config().model.n_frequencies


def test_the_help_names_every_setting(capsys):
    with pytest.raises(SystemExit) as end:
        cli.parse_flags(["--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    for section in cli.sections().values():
        for field in dataclasses.fields(section):
            assert f"--{field.name}" in text


# Loss and schedule.

def test_the_schedules_fall_to_their_final_share():
    falls = [train.schedule(fraction, 0.1) for fraction in (0, 0.5, 0.75, 1, 1.01)]
    assert falls == pytest.approx([1, 0.1 + 0.9 * 0.574349, 0.1 + 0.9 * 0.329877, 0.1, 0.1], rel=1e-5)
    values = [train.schedule(fraction, 0.1, "cosine") for fraction in (0, 0.25, 0.5, 0.75, 1)]
    assert values == pytest.approx([1, 0.55 + 0.45 * math.sqrt(0.5), 0.55, 0.55 - 0.45 * math.sqrt(0.5), 0.1])


def test_the_loss_is_taken_in_the_files_coding_and_weighs_maps():
    values, target = torch.tensor([[0.2140411, 0.0, 1.0, 0.25]]), torch.tensor([[128, 0, 255, 128]], dtype=torch.uint8)
    # sRGB codes 0.2140411 as 0.5; the targets are 128 / 255 = 0.50196.
    assert texture_loss(values, target, True, None).item() == pytest.approx(
        (0.00196 ** 2 + 0.25196 ** 2) / 4, rel=1e-3)
    assert texture_loss(values, target, False, None).item() == pytest.approx(
        (0.28792 ** 2 + 0.25196 ** 2) / 4, rel=1e-3)
    present = {"diffuse": True, "roughness": True, "normal": False}
    weights = channel_weights({"roughness": 3, "normal": 9}, present)
    assert weights.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])
    assert texture_loss(values, target, True, weights).item() == pytest.approx(
        (0.00196 ** 2 * 2 / 3 + 0.25196 ** 2 * 2) / 4, rel=1e-3)
    assert channel_weights({"normal": 9}, present) is None


def test_a_dark_output_below_zero_still_gets_a_gradient():
    values = torch.tensor([[-0.3, -0.3, -0.3]], requires_grad=True)
    texture_loss(values, torch.full((1, 3), 10, dtype=torch.uint8), True, None).backward()
    assert (values.grad < -0.1).all() and torch.isfinite(values.grad).all()


def test_two_runs_in_one_second_get_folders_of_their_own(tmp_path):
    folders = {new_run_folder(tmp_path) for _ in range(5)}
    assert len(folders) == 5 and all(STAMP.fullmatch(folder.name) for folder in folders)
