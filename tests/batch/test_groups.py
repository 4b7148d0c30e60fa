"""Batches: every folder of images below one is a group; what fails costs itself alone, and all of it is told."""

from __future__ import annotations

import csv
import os
import re
from urllib.parse import unquote

import pytest

from formats.manifest import read_manifest
from tests.batch.running import GROUPS, QUICK, by_name, read_record, read_summary
from tests.helpers import assert_one_line, make_material, run_folder, run_train

NAMES = ("a_wall", "c_石", "deep/er/aux")
OUTPUTS = ("a_wall", "c_石", "deep/er/aux_")


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A batch of three materials, one of them in a folder that Windows cannot have, a damaged one, and what is none."""
    folder = tmp_path_factory.mktemp("batch")
    data = folder / "data_batch"
    for name in (*NAMES, "d_poisoned"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        make_material(data / name, 32, 32)
    (data / "a_wall" / "wall_metallic.gif").write_text("")
    poisoned = data / "d_poisoned" / "wall_normal.png"
    poisoned.write_bytes(poisoned.read_bytes()[:80])
    (data / "b_empty").mkdir()
    (data / "notes").mkdir()
    (data / "notes" / "readme.txt").write_text("")
    (data / ".hidden").mkdir()
    process = run_train(
        *GROUPS, "--groups_max_workers", 2, *QUICK, cwd=folder, PYTHONIOENCODING="ascii", OMP_NUM_THREADS="2"
    )
    return folder, process


def test_what_can_be_trained_is_and_what_failed_is_named_once_with_its_cause(ended):
    folder, process = ended
    assert process.returncode == 1
    assert_one_line(process.stderr, "d_poisoned", "wall_normal.png")
    assert "Traceback" not in process.stdout and "3 of 4 materials" in process.stdout
    assert re.search(r"^failed: +d_poisoned: .*wall_normal.png", process.stdout, re.M)
    for name in OUTPUTS:
        run = run_folder(folder / "outputs_batch" / name)
        assert (run / "models" / "train_result_40" / "manifest.json").is_file()


def test_a_group_has_a_line_when_it_begins_and_one_when_it_ends(ended):
    _, process = ended
    end = r"^\d of 4: +(\S+) done in .* [\d.]+ dB at [\d.]+ bits per texel(?:, (\d+) notices?)?,"
    ends = dict(re.findall(end, process.stdout, re.M))
    # The terminal of this command shows ASCII alone.
    names = ["a_wall", "c_?", "d_poisoned", "deep/er/aux"]
    assert sorted(ends) == [name for name in names if name != "d_poisoned"] and int(ends["a_wall"]) >= 1
    assert sorted(re.findall(r"^\d of 4: +(\S+)$", process.stdout, re.M)) == names
    assert "iteration 10" not in process.stdout and process.stdout.count("python view.py --load_dir") == 1


def test_folders_without_a_material_and_changed_names_are_said(ended):
    folder, process = ended
    assert re.search(r"^skipped: +b_empty: it is empty$", process.stdout, re.M)
    assert re.search(r"^skipped: +notes: no images among its 1 file$", process.stdout, re.M)
    assert ".hidden" not in process.stdout
    assert re.search(r"^note: +deep/er/aux goes to \S+aux_, a name that every system can have$", process.stdout, re.M)
    assert {entry["folder"] for entry in read_summary(folder)["skipped"]} == {"b_empty", "notes"}


def test_a_log_has_the_full_output_and_the_traceback_of_a_failure(ended):
    folder, _ = ended
    log = (folder / "outputs_batch" / "a_wall" / "log.txt").read_text("utf-8")
    assert re.search(r"^iteration 40: ", log, re.M) and re.search(r"^note: +skipped wall_metallic.gif", log, re.M)
    failed = (folder / "outputs_batch" / "d_poisoned" / "log.txt").read_text("utf-8")
    assert "Traceback (most recent call last)" in failed and "wall_normal.png" in failed


def test_the_summary_has_every_group_and_the_failed_first(ended):
    folder, process = ended
    summary = read_summary(folder)
    assert summary["state"] == "ended" and summary["workers"] == 2
    assert summary["counts"] == {"failed": 1, "interrupted": 0, "running": 0, "waiting": 0, "done": 3, "kept": 0}
    assert [group["name"] for group in summary["groups"]] == ["d_poisoned", "a_wall", "c_石", "deep/er/aux"]
    failed, first = summary["groups"][:2]
    assert "wall_normal.png" in failed["cause"] and "psnr_db" not in failed
    assert first["maps"] == ["diffuse", "normal", "roughness"] and (first["width"], first["height"]) == (32, 32)
    assert re.search(rf"a_wall done in .* {first['psnr_db']:.2f} dB at {first['bpp']:.2f} bits", process.stdout)
    assert first["notices"] and first["time_s"] > 0
    assert (folder / "outputs_batch" / first["export"] / "manifest.json").is_file()
    assert (folder / "outputs_batch" / first["log"]).is_file()
    with (folder / "outputs_batch" / "summary.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["state"]) for row in rows] == [(g["name"], g["state"]) for g in summary["groups"]]
    assert float(rows[1]["psnr_db"]) == pytest.approx(first["psnr_db"])


def test_the_page_of_a_summary_holds_everything_itself(ended):
    folder, _ = ended
    page = (folder / "outputs_batch" / "summary.html").read_text("utf-8")
    assert page.index("d_poisoned") < page.index("a_wall\n<div") and page.count("data:image/jpeg;base64,") == 3
    assert "c_石" in page and "b_empty" in page and "wall_normal.png" in page
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)
    for link in re.findall(r'href="([^"]+)"', page):
        assert (folder / "outputs_batch" / unquote(link)).exists(), link


def test_a_later_batch_keeps_what_is_finished_and_trains_what_has_changed(ended):
    folder, _ = ended
    before = read_summary(folder)
    data = folder / "data_batch"
    albedo = (data / "a_wall" / "wall_albedo.png").read_bytes()
    (data / "d_poisoned" / "wall_normal.png").write_bytes((data / "a_wall" / "wall_normal.png").read_bytes())
    (data / "c_石" / "wall_roughness.png").write_bytes(albedo)
    # The export of one is damaged; its training is at its end.
    damaged = next((folder / "outputs_batch" / "deep/er/aux_").glob("*/models/train_result_40/hash_grid_0.dds"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    others = ["--device", "cpu", "--save_interval", 30, "--keep_checkpoints", 2]
    both = ["--groups_resume", "--groups_max_workers", 2, "--groups_verbose"]
    process = run_train(*GROUPS, *both, *QUICK, *others, cwd=folder)
    assert (process.returncode, process.stderr) == (0, "")
    assert re.search(r"a_wall was finished before, [\d.]+ dB", process.stdout)
    assert re.search(r"^note: +c_石: trained anew: wall_roughness.png has changed$", process.stdout, re.M)
    assert re.search(r"^note: +deep/er/aux: was finished, but .*hash_grid_0.dds", process.stdout, re.M)
    assert re.search(r"^note: +deep/er/aux: its training had ended", process.stdout, re.M)
    assert "4 of 4 materials" in process.stdout and "1 of them before" in process.stdout
    after = read_summary(folder)
    assert after["counts"]["kept"] == 1 and after["counts"]["done"] == 3
    old, new = by_name(before), by_name(after)
    assert new["a_wall"]["export"] == old["a_wall"]["export"] and new["a_wall"]["psnr_db"] == old["a_wall"]["psnr_db"]
    assert new["a_wall"]["notices"] == old["a_wall"]["notices"]
    assert new["c_石"]["export"] != old["c_石"]["export"]
    # Exported again from its last checkpoint, to the same files.
    assert new["deep/er/aux"]["export"] == old["deep/er/aux"]["export"]
    assert new["deep/er/aux"]["psnr_db"] == pytest.approx(old["deep/er/aux"]["psnr_db"])
    assert read_record(folder, "d_poisoned")["state"] == "done"
    # Where several speak, each line has its group's name.
    for name in ("c_石", "d_poisoned"):
        assert len(re.findall(rf"^{name}: +iteration \d+:", process.stdout, re.M)) == 4


def test_a_process_that_has_trained_others_trains_the_same_to_the_last_bit(ended):
    """Two processes train four groups; the last one is the same images as the first."""
    folder, _ = ended
    exports = [next((folder / "outputs_batch" / name).glob("*/models/train_result_40")) for name in OUTPUTS[::2]]
    first, last = ([(entry["name"], entry["sha256"]) for entry in read_manifest(one)["files"]] for one in exports)
    assert first == last


def test_processes_share_the_threads(ended):
    folder, _ = ended
    for name in OUTPUTS:
        log = (folder / "outputs_batch" / name / "log.txt").read_text("utf-8")
        assert re.search(r"^training on: .* 1 threads?\b", log, re.M)


def test_one_process_shows_everything_when_asked_and_is_taken_for_the_next_group(call, tmp_path):
    for name in ("one", "two"):
        make_material(tmp_path / "batch" / name, 16, 16)
    batch = [
        "--groups_batching",
        "True",
        "--groups_batch_dir",
        tmp_path / "batch",
        "--groups_save_dir",
        tmp_path / "out",
    ]
    flags = [*QUICK, "--no-early_stop", "--seed", 3, "--data_dir", "x"]
    code, out, err = call(*batch, "--groups_verbose", *flags)
    assert (code, err) == (0, "") and len(re.findall(r"^iteration 40", out, re.M)) == 2 and "2 of 2 materials" in out
    logs = [(tmp_path / "out" / name / "log.txt").read_text("utf-8") for name in ("one", "two")]
    assert len({re.search(r"process (\d+)", log)[1] for log in logs}) == 1
    assert str(os.getpid()) not in "".join(re.findall(r"process (\d+)", "".join(logs)))
    # Settings without effect are noted once, and none that nobody gave.
    notes = re.findall(r"^note: +(.* no effect .*)$", out, re.M)
    assert [note.split()[0] for note in notes] == ["data_dir", "early_stop_interval,"]


@pytest.mark.parametrize(
    "flags, word",
    [
        (["--groups_batch_dir", "nowhere"], "nowhere"),
        (["--groups_batch_dir", "."], "sub-folder"),
        (["--load_dir", "x"], "--load_dir"),
        (["--mode", "infer"], "infer"),
    ],
)
def test_groups_refuse_what_they_cannot_do(flags, word, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = call("--groups_batching", *flags)
    assert code == 2
    assert_one_line(err, word)


def test_a_config_file_can_ask_for_groups(call, tmp_path):
    (tmp_path / "settings.json").write_text('{"run": {"groups_batching": true, "groups_batch_dir": "nowhere"}}')
    code, _, err = call("--config", tmp_path / "settings.json")
    assert code == 2
    assert_one_line(err, "nowhere")
