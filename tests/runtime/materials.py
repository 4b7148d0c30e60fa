"""Exported materials for tests of what is made from exports."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from configs import HashGridConfig
from formats.reader import NeuralTextureReader
from tests.formats.reference_decoder import ALL, make_source
from training.exporting import export_material


def without(*names: str) -> dict[str, bool]:
    """All maps but these."""
    return {name: name not in names for name in ALL}


def exported(
    folder: Path, width: int = 64, height: int = 64, convention: str = "opengl", **source
) -> NeuralTextureReader:
    """Export a smooth random model of this size to `folder` and open it; `source` goes to `make_source`."""
    grids = [
        HashGridConfig(max_resolution=side, n_levels=2, quantize_bits=8, save_bits=32, interpolation="bilinear")
        for side in (8, 4)
    ]
    made = make_source(width, height, hash_grid_configs=grids, **source)
    made.normal_convention = convention
    export_material(made, folder)
    return NeuralTextureReader(folder)


def psnr_db(first: np.ndarray, second: np.ndarray) -> float:
    """PSNR of two uint8 arrays; infinite where they are equal."""
    error = np.square(first.astype(np.float64) - second).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
