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
    by_name,
    is_alive,
    output_of,
    read_record,
    read_summary,
    start_batch,
    wait_for,
    worker_processes,
)
from tests.helpers import make_material, run_folder
from training.checkpoint import load_checkpoint

NAMES = ("a_wall", "c_石")


@pytest.fixture
def batch(tmp_path):
    for name in NAMES:
        make_material(tmp_path / "data_batch" / name, 32, 32)
    return tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_killed_process_costs_its_group_alone_and_what_the_others_have_is_saved_at_the_end(batch):
    make_material(batch / "data_batch" / "d_third", 32, 32)
    process = start_batch(batch, 2)
    try:
        first, second = worker_processes(process)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: "failed" in output_of(batch))
        wait_for(lambda: len(worker_processes(process)) == 2, process, batch)
        third = (set(worker_processes(process)) - {first, second}).pop()
        assert is_alive(second) and re.search("^3 of 3: +d_third$", output_of(batch), re.M)
        # Nothing is left to train in its place.
        os.kill(third, signal.SIGKILL)
        wait_for(lambda: "d_third failed" in output_of(batch), process, batch)
        # A service manager often sends it to the first process alone.
        process.terminate()
        assert process.wait(100) == 143
    finally:
        process.kill()
    out = output_of(batch)
    assert "Traceback" not in out and out.splitlines()[-1] == "terminated" and "0 of 3 materials" in out
    errors = re.findall(r"^error: (\S+) failed: its process was ended by signal 9, .* memory", out, re.M)
    assert len(errors) == 2 and "d_third" in errors
    for name in errors:
        assert "ended by signal 9" in (batch / "outputs_batch" / name / "log.txt").read_text("utf-8")
    (saved,) = {*NAMES} - {*errors}
    assert_saved(batch, saved)
    assert read_summary(batch)["counts"]["failed"] == 2


def assert_saved(batch, name):
    """A group of an interrupted batch has a checkpoint, which the terminal, its record and the summary know of."""
    (checkpoint,) = run_folder(batch / "outputs_batch" / name).glob("models/*/model.pth")
    assert load_checkpoint(checkpoint).iteration >= 20
    assert re.search(rf"^interrupted: +{name}, saved .*{checkpoint.parent.name}", output_of(batch), re.M)
    assert by_name(read_summary(batch))[name]["saved"].endswith(checkpoint.parent.name)
    assert read_record(batch, name)["state"] == "interrupted"


@pytest.mark.skipif(os.name == "nt", reason="Windows delivers no SIGINT to a single process")
def test_a_batch_that_ctrl_c_ends_saves_what_all_its_processes_have(batch):
    process = start_batch(batch, 2)
    try:
        # A terminal sends it to every process of the command.
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(100) == 130
    finally:
        process.kill()
    out = output_of(batch)
    assert "Traceback" not in out and out.splitlines()[-1] == "interrupted"
    assert "0 of 2 materials" in out and "--groups_resume" in out
    summary = read_summary(batch)
    assert summary["state"] == "interrupted" and summary["counts"]["interrupted"] == 2
    for name in NAMES:
        assert_saved(batch, name)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_next_batch_waits_for_the_process_of_a_killed_one_to_save_and_end_and_goes_on_from_there(batch):
    shutil.rmtree(batch / "data_batch" / "c_石")
    ends = ["--max_iter", "300"]
    process = start_batch(batch, 1, *ends)
    try:
        (child,) = worker_processes(process)
        assert read_summary(batch)["state"] == "running"
        # It cannot notice until it is woken.
        os.kill(child, signal.SIGSTOP)
        process.kill()
        process.wait(60)
        log = batch / "outputs_batch" / "a_wall" / "log.txt"
        second = start_batch(batch, 1, "--groups_resume", *ends, training=0)
        try:
            wait_for(lambda: log.read_text("utf-8").count("===") == 2, second, batch)
            time.sleep(1)
            assert "goes on" not in output_of(batch)
            os.kill(child, signal.SIGCONT)
            assert second.wait(120) == 0, output_of(batch)
        finally:
            second.kill()
        wait_for(lambda: not is_alive(child))
    finally:
        process.kill()
        if is_alive(child):
            os.kill(child, signal.SIGKILL)
    checkpoints = run_folder(batch / "outputs_batch" / "a_wall").parent.glob("*/models/*/model.pth")
    saved, last = sorted(load_checkpoint(path).iteration for path in checkpoints)
    assert 20 <= saved < last == 300
    assert re.search(rf"^note: +a_wall: goes on from iteration {saved} of ", output_of(batch), re.M)
    assert "error: a_wall" not in output_of(batch) and "1 of 1 materials" in output_of(batch)
    assert (run_folder(batch / "outputs_batch" / "a_wall") / "models" / "train_result_300" / "manifest.json").is_file()
