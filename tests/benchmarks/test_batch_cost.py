"""What a large batch takes, by a small one."""

from __future__ import annotations

import json

import pytest

from batch.board import Board
from batch.jobs import Job
from batch.materials import Found
from batch.record import GroupRecord, write_record
from batch.summary import Summary
from benchmarks.batch_cost import main, measured
from configs import Config, RunConfig
from utils.errors import UsageError, UserError


def summary(times, workers=2, **changes):
    groups = [{"state": "done", "time_s": time_s, "width": 4096, "height": 4096} for time_s in times]
    return {"workers": workers, "groups": [*groups, {"state": "failed"}], **changes}


def test_devices_share_the_materials_and_each_ends_as_many_at_a_time_as_it_did(tmp_path, capsys):
    (tmp_path / "summary.json").write_text(json.dumps(summary([30.0, 40.0, 50.0])))
    out = tmp_path / "cost.json"
    flags = ["--summary", tmp_path / "summary.json", "--devices", 1, 7, "--hardware", "a GPU", "--out", out]
    assert main([*map(str, flags)]) == 0
    results = json.loads(out.read_text())
    assert results["hours"] == pytest.approx({"1": 10_000 * 20 / 3600, "7": 1429 * 20 / 3600})
    assert results["measured"]["slowest_s"] == 50 and results["hardware"] == "a GPU"
    assert "4096 x 4096" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content",
    [[], {}, summary([]), summary([3.0]), summary([1.0, 0.0]), summary([1.0, 2.0], groups=[1]), summary([1.0], 0)],
)
def test_a_summary_that_tells_no_times_is_refused(content):
    with pytest.raises(UserError, match="summary"):
        measured(content)


def test_numbers_of_materials_and_devices_are_above_zero(tmp_path):
    with pytest.raises(UsageError, match="above 0"):
        main(["--summary", str(tmp_path), "--devices", "0"])


def test_the_summary_of_a_batch_is_what_it_reads(finished, tmp_path, capsys):
    config = Config(run=RunConfig(save_dir=str(tmp_path / "wall")))
    job = Job(0, "wall", config, tmp_path / "wall" / "log.txt")
    write_record(job.folder, GroupRecord("wall", "wall", "done", {}, {}, {}, time_s=7.5))
    board = Board([job], 1)
    board.take(0, "done", finished[1] / "models" / "train_result_40")
    assert Summary(board, Found([]), tmp_path, "python train.py").write("ended")
    assert main(["--summary", str(tmp_path / "summary.json")]) == 0
    assert "1 materials of 64 x 64 texels, 1 at a time, 7.5 s each" in capsys.readouterr().out
