"""The training loop: until the iterations, the clock or the patience is at its end."""

from __future__ import annotations

import contextlib
import math
import time
from contextlib import closing

import torch

from configs import effective_early_stop_interval
from reporting.console import say
from training.checkpoint import Checkpoint
from training.divergence import Diverged, LastGood, require_finite, require_finite_loss
from training.progress import Progress
from training.recorder import Recorder
from training.schedule import Schedule, new_schedule
from training.session import Session
from utils.errors import UserError
from utils.interrupt import Interrupted, deferred_interrupt
from utils.threads import ThreadTuner

LOG_INTERVAL = 50
"""Iterations between two readings of the loss, which makes the device wait."""


def stalled(history: list[dict[str, float]], interval: int, threshold_db: float) -> str | None:
    """Return why to stop where the mean PSNR of the last `interval` iterations gained less than the threshold.

    The interval before it is compared; None where both are not complete yet or the gain suffices.
    """
    end = history[-1]["iteration"]
    if end % interval or end < 2 * interval:
        return None

    def mean(first: float, last: float) -> float | None:
        values = [entry["psnr_db"] for entry in history if first < entry["iteration"] <= last]
        return sum(values) / len(values) if values else None

    before, after = mean(end - 2 * interval, end - interval), mean(end - interval, end)
    if before is None or after is None:
        return None
    # Two exact intervals are both infinite, and their difference is not a number.
    gain = 0.0 if after == before else after - before
    if not gain < threshold_db:
        return None
    return (
        f"mean PSNR of iterations {end - interval} to {end} is {after:.3f} dB, {gain:+.3f} dB on the "
        f"{interval} before, below early_stop_psnr_threshold {threshold_db}"
    )


def optimize(
    session: Session,
    schedule: Schedule | None = None,
    recorder: Recorder | None = None,
    resumed: Checkpoint | None = None,
) -> None:
    """Train until the iterations, the clock or the patience is at its end; the last iteration is always evaluated.

    A signal saves a checkpoint and raises `Interrupted`; a failure outside of a step saves one and goes on upwards.
    Where the training diverges it ends at the last good state, the checkpoint `resumed` to begin with; without one,
    `UserError` is raised. Without `recorder` it is a trial: nothing is evaluated or saved on the way.
    """
    settings, step = session.config.train, session.training_step()
    schedule = schedule or new_schedule(settings)
    good = LastGood(session, schedule, resumed)
    clock = _Clock(session, schedule)
    interval = effective_early_stop_interval(session.config)
    first, loss_value, stop_reason = session.iteration, math.nan, None

    def read_loss() -> float:
        value = loss.item()
        require_finite_loss(value)
        if recorder:
            recorder.loss(value)
        return value

    # Whether the model is what a whole number of steps has made of it.
    whole = True
    try:
        with closing(Progress(session, schedule, recorder is not None)) as progress, deferred_interrupt() as signalled:
            while not stop_reason and not signalled():
                clock.read()
                if schedule.fraction >= 1 and session.iteration > first:
                    break
                whole = False
                loss = step(
                    session.sampler.draw(),
                    session.noise(schedule.noise_fraction(session.config.quantize.noise_anneal_fraction)),
                    schedule.rates(settings),
                )
                session.iteration += 1
                whole = True

                evaluates = recorder is not None and recorder.evaluates(clock.budget)
                saves = recorder is not None and recorder.saves()
                if evaluates or saves or session.iteration % LOG_INTERVAL == 0:
                    loss_value = read_loss()
                    progress.update(loss_value)
                clock.pause()
                if recorder and evaluates:
                    progress.psnr_db = recorder.evaluate(loss_value)
                    good.judge(progress.psnr_db, schedule)
                    if settings.early_stop and not clock.budget:
                        stop_reason = stalled(session.history, interval, settings.early_stop_psnr_threshold)
                clock.read()
                if recorder and saves and not stop_reason and schedule.fraction < 1:
                    require_finite(session)
                    recorder.save(schedule)
                clock.go_on()
            if recorder and signalled():
                require_finite(session)
            # The history ends with what the run ends with, whichever iteration that is.
            elif recorder and not recorder.evaluated:
                good.judge(recorder.evaluate(read_loss()), schedule)
    except Diverged as error:
        cause = good.go_back(schedule, error)
        if recorder:
            recorder.went_back(cause)
    except Exception as error:
        if recorder and whole and not isinstance(error, UserError):
            with contextlib.suppress(Diverged):
                require_finite(session)
                say("failed", f"saved {recorder.save(schedule, wait=True)}")
        raise
    finally:
        session.backend.release()
        clock.close()
    if signalled():
        raise recorder.interrupted(signalled(), schedule) if recorder else Interrupted(signalled())
    if stop_reason:
        say("early stop", stop_reason)
    if recorder:
        good.note_useless()


class _Clock:
    """Moves the schedule on, counts the time of the steps alone, and chooses the threads while a budget is running."""

    def __init__(self, session: Session, schedule: Schedule) -> None:
        self.session, self.schedule = session, schedule
        self.budget = schedule.unit == "seconds"
        """Whether the schedule is one of time."""
        self.position_before, self.time_before = schedule.position, session.training_time_s
        self.started = time.perf_counter()
        self.paused = self.started
        self.outside_s = 0.0
        self.tuner = ThreadTuner(torch.get_num_threads()) if self.budget and session.device.type == "cpu" else None
        self.tuned_at_s = session.training_time_s

    def read(self) -> None:
        """Set the schedule to this moment: a budget is of the user's time, so evaluations count in it."""
        if self.budget:
            self.schedule.position = self.position_before + time.perf_counter() - self.started
        else:
            self.schedule.position = self.session.iteration

    def pause(self) -> None:
        """A step is done: note the training time, and look at the threads now and then."""
        session, self.paused = self.session, time.perf_counter()
        session.training_time_s = self.time_before + self.paused - self.started - self.outside_s
        if self.tuner and session.iteration % LOG_INTERVAL == 0:
            step_s = (session.training_time_s - self.tuned_at_s) / LOG_INTERVAL
            torch.set_num_threads(self.tuner.next(step_s))
            self.tuned_at_s = session.training_time_s

    def go_on(self) -> None:
        """The next step begins: what was done since the pause is not training time."""
        self.outside_s += time.perf_counter() - self.paused

    def close(self) -> None:
        """Put the number of threads back."""
        if self.tuner:
            torch.set_num_threads(self.tuner.choices[0])
