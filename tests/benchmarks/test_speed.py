"""The speed benchmark: its charts, and two checkouts in turns."""

from __future__ import annotations

import json

import pytest

from benchmarks import speed
from benchmarks.speed import write_charts
from tests.helpers import ROOT, make_material
from utils.errors import UsageError


def run(**fields):
    return {"history": [{"time_s": 1.0, "psnr_db": 20.0}, {"time_s": 8.0, "psnr_db": 26.0}], **fields}


def test_progress_and_cost_are_drawn_beside_the_results(tmp_path):
    results = {
        "training": run(),
        "plain": run(),
        **{f"side_{side}": run(nanoseconds_per_texel=300.0 + side) for side in (1024, 512)},
    }
    written = write_charts(results, tmp_path / "speed.json")
    assert [path.name for path in written] == ["speed_progress.svg", "speed_sizes.svg"]
    progress, sizes = (path.read_text(encoding="utf-8") for path in written)
    assert "plain trainer" in progress and "training time, s" in progress
    assert "training time per drawn texel, ns" in sizes


def test_nothing_is_drawn_of_a_single_point(tmp_path):
    single = {"history": [{"time_s": 8.0, "psnr_db": 26.0}], "nanoseconds_per_texel": 300.0}
    assert write_charts({"training": single, "side_512": single}, tmp_path / "speed.json") == []


def test_two_checkouts_are_timed_in_turns_on_equal_steps(tmp_path, monkeypatch, capsys):
    arguments = [
        "--data_dir",
        make_material(tmp_path / "wall"),
        "--baseline",
        ROOT,
        "--turns",
        "1",
        "--steps",
        "2",
        "--flags",
        '{"batch_size": 1024}',
        "--out",
        tmp_path / "speed.json",
    ]
    monkeypatch.setattr("sys.argv", ["benchmarks.speed", *map(str, arguments)])
    assert speed.main() == 0
    compared = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))["comparison"]
    assert compared["baseline"]["psnr_db"] == compared["this"]["psnr_db"]
    for which in ("minimum", "median"):
        assert compared[f"{which}_ratio"] * compared["baseline"][f"{which}_ms"] == pytest.approx(
            compared["this"][f"{which}_ms"]
        )
    assert "this / baseline" in capsys.readouterr().out


def test_a_folder_that_is_no_checkout_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["benchmarks.speed", "--data_dir", str(tmp_path), "--baseline", str(tmp_path)])
    with pytest.raises(UsageError, match="no checkout"):
        speed.main()
