"""Models with random features and weights, which cost what trained ones do, ready to be exported."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.random_version_2 import random_curves
from configs import N_CHANNELS, PRESETS, TEXTURE_CHANNELS, HashGridConfig, ModelConfig
from model.layout import model_layout
from training.export_source import ExportSource

ALL = dict.fromkeys(TEXTURE_CHANNELS, True)
"""All maps are present."""


def grid(resolution: int = 8, levels: int = 2, **fields) -> HashGridConfig:
    """Settings of a grid of four 8-bit features, apart from `fields`."""
    return HashGridConfig(
        **{"max_resolution": resolution, "n_levels": levels, "quantize_bits": 8, "save_bits": 32, **fields}
    )


def make_source(
    width: int = 20,
    height: int = 12,
    present: dict[str, bool] = ALL,
    seed: int = 0,
    storage: str = "rgba8",
    dds_mips: bool = True,
    **model,
) -> ExportSource:
    """A model with random features and weights, `model` its settings; half of its outputs lie inside [0, 1]."""
    config = ModelConfig(**{"hash_grid_configs": [grid(8), grid(4)], **model})
    layout = model_layout(config, width, height)
    rng = np.random.default_rng(seed)
    grids = [
        [
            rng.uniform(-0.6, 0.6, (entry.base_resolution << level,) * 2 + (entry.n_features,)).astype(np.float32)
            for level in range(entry.n_levels)
        ]
        for entry in layout.grids
    ]
    network = np.concatenate(
        [rng.normal(0, 1.5 / math.sqrt(layer.cols), layer.rows * layer.cols) for layer in layout.layers]
        + [rng.normal(0.2, 0.2, layer.rows) for layer in layout.layers if config.use_bias]
        + (
            [rng.normal(0, 0.8 / math.sqrt(layout.linear.cols), N_CHANNELS * layout.linear.cols)]
            if layout.linear
            else []
        )
        + [random_curves(rng, entry.n_features).ravel() for entry in layout.grids if config.feature_curves]
    )
    return ExportSource(layout, grids, network.astype(np.float32), dict(present), "opengl", storage, dds_mips)


def preset(name: str, storage: str | None = None, width: int = 128, height: int = 128, **changes) -> ExportSource:
    """A random model with a preset's layout and storage, apart from `changes`."""
    model = dict(PRESETS[name].get("model", {}))
    if "hash_grid_configs" in model:
        model["hash_grid_configs"] = [HashGridConfig(**fields) for fields in model["hash_grid_configs"]]
    storage = storage or PRESETS[name].get("export", {}).get("storage", "rgba8")
    return make_source(width, height, storage=storage, **{**model, **changes})
