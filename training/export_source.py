"""What an export is made from: a trained model's layout, features and weights; also loaded from a checkpoint."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from configs import config_from_dict
from dataset import TextureSet, load_texture_set
from model.layout import ModelLayout, model_layout
from training.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from training.resume import other_images_note
from utils.errors import UserError


@dataclass
class ExportSource:
    """What an export is made from."""

    layout: ModelLayout
    grids: list[list[np.ndarray]]
    """Per grid, its levels coarsest first: float32 `[r, r, F]` features, not yet rounded."""
    network: np.ndarray
    """float32, flat: the weights of all layers, then the biases if any."""
    present: dict[str, bool]
    """Whether each map type is present."""
    normal_convention: str
    """opengl or directx."""
    storage: str = "rgba8"
    """rgba8, true_rate, packed or packed_rgba8."""
    dds_mips: bool = True
    """All levels in the DDS files; False: the finest alone."""
    map_facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """`TextureSet.map_facts`: depth, range and content of the maps that are present."""
    notices: list[str] = field(default_factory=list)
    """What whoever uses the export should know of the training."""


def checkpoint_source(saved: Checkpoint) -> ExportSource:
    """Return what a checkpoint's export is made from, stored as its own settings say."""
    config = config_from_dict(saved.config)
    return ExportSource(
        model_layout(config.model, saved.width, saved.height),
        [[level.cpu().numpy() for level in levels] for levels in saved.grids],
        saved.network.cpu().numpy(),
        saved.present,
        saved.normal_convention,
        config.export.storage,
        config.export.dds_mips,
        saved.map_facts,
        saved.notices,
    )


def source_from_checkpoint(run_dir: str | os.PathLike, load_iter: int) -> tuple[ExportSource, TextureSet | None]:
    """Load a run's checkpoint (-1: the newest) and, where its images can still be read, the texture set.

    Raises `UserError` where there is no such checkpoint.
    """
    path = find_checkpoint(Path(run_dir), load_iter)
    checkpoint = load_checkpoint(path)
    source = checkpoint_source(checkpoint)
    data_dir = str(checkpoint.config["run"]["data_dir"])
    try:
        reference = load_texture_set(data_dir, images=config_from_dict(checkpoint.config).images)
        if (reference.width, reference.height) != (
            source.layout.width,
            source.layout.height,
        ) or reference.present != checkpoint.present:
            raise UserError(f"{data_dir} is not the material that was trained")
        note = other_images_note(checkpoint, reference, path)
        if note:
            print(f"note: {note}", file=sys.stderr)
    except UserError as error:
        print(f"PSNR is not measured: {error}", file=sys.stderr)
        reference = None
    return source, reference
