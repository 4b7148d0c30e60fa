"""One group of a batch, from its images to its exports, in a process of its own.

PyTorch is loaded when a group is to be trained, so that one that is kept, or has no images, waits for nothing.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

import utils.threads  # noqa: F401, before torch
from batch.content import group_content
from batch.jobs import Job, JobTell, Progress
from batch.names import RUN_FOLDER
from batch.output import output_to_log
from batch.record import Beginning, GroupRecord, begin, checkpoints, write_record
from batch.thumbnail import write_thumbnail
from configs import Config, config_from_dict, early_stop_acts, effective_early_stop_interval
from dataset import TextureSet, get_texture_config, load_texture_set
from formats.manifest import read_manifest
from images.inputs import material_maps
from images.options import with_opacity
from utils.errors import UserError, describe_os_error
from utils.files import remove_leftovers, require_writable_folder
from utils.interrupt import Interrupted

if TYPE_CHECKING:
    from training.checkpoint import Checkpoint

Prepare = Callable[[Config], Config]
"""Sets the process up for a training, its threads and device, and returns the settings with what that changes."""
LOCK_NAME = ".group.lock"
LOCK_WAIT_S = 90.0
"""How long a group waits for a process of an earlier batch that is still saving it."""


def run_job(job: Job, verbose: bool, tell: JobTell, prepare: Prepare | None = None) -> bool:
    """Train a group, or keep what is finished of it, with its output in its log; returns whether that worked.

    How it ended is told in any case, and a failure's traceback goes to the log; with `verbose` the lines of its output
    are told too. `prepare` is called before PyTorch is used. A signal has the training saved and is raised again.
    """
    began = time.perf_counter()
    try:
        require_writable_folder(job.folder)
        with (
            output_to_log(job.log_path, (lambda line: tell("line", line)) if verbose else None),
            group_lock(job.folder),
        ):
            # Groups may lie below others; only run folders are this group's alone.
            remove_leftovers(job.folder, RUN_FOLDER)
            return _run(job, tell, prepare, began)
    except UserError as error:
        # No folder for it, no log, or no lock.
        tell("failed", str(error))
        return False


def _run(job: Job, tell: JobTell, prepare: Prepare | None, began: float) -> bool:
    """Do what `run_job` says where the group's folder is held."""
    record: GroupRecord | None = None

    def keep_record(state: str, **fields: object) -> None:
        """Note how far the group is; where the disk is full a later batch finds it unfinished."""
        if record:
            taken_s = record.time_s + time.perf_counter() - began
            with contextlib.suppress(UserError):
                write_record(job.folder, replace(record, state=state, time_s=taken_s, **fields))  # type: ignore[arg-type]

    try:
        data_dir, images = job.config.run.data_dir, job.config.images
        maps = with_opacity(material_maps(data_dir, get_texture_config()), images.opacity_as, Path(data_dir))
        content = group_content(job.config, maps)
        beginning = begin(job.folder, content, job.resume)
        if beginning.note:
            print(beginning.note)
            tell("note", beginning.note)
        if beginning.finished:
            tell("kept", str(beginning.finished))
            return True
        record = GroupRecord(
            job.name,
            data_dir,
            "running",
            content.files,
            content.maps,
            content.settings,
            beginning.earlier,
            time_s=beginning.time_s,
        )
        write_record(job.folder, record)
        texture_set = load_texture_set(data_dir, images=images)
        record = replace(record, notices=list(texture_set.notices))
        write_record(job.folder, record)
        write_thumbnail(job.folder, texture_set)
        folder = _train(job, texture_set, beginning, tell, prepare, began)
        notices = [str(notice) for notice in read_manifest(folder).get("notices", ())]
        for notice in notices:
            if notice not in texture_set.notices:
                # Of the training, such as that it diverged.
                tell("note", notice)
        keep_record("done", folder=folder.relative_to(job.folder).as_posix(), notices=notices)
        tell("done", str(folder))
        return True
    except Interrupted as error:
        keep_record("interrupted")
        tell("interrupted", error.saved or _newest(job, record))
        raise
    except Exception as error:
        traceback.print_exc()
        cause = _cause(error)
        keep_record("failed", cause=cause)
        tell("failed", cause)
        return False


@contextlib.contextmanager
def group_lock(folder: Path) -> Iterator[None]:
    """Hold a group's folder while it is trained, so that two processes never write into it.

    A process that is still saving, of a batch that was ended, is waited for. Raises `UserError` where one goes on. Network
    drives without locks are used as they are.
    """
    lock = FileLock(folder / LOCK_NAME)
    try:
        lock.acquire(timeout=LOCK_WAIT_S, poll_interval=0.2)
    except Timeout as error:
        raise UserError(
            f"another process trains into {folder}; wait until it has ended, or choose another groups_save_dir"
        ) from error
    except (NotImplementedError, OSError):
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _train(
    job: Job, texture_set: TextureSet, beginning: Beginning, tell: JobTell, prepare: Prepare | None, began: float
) -> Path:
    """Train a group from its start or from a checkpoint; returns the last checkpoint's folder, with the exports."""
    importing = time.perf_counter()
    from tqdm import tqdm

    from training.progress import progress_told
    from training.run import train

    settings = prepare(job.config) if prepare else job.config
    # A time budget is that of the group, and the first one of a process loads PyTorch for all.
    began += time.perf_counter() - importing
    # The lock that bars have otherwise is one of the system's, which a process that is killed leaves behind.
    tqdm.set_lock(threading.RLock())

    def told(
        phase: str, iteration: int, fraction: float, psnr_db: float | None = None, left_s: float | None = None
    ) -> None:
        tell("progress", Progress(iteration, fraction, psnr_db, left_s, phase))

    with progress_told(told), _device_memory_given_back():
        found = _usable_checkpoint(beginning, tell)
        if found is None:
            return train(settings, texture_set=texture_set, started=began)
        path, saved = found
        config = _resumed_config(settings, saved)
        if _training_ended(config, saved):
            tell("note", f"its training had ended with {path.parent}, which is exported now")
            return _finish(config, path, saved, texture_set)
        tell("note", f"goes on from iteration {saved.iteration} of {path.parent.parent.parent}")
        return train(config, saved, path, texture_set=texture_set, started=began)


@contextlib.contextmanager
def _device_memory_given_back() -> Iterator[None]:
    """Give back at the end what PyTorch keeps of a GPU's memory for later, since other processes may share it."""
    import torch

    try:
        yield
    finally:
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def _usable_checkpoint(beginning: Beginning, tell: JobTell) -> tuple[Path, Checkpoint] | None:
    """Return the newest checkpoint that is whole."""
    from training.checkpoint import load_checkpoint

    for path in beginning.checkpoints:
        try:
            return path, load_checkpoint(path)
        except UserError as error:
            tell("note", f"{error}: an older one is tried" if path != beginning.checkpoints[-1] else str(error))
    return None


def _resumed_config(config: Config, saved: Checkpoint) -> Config:
    """Return a checkpoint's settings, grids found for a target among them, with what does not matter to the result."""
    stored = config_from_dict(saved.config)
    train = replace(
        stored.train,
        device=config.train.device,
        save_interval=config.train.save_interval,
        keep_checkpoints=config.train.keep_checkpoints,
    )
    export = replace(stored.export, report=config.export.report, compare_astc=config.export.compare_astc)
    return replace(stored, run=config.run, train=train, export=export, given=config.given)


def _training_ended(config: Config, saved: Checkpoint) -> bool:
    """Return whether a checkpoint is the end of its training, so that its exports alone are missing."""
    from training.loop import stalled
    from training.schedule import saved_schedule

    if saved_schedule(saved, config.train).fraction >= 1:
        return True
    if not (early_stop_acts(config.train) and saved.history):
        return False
    at_last = saved.history[-1]["iteration"] == saved.iteration
    interval, threshold_db = effective_early_stop_interval(config), config.train.early_stop_psnr_threshold
    return at_last and stalled(saved.history, interval, threshold_db) is not None


def _finish(config: Config, path: Path, saved: Checkpoint, texture_set: TextureSet) -> Path:
    """Export a checkpoint whose training has ended, with figures, and with a report where the settings ask for one."""
    from training.export_source import checkpoint_source
    from training.exporting import export_material
    from training.run_report import add_similarity, report_checkpoint

    folder, run_dir = path.parent, path.parent.parent.parent
    export = export_material(checkpoint_source(saved), folder, texture_set)
    if config.export.report:
        report_checkpoint(run_dir, saved, export, folder, texture_set)
    else:
        add_similarity(export, folder, texture_set)
    return folder


def _newest(job: Job, record: GroupRecord | None) -> str:
    """Return the folder of the newest checkpoint of what is trained, empty where there is none."""
    found = checkpoints(job.folder, record.earlier) if record else []
    return str(found[0].parent) if found else ""


def _cause(error: Exception) -> str:
    """Return one line on why a group failed."""
    if "torch" in sys.modules:
        from training.run import memory_error

        error = memory_error(error) or error
    elif isinstance(error, MemoryError):
        error = UserError("not enough memory; use smaller images, or lower groups_max_workers")
    if isinstance(error, UserError):
        text = str(error)
    elif isinstance(error, OSError):
        text = describe_os_error(error, error.filename or "the system")
    elif isinstance(error, RuntimeError):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error}"
    return text.strip().split("\n")[0] or type(error).__name__
