"""One run from images to exported files: `train` and what a resumed run starts from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from configs import Config, effective_early_stop_interval
from dataset import load_texture_set
from reporting.console import say
from reporting.metrics import Lpips
from training.checkpoint import Checkpoint
from training.finish import finish
from training.loop import optimize
from training.header import describe
from training.run_folder import save_session, start_run
from training.run_log import RunLog
from training.search import config_for_psnr
from training.session import open_session, planned_config
from utils.errors import UserError
from utils.files import require_writable_folder


def train(config: Config, resumed: Checkpoint | None = None, resumed_path: Path | None = None) -> Path:
    """Train, evaluate and export one material; returns the folder of the last checkpoint and its exports."""
    texture_set = load_texture_set(config.run.data_dir)
    target_psnr = None if resumed else config.model.target_psnr
    if not resumed:
        if target_psnr:
            require_writable_folder(config.run.save_dir)
            config = config_for_psnr(config, texture_set, optimize)
        config = planned_config(config, texture_set)
        config = replace(config, train=replace(
            config.train, early_stop_interval=effective_early_stop_interval(config)))
    session = open_session(config, texture_set, resumed, resumed_path)
    start_run(session)
    describe(session)
    lpips = Lpips(device="cpu")
    if not lpips.available:
        say("note", lpips.reason)
    log = RunLog(session.run_dir.parent / "tensorboard" / session.run_dir.name, texture_set, lpips)
    optimize(session, log)
    folder = save_session(session)
    manifest = finish(session, folder, log)
    reached = manifest["psnr"]["overall"][0]
    if target_psnr and reached is not None:
        say("target", f"{reached:.2f} dB reached, {target_psnr:g} asked" + (
            "" if reached >= target_psnr else f"; --target_psnr {2 * target_psnr - reached:.1f} or a longer run gets there"))
    log.close()
    return folder


def memory_error(error: Exception) -> UserError | None:
    """Return the one line for memory that ran out, of the host or of the GPU; None for any other error."""
    text = str(error)
    if not isinstance(error, MemoryError) and not any(words in text for words in ("out of memory", "allocate memory")):
        return None
    return UserError("not enough memory; lower n_neurons, the grids' max_resolution or batch_size, or use smaller "
                     "images")
