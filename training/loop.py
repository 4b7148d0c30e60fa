"""The training loop: until the iterations, the clock or the patience is at its end."""

from __future__ import annotations

import math
import time
from contextlib import closing

import torch

from reporting.console import console, decibels, say
from training.checkpoint_writer import CheckpointWriter
from training.evaluate import evaluate_psnr
from training.progress import Progress
from training.run_folder import session_checkpoint
from training.run_log import RunLog
from training.schedule import Schedule, new_schedule
from training.session import Session
from utils.arguments import command_path
from utils.clock import Stopwatch
from utils.errors import UserError
from utils.interrupt import Interrupted, deferred_interrupt
from utils.threads import ThreadTuner  # before torch

LOG_INTERVAL = 50
"""Iterations between two readings of the loss, which makes the device wait."""
EVALUATION_SHARE = 0.02
"""Most of a time budget that evaluations on the way may take."""


def stalled(history: list[dict[str, float]], interval: int, threshold_db: float) -> str | None:
    """Return why to stop where the mean PSNR of the last `interval` iterations gained less than the threshold.

    The interval before it is compared; None where both are not complete yet or the gain suffices.
    """
    end = history[-1]["iteration"]
    if end % interval or end < 2 * interval:
        return None
    def mean(first: int, last: int) -> float | None:
        values = [entry["psnr_db"] for entry in history if first < entry["iteration"] <= last]
        return sum(values) / len(values) if values else None
    before, after = mean(end - 2 * interval, end - interval), mean(end - interval, end)
    if before is None or after is None:
        return None
    # Two exact intervals are both infinite, and their difference is not a number.
    gain = 0.0 if after == before else after - before
    if not gain < threshold_db:
        return None
    return (f"mean PSNR of iterations {end - interval} to {end} is {after:.3f} dB, {gain:+.3f} dB on the "
            f"{interval} before, below early_stop_psnr_threshold {threshold_db}")


def evaluate(session: Session, log: RunLog, loss: float) -> float:
    """Add an evaluation of this iteration to the history, log and say it; returns the finest mip's overall PSNR, dB."""
    psnr = evaluate_psnr(session.texture, session.sampler, session.texture_set.present,
                         session.config.quantize.quantize)
    latest_db = psnr[0]["overall"]
    session.history.append({"iteration": session.iteration, "psnr_db": latest_db, "loss": loss,
                            "time_s": session.training_time_s})
    log.psnr(session.iteration, [mip["overall"] for mip in psnr])
    if not console.is_terminal:
        say(f"iteration {session.iteration}", f"loss {loss:.6f}, PSNR {decibels(latest_db)} dB (finest mip), "
                                              f"{session.training_time_s:.1f} s")
    return latest_db


def save(session: Session, schedule: Schedule, writer: CheckpointWriter, wait: bool = False) -> str:
    """Write a checkpoint of this moment, in the background unless `wait`, and return its folder as text."""
    folder = writer.write(session_checkpoint(session, schedule))
    if wait:
        writer.wait()
    return str(folder)


def optimize(session: Session, log: RunLog | None = None, schedule: Schedule | None = None,
             writer: CheckpointWriter | None = None, watch: Stopwatch | None = None) -> None:
    """Train until the iterations, the clock or the patience is at its end; the last iteration is always evaluated.

    A signal saves a checkpoint and raises `Interrupted`; so does a failure outside of a step, which goes on upwards.
    Without `log` it is a trial: nothing is shown, evaluated or saved on the way; with it `writer` is needed.
    """
    settings, step, quantize = session.config.train, session.training_step(), session.config.quantize
    schedule = schedule or new_schedule(settings)
    watch = watch or Stopwatch("training")
    by_clock = schedule.unit == "seconds"
    stop_reason, loss_value, first = None, math.nan, session.iteration
    time_before, position_before = session.training_time_s, schedule.position
    started, outside_s, evaluations_s = time.perf_counter(), 0.0, 0.0
    tuner = ThreadTuner(torch.get_num_threads()) if by_clock and session.device.type == "cpu" else None
    read_at_s = session.training_time_s
    watch.enter("training")

    def read_clock() -> None:
        """Move the schedule to this moment: a budget is of the user's time, so evaluations count."""
        if by_clock:
            schedule.position = position_before + time.perf_counter() - started

    def read_loss() -> float:
        value = loss.item()
        if not math.isfinite(value):
            raise UserError(f"the loss is {value} at iteration {session.iteration}; lower --learning_rate or "
                            "use --precision float32; checkpoints so far are kept")
        if log:
            log.loss(session.iteration, value)
        return value

    # Whether the model is what a whole number of steps has made of it.
    whole = True
    try:
        with (closing(Progress(session, schedule, log is not None)) as progress,
              deferred_interrupt() as interrupted):
            while not stop_reason and not interrupted():
                read_clock()
                if schedule.fraction >= 1 and session.iteration > first:
                    break
                whole = False
                loss = step(session.sampler.draw(), session.noise(schedule.noise_fraction(
                    quantize.noise_anneal_fraction)), schedule.rates(settings))
                session.iteration += 1
                whole = True
                iteration = session.iteration
                if not by_clock:
                    schedule.position = iteration

                evaluates = log is not None and iteration % settings.eval_interval == 0 and (
                    not by_clock or evaluations_s <= EVALUATION_SHARE * (time.perf_counter() - started))
                saves = log is not None and iteration % settings.save_interval == 0
                if evaluates or saves or iteration % LOG_INTERVAL == 0:
                    loss_value = read_loss()
                    progress.update(loss_value)
                    if writer:
                        writer.say_failure()
                pause = time.perf_counter()
                session.training_time_s = time_before + pause - started - outside_s
                if tuner and iteration % LOG_INTERVAL == 0:
                    torch.set_num_threads(tuner.next((session.training_time_s - read_at_s) / LOG_INTERVAL))
                    read_at_s = session.training_time_s
                if evaluates:
                    watch.enter("evaluation")
                    progress.psnr_db = evaluate(session, log, loss_value)
                    if settings.early_stop and not by_clock:
                        stop_reason = stalled(session.history, settings.early_stop_interval,
                                              settings.early_stop_psnr_threshold)
                    evaluations_s += time.perf_counter() - pause
                    watch.enter("training")
                read_clock()
                if saves and not stop_reason and schedule.fraction < 1:
                    save(session, schedule, writer)
                outside_s += time.perf_counter() - pause
            # The history ends with what the run ends with, whichever iteration that is.
            evaluated = bool(session.history) and session.history[-1]["iteration"] == session.iteration
            if log and not evaluated and not interrupted():
                watch.enter("evaluation")
                evaluate(session, log, read_loss())
    except Exception as error:
        if log and whole and not isinstance(error, UserError):
            say("failed", f"saved {save(session, schedule, writer, wait=True)}")
        raise
    finally:
        session.backend.release()
        if tuner:
            torch.set_num_threads(tuner.choices[0])
    if interrupted():
        error = Interrupted(interrupted())
        if log:
            error.saved = save(session, schedule, writer, wait=True)
            say("interrupted", f"saved {error.saved}")
            say("to go on", f"python train.py --load_dir {command_path(session.run_dir)} --load_iter -1")
            say("to export it", f"python export.py --load_dir {command_path(session.run_dir)}")
        raise error
    if stop_reason:
        say("early stop", stop_reason)
