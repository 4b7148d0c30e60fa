"""Signals and failures: a run saves, closes, and says how to go on."""

from __future__ import annotations

import ast
import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from configs import Config
from dataset import load_texture_set
from tests.helpers import OFFLINE, ROOT, SHORT, run_folder
from training.checkpoint import load_checkpoint, saved_iterations
from training.checkpoint_writer import CheckpointWriter
from training.loop import optimize
from training.recorder import Recorder
from training.run_log import RunLog
from training.schedule import Schedule
from training.session import open_session
from utils.clock import Stopwatch
from utils.errors import UserError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows delivers no SIGINT to a single process")
SIGNALS = pytest.mark.parametrize(
    "number, code, word", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)


def start(*arguments, program=("train.py",)):
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **OFFLINE},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def caught(process):
    """Whether a process has a handler for SIGTERM (Linux)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return bool(int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16) >> (signal.SIGTERM - 1) & 1)


COMMANDS = pytest.mark.parametrize(
    "program, arguments",
    [
        (("train.py",), ("--data_dir", "nowhere")),
        (("export.py",), ("--load_dir", "nowhere")),
        (("compare.py",), ("--data_dir", "nowhere", "--load_dir", "nowhere")),
        (("view.py",), ("--load_dir", "nowhere")),
        (("dataset.py",), ("nowhere",)),
        (("-m", "model.doctor"), ()),
    ],
)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("wait_s", [0, 0.04])
@COMMANDS
def test_a_signal_among_the_imports_of_any_command_ends_in_one_line(program, arguments, wait_s):
    process = start(*arguments, program=program)
    try:
        while not caught(process):
            time.sleep(0.002)
        time.sleep(wait_s)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (130, "interrupted\n")


@COMMANDS
def test_every_command_takes_signals_before_it_imports_anything_slow(program, arguments):
    """Only what stands in the first lines is in time: the imports after it take up to seconds."""
    path = ROOT / program[-1] if program[-1].endswith(".py") else ROOT / "model" / "doctor.py"
    first = ast.parse(path.read_text("utf-8")).body[2]
    assert ast.unparse(first) == "if __name__ == '__main__':\n    import utils.start"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("wait_s", [0, 0.3, 1, 2])
@SIGNALS
def test_a_signal_at_the_start_ends_in_one_line(number, code, word, wait_s, workspace, tmp_path):
    process = start(
        "--data_dir",
        workspace / "data" / "test",
        "--save_dir",
        tmp_path / "out",
        "--max_iter",
        1000000,
        "--save_interval",
        1000000,
    )
    try:
        while not caught(process):
            time.sleep(0.005)
        time.sleep(wait_s)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (code, f"{word}\n")


@SIGNALS
def test_a_signal_in_training_saves_a_whole_iteration_and_says_how_to_go_on(number, code, word, workspace, tmp_path):
    process = start(
        "--data_dir",
        workspace / "data" / "test",
        "--save_dir",
        tmp_path / "out",
        *SHORT,
        "--max_iter",
        1000000,
        "--no-early_stop",
        "--save_interval",
        1000000,
    )
    try:
        for line in process.stdout:
            if line.startswith("iteration 30:"):
                break
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == code and err == f"{word}\n"
    folder = run_folder(tmp_path / "out")
    (saved,) = (folder / "models").iterdir()
    assert f"saved {saved}" in out
    assert (
        f"python train.py --load_dir {folder} --load_iter -1" in out
        and f"python export.py --load_dir {folder} --report" in out
    )
    checkpoint = load_checkpoint(saved / "model.pth")
    assert saved.name == f"train_result_{checkpoint.iteration}" and checkpoint.iteration >= 30
    assert checkpoint.sampler["steps"] == checkpoint.iteration


def test_a_signal_in_the_finish_says_what_writes_the_missing_report(workspace, tmp_path):
    process = start("--data_dir", workspace / "data" / "test", "--save_dir", tmp_path / "out", *SHORT)
    try:
        while not list(tmp_path.glob("out/*/models/train_result_40/model.pth")):
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert (process.returncode, err) == (130, "interrupted\n")
    folder = run_folder(tmp_path / "out")
    assert f"python export.py --load_dir {folder} --report" in out
    assert load_checkpoint(folder / "models" / "train_result_40" / "model.pth").iteration == 40


def test_a_file_in_the_way_of_the_export_leaves_the_model_and_the_command_that_exports_it(workspace, tmp_path):
    process = start("--data_dir", workspace / "data" / "test", "--save_dir", tmp_path / "out", *SHORT)
    try:
        while not list(tmp_path.glob("out/*/config.json")):
            time.sleep(0.005)
        folder = run_folder(tmp_path / "out")
        (folder / "models" / "train_result_40" / "network_data.npz").mkdir(parents=True)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1 and "Traceback" not in err and err.startswith("error: ") and "train_result_40" in err
    assert f"python export.py --load_dir {folder} --report" in out
    assert saved_iterations(folder) == [20, 40]


def recorder_of(workspace, tmp_path):
    """A recorder of a session at its start."""
    config = Config()
    config.train.device = "cpu"
    texture_set = load_texture_set(workspace / "data" / "test")
    session = open_session(config, texture_set)
    session.run_dir = tmp_path / "run"
    writer = CheckpointWriter(session.run_dir, 3, lambda: "")
    return Recorder(session, session.run_dir, RunLog(tmp_path / "log", texture_set), writer, Stopwatch("training"))


@pytest.mark.parametrize("position, goes_on", [(30, True), (40, False)])
def test_a_run_interrupted_at_its_end_is_exported_and_not_gone_on_with(position, goes_on, workspace, tmp_path, capsys):
    recorder = recorder_of(workspace, tmp_path)
    recorder.interrupted(signal.SIGINT, Schedule("iterations", 0, 40, position))
    recorder.log.close()
    out = capsys.readouterr().out
    assert ("train.py --load_dir" in out) == goes_on
    assert f"python export.py --load_dir {tmp_path / 'run'} --report\n" in out


def test_a_checkpoint_that_finds_no_room_is_one_line_and_the_older_ones_are_named(workspace, tmp_path, capsys):
    import resource

    recorder, schedule = recorder_of(workspace, tmp_path), Schedule("iterations", 0, 40, 10)
    older = recorder.save(schedule, wait=True)
    recorder.session.iteration = 10
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        with pytest.raises(UserError, match="could not write .*train_result_10.*choose another folder") as error:
            recorder.save(schedule, wait=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        recorder.log.close()
    assert "enforce" not in str(error.value) and "\n" not in str(error.value)
    assert f"{older}\n" in capsys.readouterr().out and saved_iterations(tmp_path / "run") == [0]


class FullDisk(RunLog):
    """A log whose disk is full at its first evaluation."""

    def psnr(self, iteration, psnr_db):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_failure_between_two_steps_saves_them(workspace, tmp_path, capsys):
    config = Config()
    config.train.max_iter, config.train.eval_interval, config.train.batch_size = 40, 7, 1024
    config.train.device = "cpu"
    texture_set = load_texture_set(workspace / "data" / "test")
    session = open_session(config, texture_set)
    session.run_dir = tmp_path / "run"
    log = FullDisk(tmp_path / "log", texture_set)
    with pytest.raises(OSError, match="No space"):
        optimize(
            session,
            recorder=Recorder(
                session, session.run_dir, log, CheckpointWriter(session.run_dir, 3, lambda: ""), Stopwatch("training")
            ),
        )
    log.close()
    assert saved_iterations(tmp_path / "run") == [7] and "train_result_7" in capsys.readouterr().out
    saved = load_checkpoint(tmp_path / "run" / "models" / "train_result_7" / "model.pth")
    assert saved.sampler["steps"] == 7
