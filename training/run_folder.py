"""The folder of a run: its settings and its checkpoints."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from configs import VERSION, config_to_dict
from training.checkpoint import Checkpoint, checkpoint_folder, save_checkpoint
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


def start_run(session: Session) -> None:
    """Create the run's folder and record its settings."""
    save_dir = require_writable_folder(session.config.run.save_dir)
    session.run_dir = new_run_folder(save_dir)
    write_json(session.run_dir / "config.json", config_to_dict(session.config) | {"lineage": session.lineage, "version": VERSION})


def save_session(session: Session) -> Path:
    """Write a checkpoint of this moment and return its folder."""
    folder = checkpoint_folder(session.run_dir, session.iteration)
    save_checkpoint(Checkpoint(
        config_to_dict(session.config), session.layout.width, session.layout.height,
        dict(session.texture_set.present), session.texture_set.normal_convention, session.iteration,
        session.training_time_s, [[level.detach().cpu() for level in levels] for levels in session.backend.grids],
        session.backend.network(), session.backend.name, session.precision, session.backend.optimizer_state(),
        session.sampler.state(), session.noise_generator.get_state(), session.history, session.lineage), folder)
    return folder
