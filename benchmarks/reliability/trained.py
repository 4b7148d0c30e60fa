"""Materials that are trained in seconds, and the settings for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

FLAGS = {
    "max_iter": 40,
    "eval_interval": 10,
    "save_interval": 10,
    "keep_checkpoints": 2,
    "batch_size": 1024,
    "early_stop": False,
    "compare_astc": False,
    "device": "cpu",
    "deterministic": True,
}
"""Settings of a run of about a second, with several checkpoints."""


def arguments(**settings: object) -> list[str]:
    """Return settings as flags of `train.py`.

    >>> arguments(max_iter=10, report=False)
    ['--max_iter', '10', '--report', 'False']
    """
    return [text for name, value in settings.items() for text in (f"--{name}", str(value))]


def write_material(folder: Path, side: int = 64, seed: int = 0) -> Path:
    """Write a material of albedo, normals and roughness, waves and grain that tile; returns its folder."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side * 2 * np.pi
    phase = random.uniform(0, 2 * np.pi, 5)

    def wave(across: int, down: int, number: int) -> np.ndarray:
        return 0.5 + 0.3 * np.sin(across * x + down * y + phase[number]) + random.normal(0, 0.03, (side, side))

    maps = {
        "albedo": np.stack([wave(1, 2, 0), wave(3, 0, 1), wave(0, 2, 2)], -1),
        "normal": np.stack([0.5 + 0.2 * np.sin(2 * x), 0.5 + 0.2 * np.cos(3 * y), np.full_like(x, 0.97)], -1),
        "roughness": wave(2, 1, 3),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in maps.items():
        Image.fromarray((values.clip(0, 1) * 255).astype(np.uint8)).save(folder / f"rock_{name}.png")
    return folder


def export_bytes(folder: Path) -> dict[str, bytes]:
    """Return the bytes of an export's files by name: grids, network and manifest."""
    names = [path.name for path in folder.iterdir() if path.suffix in (".dds", ".npz") or path.name == "manifest.json"]
    return {name: (folder / name).read_bytes() for name in sorted(names)}


def exports_below(folder: Path) -> list[Path]:
    """Return the folders of complete exports anywhere below a folder, the newest run's last."""
    return sorted(path.parent for path in folder.rglob("manifest.json") if not path.parent.name.startswith("."))
