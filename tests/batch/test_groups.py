"""Batches: every sub-folder a material, one or several at a time; what fails costs itself alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import OFFLINE, ON, ROOT, SHORT, assert_one_line, make_material, run_folder, run_train
from training.checkpoint import load_checkpoint


@pytest.fixture
def batch(tmp_path):
    """Two materials, one of them with a file that is not read, and a folder without images."""
    for name in ("a_wall", "c_石"):
        make_material(tmp_path / "data_batch" / name, 32, 32)
    (tmp_path / "data_batch" / "a_wall" / "wall_metallic.gif").write_text("")
    (tmp_path / "data_batch" / "b_empty").mkdir()
    (tmp_path / "data_batch" / ".hidden").mkdir()
    (tmp_path / "data_batch" / "readme.txt").write_text("")
    return tmp_path


def load_config(save_dir):
    return json.loads((run_folder(save_dir) / "config.json").read_text("utf-8"))


GROUPS = "--groups_batching --groups_batch_dir ./data_batch --groups_save_dir ./outputs_batch".split()


@pytest.mark.parametrize("workers", [1, 2])
def test_groups_train_what_they_can_name_what_failed_and_say_what_was_skipped(workers, batch):
    process = run_train(*GROUPS, "--groups_max_workers", workers, *SHORT, *ON, cwd=batch, PYTHONIOENCODING="ascii")
    assert process.returncode == 1
    assert_one_line(process.stderr, "b_empty")
    assert "Traceback" not in process.stdout and "2 of 3 materials" in process.stdout
    assert len(re.findall(r"[\d.]+ dB at [\d.]+ bits per texel", process.stdout)) == 2
    assert re.search(r"^note: +a_wall: skipped wall_metallic.gif", process.stdout, re.M)
    # Once for the batch: a title, the two commands and their choices.
    assert process.stdout.count("python view.py --load_dir") == 1 and "ASTC" not in process.stdout
    assert len(process.stdout.splitlines()) <= 12 and "iteration 10" not in process.stdout
    assert sorted(path.name for path in (batch / "outputs_batch").iterdir()) == ["a_wall", "c_石"]
    for name in ("a_wall", "c_石"):
        folder = run_folder(batch / "outputs_batch" / name)
        assert (folder / "models" / "train_result_40" / "manifest.json").is_file()


def test_processes_share_the_threads_and_their_lines_name_the_material(batch):
    alone = subprocess.run(
        [sys.executable, "-c", "import torch; print(torch.get_num_threads())"],
        text=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "4"},
    ).stdout
    process = run_train(
        *GROUPS, "--groups_max_workers", 2, "--groups_verbose", *SHORT, *ON, cwd=batch, OMP_NUM_THREADS="4"
    )
    for name in ("a_wall", "c_石"):
        assert re.search(rf"^{name}: +training on: .* {max(1, int(alone) // 2)} threads", process.stdout, re.M)
        assert len(re.findall(rf"^{name}: +iteration \d+:", process.stdout, re.M)) == 4


def start_batch(folder, workers):
    """A batch that never ends by itself; returns when its materials train."""
    process = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "train.py"),
            *GROUPS,
            "--groups_verbose",
            "--groups_max_workers",
            str(workers),
            *SHORT,
            "--max_iter",
            "1000000",
            "--no-early_stop",
            "--save_interval",
            "1000000",
        ],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **OFFLINE, "TORCH_HOME": str(folder)},
        encoding="utf-8",
        start_new_session=True,
    )
    training = set()
    for line in process.stdout:
        match = re.match(r"(\S+): +iteration 20:", line)
        if match:
            training.add(match[1])
        if len(training) == workers:
            return process
    raise AssertionError(process.stderr.read())


def material_processes(process):
    """Ids of the processes that train materials (Linux)."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_killed_process_costs_its_material_alone(batch):
    process = start_batch(batch, 2)
    try:
        children = material_processes(process)
        assert len(children) == 2
        os.kill(children[0], signal.SIGKILL)
        line = process.stderr.readline()
        while "b_empty" in line:
            line = process.stderr.readline()
        assert_one_line(line, "failed", "signal 9")
        assert material_processes(process) == children[1:]
        os.kill(children[1], signal.SIGKILL)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1 and "0 of 3 materials" in out


@pytest.mark.skipif(os.name == "nt", reason="Windows delivers no SIGINT to a single process")
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_batch_saves_what_its_processes_have(number, code, batch):
    process = start_batch(batch, 2)
    try:
        # As a terminal does it: every process of the command gets it.
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == code and "Traceback" not in out + err
    assert err.splitlines()[-1] == ("interrupted" if number == signal.SIGINT else "terminated")
    assert "0 of 3 materials" in out
    for name in ("a_wall", "c_石"):
        (checkpoint,) = run_folder(batch / "outputs_batch" / name).glob("models/*/model.pth")
        assert load_checkpoint(checkpoint).iteration >= 20
        assert re.search(rf"^interrupted: +{name}, saved .*{checkpoint.parent.name}", out, re.M)


def test_groups_that_all_train_end_with_0_and_show_everything_when_asked(call, tmp_path):
    make_material(tmp_path / "batch" / "one", 16, 16)
    code, out, err = call(
        "--groups_batching",
        "True",
        "--groups_batch_dir",
        tmp_path / "batch",
        "--groups_save_dir",
        tmp_path / "out",
        "--groups_verbose",
        *SHORT,
        *ON,
    )
    assert (code, err) == (0, "") and "iteration 40" in out and "1 of 1 materials" in out


def test_groups_note_a_setting_without_effect_once_and_none_that_nobody_gave(call, tmp_path):
    for name in ("one", "two"):
        make_material(tmp_path / "batch" / name, 16, 16)
    batch = ["--groups_batching", "--groups_batch_dir", tmp_path / "batch", "--groups_save_dir", tmp_path / "out"]
    code, out, _ = call(*batch, "--groups_verbose", *SHORT, "--no-early_stop", "--no-report", "--seed", 3)
    assert code == 0
    (note,) = re.findall(r"^note: +(.* no effect .*)$", out, re.M)
    assert note == "early_stop_interval has no effect with early_stop False"
    assert load_config(tmp_path / "out" / "two")["run"]["data_dir"] == str(tmp_path / "batch" / "two")


@pytest.mark.parametrize(
    "flags, word",
    [
        (["--groups_batch_dir", "nowhere"], "nowhere"),
        (["--groups_batch_dir", "."], "sub-folder"),
        (["--load_dir", "x"], "--load_dir"),
        (["--mode", "infer"], "infer"),
    ],
)
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
