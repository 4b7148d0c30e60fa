"""Logs of groups take all that a process prints, the table shows who runs, and the machine is shared."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from batch.board import Board
from batch.jobs import SAVING, Job, Progress
from batch.live import LiveTable, counts_text, shown_groups
from batch.materials import Found
from batch.summary import Summary
from configs import Config
from tests.helpers import ROOT


def run_code(code, *arguments, **environment):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, text=True, capture_output=True, encoding="utf-8", env={**os.environ, **environment}
    )


def test_a_log_takes_what_python_and_libraries_print_and_puts_everything_back(tmp_path):
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom batch.output import output_to_log\nlines = []\n"
        "with output_to_log(Path(sys.argv[1]), lines.append):\n"
        "    print('from Python 石'); os.write(1, b'from a library\\n'); print('half', end='', file=sys.stderr)\n"
        "print(lines)\n"
    )
    log = tmp_path / "new" / "log.txt"
    process = run_code(code, log)
    assert (process.returncode, process.stderr) == (0, "") and process.stdout.strip() == "['from Python 石']"
    text = log.read_text("utf-8")
    assert "from Python 石\nfrom a library\nhalf" in text and f"{'=' * 3} 20" in text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_that_finds_no_room_stops_nothing(tmp_path):
    (tmp_path / "log.txt").symlink_to("/dev/full")
    code = (
        "import sys\nfrom pathlib import Path\nfrom batch.output import output_to_log\n"
        "with output_to_log(Path(sys.argv[1]), None):\n    print('x' * 100000)\nprint('done')\n"
    )
    process = run_code(code, tmp_path / "log.txt")
    assert (process.returncode, process.stdout, process.stderr) == (0, "done\n", "")


def test_a_crash_of_a_library_leaves_its_traceback_in_the_log(tmp_path):
    code = (
        "import faulthandler, sys\nfrom pathlib import Path\nfrom batch.output import output_to_log\n"
        "with output_to_log(Path(sys.argv[1]), None):\n    faulthandler._sigabrt()\n"
    )
    assert run_code(code, tmp_path / "log.txt").returncode != 0
    assert "Fatal Python error" in (tmp_path / "log.txt").read_text("utf-8")


def jobs_in(folder, count):
    config = Config()
    runs = [replace(config.run, save_dir=str(folder / f"wall_{index}"), data_dir="walls") for index in range(count)]
    return [
        Job(index, f"wall_{index}", replace(config, run=run), Path(run.save_dir) / "log.txt")
        for index, run in enumerate(runs)
    ]


def rendered(board, height):
    console = Console(width=100, height=height, force_terminal=True, color_system=None, file=open(os.devnull, "w"))
    with console.capture() as captured:
        console.print(LiveTable(board, console).render())
    return captured.get()


def test_the_table_shows_state_iteration_quality_and_time_left(tmp_path):
    board = Board(jobs_in(tmp_path, 3), 2)
    board.take(0, "started", "")
    assert "starting" in rendered(board, 30)
    board.take(0, "progress", Progress(1200, 0.4, 33.456, 125.0))
    board.take(1, "started", "10.0.0.7")
    board.take(1, "failed", "no room")
    shown = [line.split() for line in rendered(board, 30).splitlines() if line.startswith("wall")]
    assert shown[0] == ["wall_0", "training", "1,200", "(40%)", "33.46", "0", "s", "2", "min", "05", "s"]
    assert shown[1][:2] == ["wall_1", "failed"] and shown[2] == ["wall_2", "waiting"]
    assert counts_text(board) == "0 of 3 done, 1 failed, 1 running, 1 waiting"


def test_of_thousands_those_that_run_and_the_last_that_ended_are_shown(tmp_path):
    board = Board(jobs_in(tmp_path, 2000), 4)
    for index in range(1500):
        board.take(index, "started", "")
        board.take(index, "failed", "no room")
    for index in range(1500, 1504):
        board.take(index, "started", "")
    names = [group.job.name for group in shown_groups(board, 12)]
    assert names[:3] == ["wall_1497", "wall_1498", "wall_1499"] and names[3:7] == [
        f"wall_{n}" for n in range(1500, 1504)
    ]
    assert len(names) == 12 and len(rendered(board, 18).splitlines()) <= 18
    assert "1500 failed, 4 running, 496 waiting" in rendered(board, 18)


def test_what_is_said_of_the_moment_is_not_kept(tmp_path):
    board = Board(jobs_in(tmp_path, 1), 1)
    board.take(0, "started", "")
    board.take(0, "note", "goes on from iteration 3")
    board.take(0, "note", SAVING)
    board.take(0, "interrupted", "")
    assert board.groups[0].notes == ["goes on from iteration 3"]


def test_a_summary_of_a_batch_that_runs_escapes_names_and_survives_a_full_disk(tmp_path, capsys):
    jobs = jobs_in(tmp_path, 2)
    jobs[0] = replace(jobs[0], name="<b>&\"quotes'")
    summary = Summary(Board(jobs, 1), Found([]), tmp_path, "python train.py")
    assert summary.write("running")
    page = (tmp_path / "summary.html").read_text("utf-8")
    assert "<b>" not in page and "&lt;b&gt;&amp;" in page and "waiting" in page
    # A folder is in the way of one of its files, as good as no room.
    (tmp_path / "summary.csv").unlink()
    (tmp_path / "summary.csv").mkdir()
    assert not summary.write("running") and not summary.write("running")
    assert capsys.readouterr().out.count("note:") == 1
    (tmp_path / "summary.csv").rmdir()
    assert summary.write("ended")


def test_processes_share_the_threads_from_their_first_image_on():
    code = (
        "from multiprocessing import Pipe\nfrom batch.engines.child import work\nfrom utils.threads import processors\n"
        "ours, theirs = Pipe()\nours.send(None)\nwork(0, 2, False, theirs)\nprint(processors())\n"
    )
    process = run_code(code, OMP_NUM_THREADS="4")
    assert (process.stdout.strip(), process.stderr) == ("2", "")


def test_each_process_has_a_gpu_of_its_own_where_there_are_several(monkeypatch):
    import torch

    from batch.sharing import share, use_threads

    threads = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    try:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        config = Config()
        assert [share(config, number, 3).train.device for number in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
        assert torch.get_num_threads() == max(1, threads // 3)
        for device in ("cpu", "cuda:1", "mps"):
            asked = replace(config, train=replace(config.train, device=device))
            assert share(asked, 2, 3).train.device == device
    finally:
        use_threads(threads)
