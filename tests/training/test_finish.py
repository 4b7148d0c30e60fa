"""The end of a run: its figures, pictures and report are those of the exported files, and can be made afterwards."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dataset import load_texture_set
from export import main as export
from formats.reader import NeuralTextureReader
from reporting.metrics import material_psnr, material_ssim
from tests.helpers import ON, ROOT, SHORT, assert_one_line, make_material, run_folder
from utils.errors import UsageError, UserError, run_command

FINEST = {"iteration_40_mip0.png", "iteration_40_rendered.png"}
"""Pictures of a run that holds the finest mip alone."""


def _manifest(run_dir, iteration=40):
    return json.loads((run_dir / "models" / f"train_result_{iteration}" / "manifest.json").read_text(encoding="utf-8"))


def _copy_without_report(finished, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished[1], copy)
    (copy / "report.html").unlink()
    shutil.rmtree(copy / "media")
    return copy


def test_the_figures_of_a_run_are_those_of_the_files_it_wrote(finished, workspace):
    _, folder = finished
    manifest = _manifest(folder)
    reader = NeuralTextureReader(folder / "models" / "train_result_40")
    texture_set = load_texture_set(workspace / "data" / "test")
    for mip, reference in enumerate(texture_set.mips):
        decoded = reader.decode_uint8(mip)
        for name, value in material_psnr(reference, decoded, reader.present).items():
            assert manifest["psnr"][name][mip] == pytest.approx(value)
        if mip < 3:
            for name, value in material_ssim(reference, decoded, reader.present).items():
                assert manifest["ssim"][name][mip] == pytest.approx(value)
    assert {len(values) for values in manifest["ssim"].values()} == {3}


def test_console_and_report_show_the_manifests_figures_and_what_the_run_was_made_from(finished):
    process, folder = finished
    manifest = _manifest(folder)
    report = (folder / "report.html").read_text(encoding="utf-8")
    for text in (report, process.stdout):
        for name in manifest["psnr"]:
            for value in manifest["psnr"][name]:
                assert f"{value:.2f}" in text
        assert f"{manifest['ssim']['overall'][0]:.4f}" in text
    for words in (
        "train.py --mode train --data_dir ./data/test",
        "wall_albedo.png",
        "train.max_iter",
        "0: 64 x 64",
        "6: 1 x 1",
    ):
        assert words in report
    assert "finest mip" in process.stdout
    assert re.search(r"time: +[\d.]+ s: .*training [\d.]+ s.*export [\d.]+ s.*report [\d.]+ s", process.stdout)


def test_a_report_shows_the_material_under_light_with_figures_and_names_the_command_that_shows_it_live(finished):
    _, folder = finished
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "<h2>Under light</h2>" in report and f"python view.py --load_dir outputs/{folder.name}" in report
    figures = re.search(r"<td>neural texture</td><td>([\d.]+)</td><td>([\d.]+)</td>", report)
    assert figures and 5 < float(figures[1]) < 60 and 0 < float(figures[2]) < 1
    picture = Image.open(folder / "media" / "iteration_40_rendered.png")
    assert picture.width > 1000 and np.asarray(picture.convert("RGB")).std() > 20


def test_a_run_says_where_it_stands_beside_astc_and_ends_with_the_commands_that_come_next(finished):
    process, folder = finished
    beside = _manifest(folder)["beside_astc"]
    assert beside["bpp"] == _manifest(folder)["bpp"] and beside["gain_db"] < 0
    assert beside["psnr_db"] == pytest.approx(_manifest(folder)["psnr"]["overall"][0])
    assert f"{-beside['gain_db']:.2f} dB below ASTC at" in process.stdout
    assert re.search(r"^more quality per bit: +--preset quality", process.stdout, re.M)
    look, use, choices = process.stdout.splitlines()[-3:]
    assert look.endswith(f"python view.py --load_dir outputs/{folder.name}")
    assert use.endswith(f"python export.py --load_dir outputs/{folder.name} --engine unreal")
    assert all(name in choices for name in ("unity", "godot", "three", "gltf", "--shaders hlsl"))


def test_a_run_without_a_report_leaves_pictures_and_report_away(call, workspace, tmp_path):
    code, out, err = call(
        "--data_dir", workspace / "data" / "test", "--save_dir", tmp_path / "out", *SHORT, *ON, "--report", "False"
    )
    assert (code, err) == (0, "") and "report:" not in out
    folder = run_folder(tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == {"config.json", "models"}
    assert len(_manifest(folder)["ssim"]["overall"]) == 3


def test_a_run_that_stores_the_finest_levels_alone_says_so_of_every_other_mip(call, workspace, tmp_path):
    code, out, err = call(
        "--data_dir", workspace / "data" / "test", "--save_dir", tmp_path / "out", *SHORT, *ON, "--dds_mips", "False"
    )
    assert (code, err) == (0, "") and "exact" not in out
    rows = {row.split("│")[1].strip(): row for row in out.splitlines() if row.count("│") > 3}
    assert "not stored" not in rows["0"] and all(rows[str(mip)].count("not stored") >= 4 for mip in range(1, 7))
    folder = run_folder(tmp_path / "out")
    assert {path.name for path in (folder / "media").iterdir()} == FINEST
    code, out, err = call("--mode", "infer", "--load_dir", folder)
    assert (code, err) == (0, "") and out.count("not stored") == 6
    metrics = json.loads((folder / "infer" / "metrics.json").read_text(encoding="utf-8"))
    assert [entry["stored"] for entry in metrics["mips"]] == [True] + [False] * 6
    assert "psnr" in metrics["mips"][0] and not any("psnr" in entry for entry in metrics["mips"][1:])


def test_infer_gives_the_figures_and_the_texels_of_the_exported_files(call, finished, workspace, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished[1], copy)
    code, _, err = call("--mode", "infer", "--load_dir", copy, "--data_dir", workspace / "data" / "test")
    assert (code, err) == (0, "")
    manifest = _manifest(copy)
    metrics = json.loads((copy / "infer" / "metrics.json").read_text(encoding="utf-8"))
    for entry in metrics["mips"]:
        for name, value in entry["psnr"].items():
            assert value == pytest.approx(manifest["psnr"][name][entry["mip"]])
        assert ("ssim" in entry) == (entry["mip"] < 3)
    decoded = NeuralTextureReader(copy / "models" / "train_result_40").decode_uint8(1)
    assert (np.asarray(Image.open(copy / "infer" / "mip1_diffuse.png")) == decoded[..., :3]).all()


def test_identical_mips_are_null_in_the_metrics_of_infer(call, tmp_path):
    make_material(tmp_path / "flat", 16, 16, constant=True)
    for path in (tmp_path / "flat").iterdir():
        Image.fromarray(np.zeros_like(np.asarray(Image.open(path)))).save(path)
    code, _, err = call(
        "--data_dir",
        tmp_path / "flat",
        "--save_dir",
        tmp_path / "out",
        *SHORT,
        *ON,
        "--max_iter",
        60,
        "--output_activation",
        "none",
    )
    assert (code, err) == (0, "")
    folder = run_folder(tmp_path / "out")
    code, out, err = call("--mode", "infer", "--load_dir", folder)
    assert (code, err) == (0, "")
    manifest = _manifest(folder, 60)
    metrics = json.loads((folder / "infer" / "metrics.json").read_text(encoding="utf-8"))
    assert [entry["psnr"]["overall"] for entry in metrics["mips"]] == manifest["psnr"]["overall"]
    assert out.count("PSNR identical") == manifest["psnr"]["overall"].count(None)


def test_missing_pictures_and_report_are_written_from_the_export_that_is_there(
    finished, workspace, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(workspace)
    copy = _copy_without_report(finished, tmp_path)
    network = copy / "models" / "train_result_40" / "network_data.npz"
    before = network.stat().st_mtime_ns
    assert export(["--load_dir", str(copy), "--report"]) == 0
    assert "report.html" in capsys.readouterr().out and network.stat().st_mtime_ns == before
    assert _manifest(copy) == _manifest(finished[1])
    for path in (finished[1] / "media").iterdir():
        assert (copy / "media" / path.name).read_bytes() == path.read_bytes()
    report = (copy / "report.html").read_text(encoding="utf-8")
    assert f"{_manifest(copy)['psnr']['overall'][0]:.2f}" in report and "--config" in report


def test_the_report_of_an_interrupted_run_exports_its_newest_checkpoint_first(
    finished, workspace, tmp_path, monkeypatch
):
    monkeypatch.chdir(workspace)
    copy = _copy_without_report(finished, tmp_path)
    shutil.rmtree(copy / "models" / "train_result_40")
    assert export(["--load_dir", str(copy), "--report"]) == 0
    manifest = _manifest(copy, 20)
    assert len(manifest["psnr"]["overall"]) == 7 and len(manifest["ssim"]["overall"]) == 3
    assert len(list((copy / "media").iterdir())) == 8 and (copy / "report.html").is_file()


def test_the_report_of_another_export_lies_with_it_and_names_its_settings(finished, workspace, tmp_path, monkeypatch):
    monkeypatch.chdir(workspace)
    copy, out = _copy_without_report(finished, tmp_path), tmp_path / "other"
    (copy / "report.html").write_text("the run's own")
    other = ["--storage", "true_rate", "--dds_mips", "False", "--report", "--out", str(out)]
    assert export(["--load_dir", str(copy), *other]) == 0
    assert (copy / "report.html").read_text() == "the run's own" and not (copy / "media").exists()
    assert {path.name for path in (out / "media").iterdir()} == FINEST
    report = re.sub(r"</?t[dr][^>]*>|\s+", " ", (out / "report.html").read_text(encoding="utf-8"))
    assert re.search(r"export\.storage +true_rate", report) and re.search(r"export\.dds_mips +False", report)
    assert "config.json --storage true_rate --dds_mips False" in report


def test_an_export_without_report_writes_none(finished, workspace, tmp_path, monkeypatch):
    monkeypatch.chdir(workspace)
    copy = _copy_without_report(finished, tmp_path)
    assert export(["--load_dir", str(copy)]) == 0
    assert not (copy / "report.html").exists() and not (copy / "media").exists()


def test_a_report_without_the_images_is_refused_in_one_line(finished, workspace, tmp_path, capsys):
    copy = _copy_without_report(finished, tmp_path)
    images, away = workspace / "data", workspace / "away"
    images.rename(away)
    try:
        with pytest.raises(UserError, match="--report needs the images"):
            export(["--load_dir", str(copy), "--report"])
    finally:
        away.rename(images)
    assert not (copy / "report.html").exists()


def test_decoding_a_run_folder_decodes_its_newest_export_and_says_which(finished, tmp_path, capsys):
    assert export(["--decode", str(finished[1]), "--out", str(tmp_path / "pngs")]) == 0
    out = capsys.readouterr().out
    newest = finished[1] / "models" / "train_result_40"
    assert str(newest) in out
    decoded = NeuralTextureReader(newest).decode_uint8(0)
    assert (np.asarray(Image.open(tmp_path / "pngs" / "diffuse.png")) == decoded[..., :3]).all()
    with pytest.raises(UsageError, match="choose one of 40"):
        export(["--decode", str(finished[1]), "--load_iter", "20", "--out", str(tmp_path / "pngs")])


@pytest.mark.parametrize("flags, word", [(["--report"], "--report"), (["--load_iter", "3"], "--load_iter")])
def test_flags_that_do_not_go_with_decoding_an_export_are_refused(flags, word, finished, tmp_path, capsys):
    folder = finished[1] / "models" / "train_result_40"
    with pytest.raises(SystemExit) as end:
        run_command(lambda: export(["--decode", str(folder), "--out", str(tmp_path), *flags]))
    assert end.value.code == 2
    assert_one_line(capsys.readouterr().err, word)


def test_what_the_end_of_a_run_needs_is_not_imported_before_its_start():
    late = {"matplotlib", "torchmetrics", "torchvision", "tensorboardX", "jinja2", "flip_evaluator"}
    code = f"import sys, training.run, training.search, batch.groups; print(sorted({late} & set(sys.modules)))"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert process.stdout == "[]\n", process.stdout + process.stderr
