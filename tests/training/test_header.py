"""What a run says at its start."""

from __future__ import annotations

import json

import pytest

from dataset import load_texture_set
from model.layout import model_layout
from tests.helpers import ON, SHORT, run_folder
from training import flags as cli
from training.header import planned_end, plugin_forecast


def lines(text):
    """Titled lines as a dictionary, spaces collapsed."""
    return {title: " ".join(rest.split()) for title, _, rest in (line.partition(":") for line in text.splitlines())}


def forecast(folder, **flags):
    config, texture_set = cli.make_config(flags), load_texture_set(folder)
    return plugin_forecast(config, model_layout(config.model, texture_set.width, texture_set.height), texture_set)


def test_a_new_run_says_nothing_of_resuming_or_config_files(finished):
    said = lines(finished[0].stdout)
    assert not {"resumed", "settings", "rate"} & set(said)
    assert {"material", "grid 0", "decoder", "training on", "ends after", "run folder"} <= set(said)


def test_a_resumed_run_says_from_where_and_at_which_iteration(call, finished, tmp_path):
    code, out, _ = call("--load_dir", finished[1], "--load_iter", 20, "--save_dir", tmp_path / "out", "--start", "pca")
    assert code == 0
    said = lines(out)
    assert said["resumed"] == f"from {finished[1]} at iteration 20"
    assert "note: start has no effect on a run that goes on from a checkpoint" in " ".join(out.split())


def test_a_run_with_the_settings_of_another_names_the_file_and_trains_anew(call, finished, workspace, tmp_path):
    path = finished[1] / "config.json"
    code, out, err = call("--config", path, "--save_dir", tmp_path / "out", "--max_iter", 20)
    assert (code, err) == (0, "")
    said = lines(out)
    assert said["settings"] == f"of {path}, flags laid over them" and "resumed" not in said
    assert said["grid 0"].endswith("8 features of 4 bits, bilinear")
    assert (run_folder(tmp_path / "out") / "models" / "train_result_20" / "manifest.json").is_file()
    code, out, _ = call("--load_dir", run_folder(tmp_path / "out"), "--max_iter", 40, "--save_dir", tmp_path / "out2")
    assert code == 0 and "settings" not in lines(out)


def test_the_manuals_training_command_says_what_the_plugin_would_read(finished):
    said = lines(finished[0].stdout)
    header = finished[0].stdout.partition("iteration 10:")[0]
    assert "UE5 plugin:            will not read the exported files: grid 0 has 8 features, not 4; " in header
    assert "--preset ue5 without --quantize_bits is read" in header
    assert said["UE5 plugin"].startswith("does not read these files")


@pytest.mark.parametrize(
    "flags, words",
    [
        ({}, "will read the exported files"),
        ({"quantize_bits": 4, "save_bits": 16}, "will read the exported files"),
        ({"use_bias": True, "n_neurons": 32}, "the network has biases; --preset ue5 without --use_bias is read"),
        ({"storage": "true_rate", "quantize_bits": 4}, "--preset ue5 without --quantize_bits, --storage is read"),
        ({"quantize_bits": 2, "save_bits": 16}, "--preset ue5 without --quantize_bits, --save_bits is read"),
        (
            {"quantize_bits": 2, "save_bits": 16, "use_bias": True, "wrap": False},
            "--preset ue5 without --quantize_bits, --save_bits, --use_bias is read",
        ),
        ({"preset": "quality"}, "will not read the files of preset quality; --preset ue5 is read"),
    ],
)
def test_the_forecast_names_the_flags_that_keep_the_plugin_from_reading(flags, words, workspace):
    assert words in forecast(workspace / "data" / "test", **flags)


@pytest.mark.parametrize(
    "flags, words",
    [
        ({"time_budget": 5.0}, "5 s"),
        ({"early_stop": False}, "10000 iterations"),
        ({"max_iter": 5}, "5 iterations"),
        ({"early_stop_interval": 2000}, "10000 iterations, or when PSNR stalls over 2000"),
    ],
)
def test_the_end_of_a_run_is_what_can_end_it(flags, words):
    assert planned_end(cli.make_config(flags)) == words


def test_the_default_early_stop_can_act_and_is_not_recorded_as_given(call, workspace, tmp_path):
    code, out, _ = call(
        "--data_dir",
        workspace / "data" / "test",
        "--save_dir",
        tmp_path / "out",
        "--max_iter",
        100,
        "--eval_interval",
        10,
        "--tile_size",
        16,
        "--batch_size",
        256,
        "--early_stop_psnr_threshold",
        1000,
    )
    assert code == 0
    assert lines(out)["ends after"] == "100 iterations, or when PSNR stalls over 20"
    assert "mean PSNR of iterations 20 to 40" in out
    recorded = json.loads((run_folder(tmp_path / "out") / "config.json").read_text("utf-8"))
    assert recorded["train"]["early_stop_interval"] == 5000


def test_what_the_material_leaves_without_effect_is_said(call, workspace, tmp_path):
    code, out, _ = call(
        "--data_dir",
        workspace / "data" / "test",
        "--save_dir",
        tmp_path / "out",
        "--max_iter",
        2,
        "--texture_loss_weights",
        '{"metallic": 2}',
        "--no-report",
    )
    assert code == 0
    assert "note: texture_loss_weights has no effect for metallic: " in " ".join(out.split())


def test_infer_names_the_flags_that_it_has_no_use_for(call, finished):
    code, out, _ = call("--mode", "infer", "--load_dir", finished[1], "--load_iter", 20, *SHORT, *ON)
    assert code == 0
    assert (
        "note: batch_size, early_stop_interval, early_stop_psnr_threshold, eval_interval, max_iter, "
        "save_interval, tile_size have no effect with mode infer" in " ".join(out.split())
    )
