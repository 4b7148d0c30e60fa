"""The folder of a run: its settings, and what its checkpoints hold."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import torch

from configs import VERSION, config_to_dict
from model.decoder.canonical import canonical_weights
from training.checkpoint import Checkpoint
from training.schedule import Schedule, plain_values
from training.session import Session
from utils.files import require_writable_folder, write_json


def new_run_folder(save_dir: Path) -> Path:
    """Create a run folder named after the present second, or the next free one."""
    moment = datetime.now()
    while True:
        folder = save_dir / moment.strftime("%Y-%m-%d-%H-%M-%S")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            moment += timedelta(seconds=1)


def start_run(session: Session) -> Path:
    """Create the run's folder, record its settings and return it."""
    save_dir = require_writable_folder(session.config.run.save_dir)
    session.run_dir = new_run_folder(save_dir)
    write_json(
        session.run_dir / "config.json",
        config_to_dict(session.config) | {"version": VERSION, "lineage": session.lineage},
    )
    return session.run_dir


def _snapshot(value: Any, to_host: bool) -> Any:
    """Return nested plain values and tensors as they are now, whatever training changes afterwards."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu" if to_host else value.device, copy=True)
    if isinstance(value, dict):
        return {key: _snapshot(item, to_host) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_snapshot(item, to_host) for item in value)
    return value


def session_checkpoint(session: Session, schedule: Schedule, to_host: bool = True) -> Checkpoint:
    """Return a checkpoint of this moment that shares no memory with the session.

    Its tensors lie on the host, as files need them, or where the session has them.
    """
    mask = session.texture_set.mask_for(session.layout.wrap)
    return Checkpoint(
        **_snapshot(
            {
                "config": config_to_dict(session.config),
                "width": session.layout.width,
                "height": session.layout.height,
                "present": dict(session.texture_set.present),
                "normal_convention": session.texture_set.normal_convention,
                "iteration": session.iteration,
                "training_time_s": session.training_time_s,
                "grids": [session.texture.grids.levels(grid) for grid in range(len(session.layout.grids))],
                "network": canonical_weights(session.texture.decoder),
                "backend": session.backend.name,
                "precision": session.precision,
                "optimizer": session.training_state(),
                "sampler": session.sampler.state(),
                "noise_rng": session.noise_generator.get_state(),
                "history": session.history,
                "lineage": session.lineage,
                "schedule": plain_values(schedule),
                "map_facts": session.texture_set.map_facts,
                "notices": session.notices,
                "mask": mask.digest if mask else "",
            },
            to_host,
        )
    )
