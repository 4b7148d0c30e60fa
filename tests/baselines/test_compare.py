"""`compare.py` and the benchmark's reading of exported files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import compare
from baselines.results import measure_export
from configs import HashGridConfig, ModelConfig
from dataset import load_texture_set
from formats.reader import NeuralTextureReader
from model.layout import model_layout
from reporting.metrics import material_psnr
from tests.helpers import make_material
from training.exporting import ExportSource, export_material
from utils.errors import UsageError


@pytest.fixture
def exported(tmp_path) -> tuple[Path, Path]:
    """A material of two maps and an untrained export of it, in a run folder."""
    rng = np.random.default_rng(0)
    data = tmp_path / "plain"
    data.mkdir()
    Image.fromarray(rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)).save(data / "plain_albedo.png")
    Image.fromarray(rng.integers(0, 256, (32, 48), dtype=np.uint8)).save(data / "plain_roughness.png")
    textures = load_texture_set(data)
    layout = model_layout(ModelConfig(hash_grid_configs=[HashGridConfig(max_resolution=16)]), 48, 32)
    grids = [
        [
            rng.uniform(-0.5, 0.5, (grid.resolution(level),) * 2 + (grid.n_features,)).astype(np.float32)
            for level in range(grid.n_levels)
        ]
        for grid in layout.grids
    ]
    network = rng.normal(0, 0.5, layout.n_weights).astype(np.float32)
    run_dir = tmp_path / "2025-01-31-12-00-00"
    export_material(
        ExportSource(layout, grids, network, textures.present, "opengl"),
        run_dir / "models" / "train_result_10",
        textures,
    )
    return data, run_dir


def test_an_export_is_measured_on_the_files_it_was_read_from(exported):
    data, run_dir = exported
    textures, reader = load_texture_set(data), NeuralTextureReader(run_dir / "models" / "train_result_10")
    decoded = reader.decode_uint8(0)
    record = measure_export(textures, reader, decoded, time_s=3.0)
    assert record["psnr"] == pytest.approx(material_psnr(textures.mips[0], decoded, textures.present))
    assert record["psnr"]["overall"] == pytest.approx(reader.manifest["psnr"]["overall"][0])
    assert record["bpp"] == pytest.approx(reader.manifest["bpp"])
    network = run_dir / "models" / "train_result_10" / "network_data.npz"
    # 16 x 16 texels of RGBA8 behind a DX10 header of 148 bytes, and the decoder.
    assert record["size_bytes"] == 16 * 16 * 4 + 148 + network.stat().st_size
    # As run: inputs that are there, not those of the padding.
    assert record["macs_per_texel"] == reader.manifest["network"]["macs_as_run"]
    assert (record["bytes_fetched_per_texel"], record["encode_time_s"], record["random_access"]) == (16, 3.0, True)


def test_an_export_of_another_material_is_refused(exported, tmp_path):
    _, run_dir = exported
    (tmp_path / "other").mkdir()
    Image.new("RGB", (48, 32), (9, 9, 9)).save(tmp_path / "other" / "other_albedo.png")
    with pytest.raises(UsageError, match="trained on another material"):
        compare.main(["--data_dir", str(tmp_path / "other"), "--load_dir", str(run_dir), "--codecs"])


@pytest.mark.parametrize("codecs", [[], ["bc7", "astc:6x6"]])
def test_compare_writes_a_report_with_the_run_and_the_codecs_asked_for(exported, codecs):
    data, run_dir = exported
    assert compare.main(["--data_dir", str(data), "--load_dir", str(run_dir), "--codecs", *codecs]) == 0
    text = (run_dir / "compare.html").read_text(encoding="utf-8")
    assert "plain: 2025-01-31-12-00-00" in text
    assert ("ASTC 6x6" in text) == bool(codecs)
    assert "http://" not in text and "https://" not in text


def test_compare_says_that_the_images_are_others_of_equal_size(finished, workspace, tmp_path, capsys):
    other = make_material(tmp_path / "other", constant=True)
    for data_dir, is_said in ((other, True), (workspace / "data" / "test", False)):
        files = ["--data_dir", str(data_dir), "--load_dir", str(finished[1]), "--out", str(tmp_path / "compare.html")]
        assert compare.main([*files, "--codecs"]) == 0
        assert ("the images of other are not those" in capsys.readouterr().out) == is_said


def test_compare_names_a_folder_that_holds_no_export(exported, tmp_path):
    data, run_dir = exported
    with pytest.raises(UsageError, match="no folder"):
        compare.main(["--data_dir", str(data), "--load_dir", str(tmp_path / "absent")])
    with pytest.raises(UsageError, match="no export"):
        compare.main(["--data_dir", str(data), "--load_dir", str(data)])
    with pytest.raises(UsageError, match="choose one of 10"):
        compare.main(["--data_dir", str(data), "--load_dir", str(run_dir), "--load_iter", "11"])
