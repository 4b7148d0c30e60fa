"""The training loop: until the iterations, the clock or the patience is at its end."""

from __future__ import annotations

import math
import time

import torch

from reporting.console import console, decibels, say, training_bar
from training.evaluate import evaluate_psnr
from training.run_folder import save_session
from training.run_log import RunLog
from training.session import Session
from utils.errors import UserError
from utils.interrupt import deferred_interrupt
from utils.threads import ThreadTuner  # before torch

LOG_INTERVAL = 50
"""Iterations between two readings of the loss, which makes the device wait."""
DECAY_POWER = 0.8
"""Power of the share of a run that is left, for the learning rates."""
EVALUATION_SHARE = 0.02
"""Most of a time budget that evaluations on the way may take."""


def schedule(fraction: float, final: float, kind: str = "power") -> float:
    """Return the learning rates' factor at a fraction of the run: 1 at 0, `final` at 1; `kind`: power or cosine.

    >>> schedule(0.0, 0.01), round(schedule(1.0, 0.01), 4)
    (1.0, 0.01)
    """
    left = max(1 - fraction, 0.0)
    # A cosine is low for too long at the end: latents and decoder still have a way to go then.
    return final + (1 - final) * (left ** DECAY_POWER if kind == "power" else 0.5 * (1 - math.cos(math.pi * left)))


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


def optimize(session: Session, log: RunLog | None = None) -> None:
    """Train until the iterations, the clock or the patience is at its end; Ctrl-C saves and raises `KeyboardInterrupt`.

    Without `log` it is a trial: nothing but the bar is shown, nothing evaluated or saved on the way.
    """
    settings, step = session.config.train, session.training_step()
    budget_s, time_before = settings.time_budget, session.training_time_s
    stop_reason, loss_value, latest_db, evaluations_s = None, math.nan, math.nan, 0.0
    started, outside_s = time.perf_counter(), 0.0
    tuner = ThreadTuner(torch.get_num_threads()) if budget_s and session.device.type == "cpu" else None
    read_at_s = session.training_time_s

    def done() -> float:
        """Share of the run that is done."""
        if not budget_s:
            return session.iteration / settings.max_iter
        # A budget is of the user's time, so evaluations count; what is reported as training time leaves them out.
        return (time_before + time.perf_counter() - started) / budget_s

    with training_bar(settings.max_iter, session.iteration, "training" if log else "trial") as bar, deferred_interrupt() as interrupted:
        while (fraction := done()) < 1 and not stop_reason and not interrupted():
            loss = step(*session.sampler.draw(), session.noise(fraction),
                        schedule(fraction, settings.learning_rate_final, settings.learning_rate_schedule))
            session.iteration += 1
            iteration, last = session.iteration, done() >= 1

            evaluates = log is not None and (last or iteration % settings.eval_interval == 0 and (
                not budget_s or evaluations_s <= EVALUATION_SHARE * (time.perf_counter() - started)))
            saves = log is not None and iteration % settings.save_interval == 0 and not last
            if evaluates or saves or iteration % LOG_INTERVAL == 0:
                loss_value = loss.item()
                if not math.isfinite(loss_value):
                    raise UserError(f"the loss is {loss_value} at iteration {iteration}; lower --learning_rate or "
                                    "use --precision float32; checkpoints so far are kept")
                if log:
                    log.loss(iteration, loss_value)
                bar.total = int(iteration / done()) if budget_s else settings.max_iter
                bar.update(iteration - bar.n)
                bar.set_postfix_str(f"loss {loss_value:.6f}, PSNR {decibels(latest_db)} dB")
            pause = time.perf_counter()
            session.training_time_s = time_before + pause - started - outside_s
            if tuner and iteration % LOG_INTERVAL == 0:
                torch.set_num_threads(tuner.next((session.training_time_s - read_at_s) / LOG_INTERVAL))
                read_at_s = session.training_time_s
            if evaluates:
                psnr = evaluate_psnr(session.backend, session.sampler, session.channels, session.texture_set.present,
                                     session.config.quantize.quantize)
                latest_db = psnr[0]["overall"]
                session.history.append({"iteration": iteration, "psnr_db": latest_db, "loss": loss_value,
                                        "time_s": session.training_time_s})
                log.psnr(iteration, [mip["overall"] for mip in psnr])
                if not console.is_terminal:
                    say(f"iteration {iteration}", f"loss {loss_value:.6f}, PSNR {decibels(latest_db)} dB, "
                                                  f"{session.training_time_s:.1f} s")
                if settings.early_stop and not budget_s:
                    stop_reason = stalled(session.history, settings.early_stop_interval,
                                          settings.early_stop_psnr_threshold)
                evaluations_s += time.perf_counter() - pause
            if saves and not stop_reason:
                save_session(session)
            outside_s += time.perf_counter() - pause
    session.backend.release()
    if tuner:
        torch.set_num_threads(tuner.choices[0])
    if interrupted():
        if log:
            say("interrupted", f"saved {save_session(session)}; --load_dir {session.run_dir} goes on from there")
        raise KeyboardInterrupt
    if stop_reason:
        say("early stop", stop_reason)
