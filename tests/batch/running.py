"""Batches in tests: their command line, started and watched as users' are."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.helpers import OFFLINE, ROOT, SHORT

GROUPS = "--groups_batching --groups_batch_dir ./data_batch --groups_save_dir ./outputs_batch".split()
QUICK = [*SHORT, "--early_stop_psnr_threshold", "-100", "--report", "False"]
ENDLESS = ["--max_iter", "1000000", "--no-early_stop", "--save_interval", "1000000"]


def read_summary(folder):
    return json.loads((Path(folder) / "outputs_batch" / "summary.json").read_text("utf-8"))


def read_record(folder, name):
    return json.loads((Path(folder) / "outputs_batch" / name / "group.json").read_text("utf-8"))


def by_name(summary):
    return {group["name"]: group for group in summary["groups"]}


def start_batch(folder, workers, *flags, training=None):
    """A batch that never ends by itself, its output in `output.txt`; returns when so many of its groups train."""
    folder = Path(folder)
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                str(ROOT / "train.py"),
                *GROUPS,
                "--groups_verbose",
                "--groups_max_workers",
                str(workers),
                *QUICK,
                *ENDLESS,
                *flags,
            ],
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **OFFLINE, "TORCH_HOME": str(folder), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    wait_for(lambda: len(training_groups(folder)) >= (training or workers), process, folder)
    return process


def output_of(folder):
    return (Path(folder) / "output.txt").read_text("utf-8", "replace")


def training_groups(folder):
    """Groups whose logs show an iteration."""
    logs = Path(folder).glob("outputs_batch/**/log.txt")
    return [log for log in logs if re.search(r"^iteration 20:", log.read_text("utf-8"), re.M)]


def wait_for(reached, process=None, folder=None, seconds=120):
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, output_of(folder) if folder else "not reached"
        assert process is None or process.poll() is None, output_of(folder) if folder else "ended"
        time.sleep(0.05)


def worker_processes(process):
    """Ids of the processes that train groups (Linux)."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def is_alive(pid):
    """Whether a process runs (Linux); one that has ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
