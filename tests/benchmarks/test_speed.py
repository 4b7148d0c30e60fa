"""Charts of the speed benchmark."""

from __future__ import annotations

from benchmarks.speed import write_charts


def run(**fields):
    return {"history": [{"time_s": 1.0, "psnr_db": 20.0}, {"time_s": 8.0, "psnr_db": 26.0}], **fields}


def test_progress_and_cost_are_drawn_beside_the_results(tmp_path):
    results = {"training": run(), "plain": run(), **{f"side_{side}": run(nanoseconds_per_texel=300.0 + side)
                                                     for side in (1024, 512)}}
    written = write_charts(results, tmp_path / "speed.json")
    assert [path.name for path in written] == ["speed_progress.svg", "speed_sizes.svg"]
    progress, sizes = (path.read_text(encoding="utf-8") for path in written)
    assert "plain trainer" in progress and "training time, s" in progress
    assert "training time per drawn texel, ns" in sizes


def test_nothing_is_drawn_of_a_single_point(tmp_path):
    single = {"history": [{"time_s": 8.0, "psnr_db": 26.0}], "nanoseconds_per_texel": 300.0}
    assert write_charts({"training": single, "side_512": single}, tmp_path / "speed.json") == []
