"""TensorBoard's log: what its tags mean, and that a full disk ends the log and not the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dataset import load_texture_set
from tests.helpers import ROOT
from training.run_log import RunLog


@pytest.fixture
def texture_set(workspace):
    return load_texture_set(workspace / "data" / "test")


def _events(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return events


def test_the_mean_over_mips_and_the_finest_mip_have_tags_that_say_what_they_are(texture_set, tmp_path):
    log = RunLog(tmp_path, texture_set)
    for iteration in (10, 20):
        log.psnr(iteration, [30.0, 32.0, 34.0, 90.0, 90.0, 90.0, float("inf")])
    log.close()
    events = _events(tmp_path)
    assert [event.value for event in events.Scalars("PSNR/train")] == [32.0, 32.0]
    assert [event.value for event in events.Scalars("PSNR_LOD0/train")] == [30.0, 30.0]
    assert "PSNR_LOD6/train" not in events.Tags()["scalars"]
    mean, finest = (events.SummaryMetadata(tag).summary_description for tag in ("PSNR/train", "PSNR_LOD0/train"))
    assert "Mean over the mips" in mean and "PSNR_LOD0/train" in mean
    assert finest.startswith("Mip 0, 64 x 64 texels")


def test_identical_mips_count_as_full_similarity_and_small_ones_are_left_out(texture_set, tmp_path):
    log = RunLog(tmp_path, texture_set)
    manifest = {
        "mips": 7,
        "psnr": {"overall": [30.0, None, 31.0, 32.0, 33.0, 34.0, 35.0]},
        "ssim": {"overall": [0.5, None]},
    }
    log.figures(10, manifest)
    log.close()
    events = _events(tmp_path)
    assert set(events.Tags()["scalars"]) == {"SSIM/train", "SSIM_LOD0/train", "SSIM_LOD1/train"}
    assert events.Scalars("SSIM_LOD1/train")[0].value == 1.0 and events.Scalars("SSIM/train")[0].value == 0.75


def test_pictures_are_the_sheets_they_were_given(texture_set, tmp_path):
    import io

    from PIL import Image

    buffer = io.BytesIO()
    sheet = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    Image.fromarray(sheet).save(buffer, "PNG")
    log = RunLog(tmp_path, texture_set)
    log.pictures(5, dict.fromkeys(range(7), buffer.getvalue()))
    log.close()
    events = _events(tmp_path)
    assert set(events.Tags()["images"]) == {f"LOD{mip}/maps" for mip in range(3)}
    (event,) = events.Images("LOD0/maps")
    assert (event.width, event.height, event.encoded_image_string) == (5, 4, buffer.getvalue())


SCRIPT = """
import sys
from pathlib import Path
import dataset
from training.run_log import RunLog
log = RunLog(Path(sys.argv[1]), dataset.load_texture_set(sys.argv[2]))
for iteration in range(20000):
    log.loss(iteration, 0.5)
log.psnr(20000, [30.0] * 7)
log.pictures(20000, {0: b"\\x89PNG" + bytes(1 << 20)})
print("on it goes")
log.close()
"""


@pytest.fixture
def full_disk(tmp_path):
    """A file system of its own with hardly any room."""
    folder = tmp_path / "small"
    folder.mkdir()
    if (
        not sys.platform.startswith("linux")
        or os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True
        ).returncode
    ):
        pytest.skip("a small file system can be mounted by root on Linux alone")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _log_in_a_process(folder, workspace):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(workspace / "data" / "test")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_full_disk_ends_the_log_with_one_line_and_lets_the_process_go_on_and_end(full_disk, workspace):
    process = _log_in_a_process(full_disk / "log", workspace)
    assert process.returncode == 0 and process.stderr == ""
    assert process.stdout.count("TensorBoard gets nothing more of this run: the disk is full") == 1
    assert process.stdout.rstrip().endswith("on it goes")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_disk_that_fills_up_on_the_way_does_the_same(workspace, tmp_path, monkeypatch):
    # A file system that is full from the first byte on, wherever one may not be mounted.
    (tmp_path / "sitecustomize.py").write_text(
        "import builtins, tensorboardX.record_writer as writer\n"
        "writer.open_file = lambda path: builtins.open('/dev/full', 'wb')\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    process = _log_in_a_process(tmp_path / "log", workspace)
    assert process.returncode == 0 and process.stderr == ""
    assert process.stdout.count("the disk is full") == 1 and process.stdout.rstrip().endswith("on it goes")
