"""The rate-distortion benchmark: its files, its cache, and trainings that fail."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from benchmarks import rate_distortion
from benchmarks.toolkit import newest_run
from formats.manifest import find_export
from tests.baselines.textures import material
from utils.errors import UsageError, UserError


def test_the_newest_run_and_its_last_export_are_found(tmp_path):
    for run_name, iterations in (("2025-01-31-12-00-00", (500,)), ("2025-02-01-09-00-00", (500, 1000))):
        for iteration in iterations:
            folder = tmp_path / run_name / "models" / f"train_result_{iteration}"
            folder.mkdir(parents=True)
            (folder / "manifest.json").write_text("{}")
    (tmp_path / "tensorboard").mkdir()
    newest = newest_run(tmp_path)
    assert newest.name == "2025-02-01-09-00-00"
    assert find_export(newest).name == "train_result_1000"
    assert find_export(newest, 500).name == "train_result_500"
    assert find_export(find_export(newest)) == find_export(newest)
    with pytest.raises(UsageError, match="500, 1000"):
        find_export(newest, 7)
    with pytest.raises(UserError, match="no run folder"):
        newest_run(tmp_path / "tensorboard")


def test_the_benchmark_writes_json_plots_tables_and_a_report_and_resumes(tmp_path, capsys):
    source = tmp_path / "waves"
    source.mkdir()
    image = material(48, 40).mips[0]
    Image.fromarray(image[..., :3]).save(source / "waves_albedo.png")
    Image.fromarray(image[..., 6]).save(source / "waves_rough.png")
    arguments = ["--data_dir", str(source), "--out", str(tmp_path / "out"), "--presets", "--codecs", "bc7", "astc"]
    assert rate_distortion.main(arguments) == 0
    assert "(kept)" not in capsys.readouterr().out
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    codecs = ["bound"] * len(rate_distortion.BOUND_RATES) + ["bc7"] + ["astc"] * 6
    assert [record["codec"] for record in results["records"]] == codecs
    assert len({tuple(record) for record in results["records"]}) == 1, "records differ in their schema"
    for name in (
        "report.html",
        "summary.md",
        "rate_distortion_waves.svg",
        "crops/waves_worst.png",
        "crops/waves_typical.png",
    ):
        assert (tmp_path / "out" / name).stat().st_size > 500, name
    assert rate_distortion.main(arguments) == 0
    assert capsys.readouterr().out.count("(kept)") == 7


@pytest.mark.parametrize(
    "choice, cause",
    [
        (["--presets", "no_such_preset"], "no_such_preset"),
        (["--presets", "ue5", "--flags", '{"n_neurons": 15}'], "n_neurons is 15"),
    ],
)
def test_a_training_that_fails_is_named_and_keeps_the_baselines(choice, cause, tmp_path, capsys):
    (tmp_path / "m").mkdir()
    Image.fromarray(material(16, 16).mips[0][..., :3]).save(tmp_path / "m" / "m_albedo.png")
    code = rate_distortion.main(
        [
            "--data_dir",
            str(tmp_path / "m"),
            "--out",
            str(tmp_path / "out"),
            *choice,
            "--bpp",
            "5",
            "--time_budget",
            "1",
            "--codecs",
            "bc7",
        ]
    )
    errors = capsys.readouterr().err
    assert code == 1 and cause in errors and "train.log" in errors
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert [record["codec"] for record in results["records"] if record["codec"] != "bound"] == ["bc7"]
    assert rate_distortion.toolkit_setting(5, 60, {"batch_size": 8}) != rate_distortion.toolkit_setting(5, 60)
