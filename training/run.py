"""One run from images to exported files: `train` and what a resumed run starts from."""

from __future__ import annotations

from pathlib import Path

from configs import Config, config_from_dict
from dataset import TextureSet, load_texture_set
from reporting.console import say, with_unit
from reporting.summary import next_commands, print_lines
from training.checkpoint import Checkpoint
from training.checkpoint_writer import CheckpointWriter
from training.determinism import repeatable
from training.divergence import WARNING
from training.finish import finish
from training.header import describe
from training.loop import optimize
from training.recorder import Recorder
from training.run_folder import start_run
from training.run_log import RunLog
from training.schedule import Schedule, new_schedule, resumed_schedule
from training.search import config_for_psnr
from training.session import Session, open_session, planned_config
from training.time_budget import decode_s_per_texel, finish_estimate_s, training_seconds
from utils.arguments import command_path
from utils.clock import Stopwatch, command_start
from utils.errors import UsageError, UserError
from utils.files import require_writable_folder
from utils.interrupt import Interrupted, deferred_interrupt

SEARCH = "search for the rate"
"""Phase of the trials of `target_psnr`, which no time budget counts."""


def train(
    config: Config,
    resumed: Checkpoint | None = None,
    resumed_path: Path | None = None,
    *,
    texture_set: TextureSet | None = None,
    started: float | None = None,
) -> Path:
    """Train, evaluate and export one material; returns the folder of the last checkpoint and its exports.

    `texture_set`: the images of `data_dir`, where they have been loaded. A time budget counts from `started`
    (`time.perf_counter`), by default the start of the command.
    """
    with repeatable(config.train.deterministic):
        return _train(config, resumed, resumed_path, texture_set, started)


def _train(
    config: Config,
    resumed: Checkpoint | None,
    resumed_path: Path | None,
    texture_set: TextureSet | None,
    started: float | None,
) -> Path:
    watch = Stopwatch("start-up", command_start() if started is None else started)
    texture_set = texture_set or load_texture_set(config.run.data_dir, images=config.images)
    target_psnr = None if resumed else config.model.target_psnr
    if not resumed:
        if target_psnr:
            require_writable_folder(config.run.save_dir)
            watch.enter(SEARCH)
            config = config_for_psnr(config, texture_set, optimize)
            watch.enter("start-up")
        else:
            config = planned_config(config, texture_set)
    session = open_session(config, texture_set, resumed, resumed_path)
    # Last, since what has been spent by now is left out of a time budget.
    schedule, notes = planned_schedule(session, watch, resumed, resumed_path)
    run_dir = start_run(session)
    describe(session)
    for title, note in notes:
        say(title, note)
    writer = CheckpointWriter(run_dir, config.train.keep_checkpoints, lambda: texture_set.fingerprint)
    log = RunLog(run_dir.parent / "tensorboard" / run_dir.name, texture_set)
    recorder = Recorder(session, run_dir, log, writer, watch)
    try:
        watch.enter("training")
        optimize(session, schedule, recorder, resumed)
        folder, manifest = save_and_finish(recorder, schedule)
    finally:
        log.close()
    reached = manifest["psnr"]["overall"][0]
    if target_psnr:
        say(
            "target",
            f"{with_unit(reached)} reached, {target_psnr:g} asked"
            + (
                ""
                if reached is None or reached >= target_psnr
                else f"; --target_psnr {2 * target_psnr - reached:.1f} or a longer run gets there"
            ),
        )
    seconds = watch.seconds()
    if SEARCH in seconds and config.train.time_budget:
        say("note", f"the search for a rate took {seconds[SEARCH]:.1f} s on top of the time_budget")
    print_lines(next_commands(run_dir))
    # Once more, below the table that nobody reads beyond.
    for notice in session.notices:
        say(WARNING, notice)
    return folder


def planned_schedule(
    session: Session, watch: Stopwatch, resumed: Checkpoint | None, resumed_path: Path | None
) -> tuple[Schedule, list[tuple[str, str]]]:
    """Return from where to where learning rates and noise fall, and titled lines on what is not as usual about it.

    A time budget is that of the whole command, and of what a checkpoint had used; its end is left out of it by
    estimate. Raises `UsageError` where a budget is used up.
    """
    settings, anneal, notes = session.config.train, session.config.quantize.noise_anneal_fraction, []
    seconds = 0.0
    if settings.time_budget:
        spent = watch.seconds()
        seconds, note = training_seconds(
            settings.time_budget - session.training_time_s,
            sum(spent.values()) - spent.get(SEARCH, 0.0),
            finish_estimate_s(session, decode_s_per_texel(session)),
        )
        if note:
            notes.append(("time budget", note))
    if not resumed:
        return new_schedule(settings, seconds), notes
    schedule, note = resumed_schedule(resumed, config_from_dict(resumed.config).train, settings, anneal, seconds)
    if note:
        notes.append(("schedule", note))
    elif schedule.fraction >= 1:
        raise UsageError(f"{resumed_path} is the end of a run of {settings.time_budget:g} s; raise --time_budget")
    else:
        # The time that was left when it was saved, whatever this start took.
        notes = []
    return schedule, notes


def save_and_finish(recorder: Recorder, schedule: Schedule) -> tuple[Path, dict]:
    """Write the last checkpoint, export and report; returns the checkpoint's folder and the manifest.

    Where that is interrupted or fails once the model is saved, the command that makes up for it is said.
    """
    recorder.watch.enter("checkpoint")
    with deferred_interrupt() as interrupted:
        folder = recorder.save(schedule, wait=True)
    try:
        if interrupted():
            raise Interrupted(interrupted())
        recorder.watch.enter("export")
        return folder, finish(recorder.session, folder, recorder.log, recorder.watch)
    except BaseException:
        say("saved", folder)
        say("to finish", f"python export.py --load_dir {command_path(recorder.run_dir)} --report")
        raise


def memory_error(error: Exception) -> UserError | None:
    """Return the one line for memory that ran out, of the host or of the GPU; None for any other error."""
    text = str(error)
    if not isinstance(error, MemoryError) and not any(words in text for words in ("out of memory", "allocate memory")):
        return None
    return UserError(
        "not enough memory; lower n_neurons, the grids' max_resolution or batch_size, or use smaller images"
    )
