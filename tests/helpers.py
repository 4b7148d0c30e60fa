"""Running the trainer in tests: a small material, its command line, and how runs are compared."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from configs import config_from_dict
from dataset import load_texture_set
from formats.reader import NeuralTextureReader
from model.decoder.canonical import load_canonical_weights, stored_precision
from model.layout import model_layout
from model.texture import NeuralTexture
from quantize import values_to_codes
from reporting.metrics import material_psnr
from training.checkpoint import Checkpoint, load_checkpoint
from training.evaluate import decode_mip
from training.loss import present_channels

ROOT = Path(__file__).resolve().parent.parent
SHORT = [
    "--max_iter",
    "40",
    "--eval_interval",
    "10",
    "--early_stop_interval",
    "20",
    "--save_interval",
    "20",
    "--tile_size",
    "16",
    "--batch_size",
    "1024",
]
ON = ["--early_stop_psnr_threshold", "-100"]
"""Early stopping watches, but never stops."""
STAMP = re.compile(r"\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d")
# No network: weights that are not there are refused at once instead of being downloaded.
OFFLINE = {"OMP_NUM_THREADS": "1", "HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


def make_material(folder, width=64, height=64, constant=False):
    """A smooth tiling material: albedo, normals, roughness."""
    folder.mkdir(parents=True)
    y, x = np.mgrid[:height, :width]

    def wave(fx, fy):
        return 0.5 + (0 if constant else 0.35) * np.sin(2 * np.pi * (fx * x / width + fy * y / height))

    maps = {
        "albedo": np.stack([wave(1, 2), wave(3, 0), wave(0, 2)], -1),
        "roughness": wave(2, 1),
        "normal": np.stack([wave(1, 0), wave(0, 1), np.ones_like(wave(0, 0))], -1),
    }
    for name, values in maps.items():
        Image.fromarray((values * 255).astype(np.uint8)).save(folder / f"wall_{name}.png")
    return folder


def run_train(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *map(str, arguments)],
        cwd=cwd,
        text=True,
        encoding="utf-8",
        errors="replace",
        capture_output=True,
        timeout=300,
        env={**os.environ, **OFFLINE, "TORCH_HOME": str(cwd), **environment},
    )


def run_folder(save_dir):
    """The newest run folder in an output folder."""
    return sorted(path for path in Path(save_dir).iterdir() if STAMP.fullmatch(path.name))[-1]


def assert_one_line(err, *words):
    assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n"), err
    for word in words:
        assert str(word) in err, err


def equal(first, second):
    """Whether nested containers of tensors and plain values are the same, bit for bit (NaN equals NaN)."""
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second or (first != first and second != second)


def assert_same_training(first, second):
    """Two checkpoints hold the same model, state and history; only times, places and settings may differ."""
    for field in dataclasses.fields(Checkpoint):
        if field.name in ("config", "training_time_s", "lineage"):
            continue
        values = [getattr(checkpoint, field.name) for checkpoint in (first, second)]
        if field.name == "history":
            values = [[{**entry, "time_s": 0} for entry in history] for history in values]
        assert equal(*values), field.name


def trained_texture(checkpoint, layout):
    channels = present_channels(checkpoint.present)
    texture = NeuralTexture(layout, channels, torch.device("cpu"), torch.Generator().manual_seed(0))
    texture.grids.load(checkpoint.grids)
    load_canonical_weights(texture.decoder, checkpoint.network)
    return texture


def assert_export_agrees(folder, data_dir):
    """Codes equal the checkpoint's exactly, texels of every mip within one step, PSNR the last evaluation's."""
    checkpoint = load_checkpoint(folder / "model.pth")
    texture_set = load_texture_set(data_dir)
    config = config_from_dict(checkpoint.config)
    layout = model_layout(config.model, checkpoint.width, checkpoint.height)
    texture = trained_texture(checkpoint, layout)
    reader = NeuralTextureReader(folder)
    for g, grid in enumerate(layout.grids):
        for level, codes in enumerate(reader.codes(g)):
            assert (codes == values_to_codes(checkpoint.grids[g][level].numpy(), np.float32(grid.bits))).all()
    with stored_precision(texture.decoder):
        decoded = [decode_mip(texture, mip, True) for mip in range(layout.mips)]
    for mip, texels in enumerate(decoded):
        assert np.abs(texels.astype(int) - reader.decode_uint8(mip)).max() <= 1
    overall = reader.manifest["psnr"]["overall"]
    measured = [
        material_psnr(reference, texels, texture_set.present)["overall"]
        for reference, texels in zip(texture_set.mips, decoded)
    ]
    assert overall == pytest.approx(measured, abs=0.05)
    return checkpoint, overall[0]
