"""Batches that are interrupted or killed, or whose processes are: what was trained is saved, and a later batch goes on."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time

import pytest

from tests.batch.running import (
    GROUPS,
    QUICK,
    by_name,
    is_alive,
    output_of,
    read_record,
    read_summary,
    start_batch,
    wait_for,
    worker_processes,
)
from tests.helpers import make_material, run_folder, run_train
from training.checkpoint import load_checkpoint

NAMES = ("a_wall", "c_石")


@pytest.fixture
def batch(tmp_path):
    for name in NAMES:
        make_material(tmp_path / "data_batch" / name, 32, 32)
    return tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_process_costs_its_group_alone_and_another_takes_its_place(workers, batch):
    process = start_batch(batch, workers)
    try:
        # Each is killed at its group: the batch, with one process at a time too, is another process.
        children = worker_processes(process)
        assert len(children) == workers
        os.kill(children[0], signal.SIGKILL)
        wait_for(lambda: "failed" in output_of(batch))
        if workers == 1:
            wait_for(lambda: worker_processes(process) not in ([], children), process, batch)
        else:
            assert worker_processes(process) == children[1:]
        os.kill(worker_processes(process)[0], signal.SIGKILL)
        assert process.wait(60) == 1
    finally:
        process.kill()
    errors = re.findall(r"^error: (\S+) failed: its process was ended by signal 9, .* memory", output_of(batch), re.M)
    assert sorted(errors) == list(NAMES) and "0 of 2 materials" in output_of(batch)
    assert read_summary(batch)["counts"]["failed"] == 2
    for name in NAMES:
        assert "ended by signal 9" in (batch / "outputs_batch" / name / "log.txt").read_text("utf-8")


@pytest.mark.skipif(os.name == "nt", reason="Windows delivers no SIGINT to a single process")
@pytest.mark.parametrize(
    "number, code, word", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_an_interrupted_batch_saves_what_its_processes_have(number, code, word, batch):
    process = start_batch(batch, 2)
    try:
        # As a terminal does it: every process of the command gets it.
        os.killpg(process.pid, number)
        assert process.wait(100) == code
    finally:
        process.kill()
    out = output_of(batch)
    assert "Traceback" not in out and out.splitlines()[-1] == word
    assert "0 of 2 materials" in out and "--groups_resume" in out
    summary = read_summary(batch)
    assert summary["state"] == "interrupted" and summary["counts"]["interrupted"] == 2
    for name in NAMES:
        (checkpoint,) = run_folder(batch / "outputs_batch" / name).glob("models/*/model.pth")
        assert load_checkpoint(checkpoint).iteration >= 20
        assert re.search(rf"^interrupted: +{name}, saved .*{checkpoint.parent.name}", out, re.M)
        assert by_name(summary)[name]["saved"].endswith(checkpoint.parent.name)
        assert read_record(batch, name)["state"] == "interrupted"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_processes_of_a_killed_batch_save_and_end_and_the_next_batch_goes_on_from_there(batch):
    shutil.rmtree(batch / "data_batch" / "c_石")
    process = start_batch(batch, 1, "--max_iter", "600")
    try:
        (child,) = worker_processes(process)
        assert read_summary(batch)["state"] == "running"
        process.kill()
        process.wait(60)
        wait_for(lambda: not is_alive(child))
    finally:
        process.kill()
    (checkpoint,) = run_folder(batch / "outputs_batch" / "a_wall").glob("models/*/model.pth")
    saved = load_checkpoint(checkpoint).iteration
    assert 20 <= saved < 600
    ends = ["--no-early_stop", "--save_interval", "1000000", "--max_iter", "600"]
    process = run_train(*GROUPS, "--groups_resume", *QUICK, *ends, cwd=batch)
    assert (process.returncode, process.stderr) == (0, "")
    assert re.search(rf"^note: +a_wall: goes on from iteration {saved} of ", process.stdout, re.M)
    assert "1 of 1 materials" in process.stdout
    assert (run_folder(batch / "outputs_batch" / "a_wall") / "models" / "train_result_600" / "manifest.json").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_batch_waits_for_the_process_of_a_killed_one_that_still_holds_a_group(batch):
    process = start_batch(batch, 1)
    try:
        (child,) = worker_processes(process)
        # It cannot notice until it is woken.
        os.kill(child, signal.SIGSTOP)
        process.kill()
        process.wait(60)
        log = batch / "outputs_batch" / "a_wall" / "log.txt"
        second = start_batch(batch, 1, "--groups_resume", training=0)
        try:
            wait_for(lambda: log.read_text("utf-8").count("===") == 2, second, batch)
            time.sleep(1)
            assert "goes on" not in output_of(batch)
            os.kill(child, signal.SIGCONT)
            wait_for(lambda: "a_wall: goes on from iteration" in output_of(batch), second, batch)
            assert read_record(batch, "a_wall")["state"] == "running"
            second.send_signal(signal.SIGINT)
            assert second.wait(100) == 130
        finally:
            second.kill()
    finally:
        process.kill()
        if is_alive(child):
            os.kill(child, signal.SIGKILL)
