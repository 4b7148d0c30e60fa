"""The trainer through its command line: what a run writes, infers and exports, how it stops, and groups of materials.

One short run in a process of its own, with the command line of the manual, is shared by the tests that only read.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from configs import VERSION, config_from_dict
from dataset import load_texture_set
from formats.reader import NeuralTextureReader
from tests.helpers import (
    ON,
    SHORT,
    STAMP,
    assert_export_agrees,
    assert_one_line,
    assert_same_training,
    make_material,
    run_folder,
    run_train,
)
from training import flags as cli
from training import loop
from training.checkpoint import load_checkpoint
from training.loss import channel_weights, texture_loss
from training.run_folder import new_run_folder

# What a run writes.


def test_a_run_has_the_promised_files_and_leaves_nothing_else(finished, workspace):
    _, folder = finished
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    # Other tests infer from this run.
    files = {name for name in files if not name.startswith("infer/")}
    last = "models/train_result_40/"
    exports = {
        last + name
        for name in (
            "model.pth",
            "network_data.npz",
            "manifest.json",
            "hash_grid_0.dds",
            "hash_grid_0_1.dds",
            "hash_grid_1.dds",
            "hash_grid_1_1.dds",
        )
    }
    media = {name for name in files if name.startswith("media/")}
    assert files - media == {"config.json", "report.html", "models/train_result_20/model.pth"} | exports
    # A sheet for each mip, and the renders.
    assert len(media) == 8 and all(Image.open(folder / name).width > 64 for name in media)
    events = list((workspace / "outputs" / "tensorboard" / folder.name).iterdir())
    assert len(events) == 1 and events[0].name.startswith("events.out.tfevents")
    assert sorted(path.name for path in (workspace / "outputs").iterdir()) == [folder.name, "tensorboard"]


def test_the_output_of_a_run_reads_as_lines_without_bars_errors_or_escapes(finished):
    process, folder = finished
    assert process.stderr == ""
    assert "\r" not in process.stdout and "\x1b" not in process.stdout and "it/s" not in process.stdout
    assert len(re.findall(r"iteration \d+: +loss \d\.\d+, PSNR \d+\.\d\d dB", process.stdout)) == 4
    # No mip is large enough for LPIPS, so its weights are not asked for.
    assert "LPIPS" not in process.stdout
    for words in (
        "material:",
        "64 x 64, 7 mips: diffuse, normal, roughness",
        "bits per texel",
        "multiply-adds",
        "dB",
        "UE5 plugin:            does not read these files: ",
        "train_result_40",
    ):
        assert words in process.stdout
    assert max(map(len, process.stdout.splitlines())) < 400 and "nan" not in process.stdout


def test_config_json_holds_the_settings_and_can_be_given_back(finished, workspace):
    _, folder = finished
    record = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (record.pop("lineage"), record.pop("version")) == ([], VERSION)
    config = config_from_dict(record)
    assert config.train.max_iter == 40 and Path(config.run.data_dir) == workspace / "data" / "test"
    assert [(grid.quantize_bits, grid.save_bits) for grid in config.model.hash_grid_configs] == [(4, 32), (4, 32)]
    again = cli.make_config({"config": str(folder / "config.json"), "seed": 3})
    assert again.train.seed == 3
    again.train.seed, again.run.config = 0, None
    assert again == config


def test_tensorboard_shows_the_promised_tags_and_means(finished, workspace):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    _, folder = finished
    events = accumulator.EventAccumulator(str(workspace / "outputs" / "tensorboard" / folder.name))
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    assert scalars == {
        "Loss/train",
        "PSNR/train",
        "SSIM/train",
        *(f"PSNR_LOD{mip}/train" for mip in range(7)),
        *(f"SSIM_LOD{mip}/train" for mip in range(3)),
    }
    assert {f"LOD{mip}/maps" for mip in range(3)} <= set(events.Tags()["images"])
    assert [event.step for event in events.Scalars("PSNR_LOD0/train")] == [10, 20, 30, 40]
    assert all(math.isfinite(event.value) for event in events.Scalars("Loss/train"))
    means = [np.mean([events.Scalars(f"PSNR_LOD{mip}/train")[index].value for mip in range(3)]) for index in range(4)]
    assert [event.value for event in events.Scalars("PSNR/train")] == pytest.approx(means, abs=1e-4)
    history = load_checkpoint(folder / "models" / "train_result_40" / "model.pth").history
    assert [event.value for event in events.Scalars("PSNR_LOD0/train")] == pytest.approx(
        [entry["psnr_db"] for entry in history], abs=1e-4
    )


def test_the_export_decodes_to_what_the_trainer_evaluated_last(finished, workspace):
    _, folder = finished
    checkpoint, overall = assert_export_agrees(folder / "models" / "train_result_40", workspace / "data" / "test")
    assert overall == pytest.approx(checkpoint.history[-1]["psnr_db"], abs=0.02)


# Inferring.


def test_infer_writes_metrics_and_pictures_of_every_mip(finished, workspace):
    _, folder = finished
    process = run_train(*f"--mode infer --load_iter 40 --load_dir outputs/{folder.name}".split(), cwd=workspace)
    try:
        assert process.returncode == 0 and process.stderr == ""
        files = {path.name for path in (folder / "infer").iterdir()}
        assert files == {
            "metrics.json",
            *(f"mip{mip}_{kind}.png" for mip in range(7) for kind in ("diffuse", "normal", "roughness", "compare")),
        }
        metrics = json.loads((folder / "infer" / "metrics.json").read_text())
        manifest = json.loads((folder / "models" / "train_result_40" / "manifest.json").read_text())
        assert metrics["iteration"] == 40
        assert [entry["psnr"]["overall"] for entry in metrics["mips"]] == pytest.approx(
            manifest["psnr"]["overall"], abs=0.05
        )
        assert [(entry["width"], entry["height"]) for entry in metrics["mips"]] == [
            (64 >> mip,) * 2 for mip in range(7)
        ]
        picture = np.asarray(Image.open(folder / "infer" / "mip1_diffuse.png")).astype(int)
        decoded = NeuralTextureReader(folder / "models" / "train_result_40").decode_uint8(1)
        assert picture.shape == (32, 32, 3) and np.abs(picture - decoded[..., :3]).max() <= 1
    finally:
        shutil.rmtree(folder / "infer", ignore_errors=True)


@pytest.mark.parametrize(
    "flags", [["--mode", "infer"], ["--load_iter", "20"], ["--mode", "infer", "--load_iter", "-1"]]
)
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
    code, out, _ = call(
        "--load_dir", folder, "--load_iter", 40, "--save_dir", tmp_path / "on", "--max_iter", 50, "--no-early_stop"
    )
    assert code == 0 and "early stop: " not in out
    assert (run_folder(tmp_path / "on") / "models" / "train_result_50" / "manifest.json").is_file()


def evaluations(values, interval=10):
    return [{"iteration": (index + 1) * interval, "psnr_db": value} for index, value in enumerate(values)]


@pytest.mark.parametrize(
    "values, stops",
    [
        ([20, 21], False),
        ([20, 21, 20.5], False),
        ([20, 21, 20.5, 20.51], True),
        ([20, 21, 21, 21], False),
        ([20, 21, 10, 10], True),
        ([20, 30, 30, 30.5, 30.25, 30.26], True),
        ([math.inf] * 4, True),
        ([20, 20, math.inf, math.inf], False),
        ([math.inf, math.inf, 50, 50], True),
    ],
)
def test_the_mean_of_one_interval_is_compared_with_that_of_the_one_before(values, stops):
    # Evaluations every 10 iterations, intervals of 20.
    assert (loop.stalled(evaluations(values), 20, 0.01) is not None) == stops


def test_a_gain_of_exactly_the_threshold_goes_on():
    assert loop.stalled(evaluations([20.0, 21.0]), 10, 1.0) is None
    assert "+0.500 dB" in loop.stalled(evaluations([20.0, 20.5]), 10, 1.0)


@pytest.mark.parametrize("size", [(64, 64), (1, 1), (40, 12)])
def test_materials_of_one_colour_and_any_size_train(size, call, tmp_path):
    make_material(tmp_path / "flat", *size, constant=True)
    code, out, err = call("--data_dir", tmp_path / "flat", "--save_dir", tmp_path / "out", *SHORT, *ON)
    assert (code, err) == (0, "") and "nan" not in out
    assert_export_agrees(run_folder(tmp_path / "out") / "models" / "train_result_40", tmp_path / "flat")


def test_training_without_rounding_says_what_the_rounding_cost(call, workspace, tmp_path):
    code, out, _ = call(
        "--data_dir",
        workspace / "data" / "test",
        "--save_dir",
        tmp_path / "out",
        *SHORT,
        *ON,
        "--quantize",
        "False",
        "--quantize_bits",
        2,
        "--grid_learning_rate",
        "0.02",
    )
    assert code == 0
    trained, shipped, cost = map(
        float,
        re.search(r"rounding: +trained without it at (\S+) dB, exported (\S+) dB: it cost (\S+) dB", out).groups(),
    )
    assert cost == pytest.approx(trained - shipped, abs=0.011)
    folder = run_folder(tmp_path / "out") / "models" / "train_result_40"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["psnr"]["overall"][0] == pytest.approx(shipped, abs=0.005)
    assert load_checkpoint(folder / "model.pth").history[-1]["psnr_db"] == pytest.approx(trained, abs=0.005)


def constant_colour_psnr(texture_set):
    """PSNR, dB, of the best answer that is the same everywhere: each channel's mean."""
    texels = texture_set.mips[0].reshape(-1, texture_set.mips[0].shape[2]).astype(np.float64)
    return 10 * math.log10(255**2 / texels.var(0)[texture_set.channel_mask].mean())


@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_training_gives_more_than_a_fresh_model_and_than_one_colour(optimizer, call, workspace, tmp_path):
    flags = [
        "--data_dir",
        workspace / "data" / "test",
        *SHORT,
        "--no-early_stop",
        "--optimizer",
        optimizer,
        "--eval_interval",
    ]
    # As good as fresh: one iteration at a rate that moves nothing.
    assert (
        call(
            *flags,
            1,
            "--save_dir",
            tmp_path / "fresh",
            "--max_iter",
            1,
            "--learning_rate",
            1e-9,
            "--grid_learning_rate",
            1e-9,
        )[0]
        == 0
    )
    assert call(*flags, 100, "--save_dir", tmp_path / "out", "--max_iter", 300)[0] == 0
    fresh, trained = (
        load_checkpoint(next(run_folder(tmp_path / name).glob("models/*/model.pth"))).history
        for name in ("fresh", "out")
    )
    assert (
        trained[-1]["psnr_db"]
        > max(fresh[-1]["psnr_db"], constant_colour_psnr(load_texture_set(workspace / "data" / "test"))) + 4
    )
    assert trained[-1]["loss"] < trained[0]["loss"]


# Loss.


def test_the_loss_is_taken_in_the_files_coding_and_weighs_maps():
    values, target = torch.tensor([[0.2140411, 0.0, 1.0, 0.25]]), torch.tensor([[128, 0, 255, 128]], dtype=torch.uint8)
    # sRGB codes 0.2140411 as 0.5; the targets are 128 / 255 = 0.50196.
    assert texture_loss(values, target, True, None).item() == pytest.approx((0.00196**2 + 0.25196**2) / 4, rel=1e-3)
    assert texture_loss(values, target, False, None).item() == pytest.approx((0.28792**2 + 0.25196**2) / 4, rel=1e-3)
    present = {"diffuse": True, "roughness": True, "normal": False}
    weights = channel_weights({"roughness": 3, "normal": 9}, present)
    assert weights.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])
    assert texture_loss(values, target, True, weights).item() == pytest.approx(
        (0.00196**2 * 2 / 3 + 0.25196**2 * 2) / 4, rel=1e-3
    )
    assert channel_weights({"normal": 9}, present) is None


def test_a_dark_output_below_zero_still_gets_a_gradient():
    values = torch.tensor([[-0.3, -0.3, -0.3]], requires_grad=True)
    texture_loss(values, torch.full((1, 3), 10, dtype=torch.uint8), True, None).backward()
    assert (values.grad < -0.1).all() and torch.isfinite(values.grad).all()


def test_two_runs_in_one_second_get_folders_of_their_own(tmp_path):
    folders = {new_run_folder(tmp_path) for _ in range(5)}
    assert len(folders) == 5 and all(STAMP.fullmatch(folder.name) for folder in folders)
