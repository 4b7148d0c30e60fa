"""What a run leaves behind on its way: evaluations, the log, checkpoints, and how to go on after an interrupt."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from reporting.console import console, say, with_unit
from training.checkpoint import checkpoint_folder, saved_iterations
from training.checkpoint_writer import CheckpointWriter, discard_checkpoints_after
from training.evaluate import evaluate_psnr
from training.run_folder import session_checkpoint
from training.run_log import RunLog
from training.schedule import Schedule
from training.session import Session
from utils.arguments import command_path
from utils.clock import Stopwatch
from utils.errors import UserError
from utils.interrupt import Interrupted

EVALUATION_SHARE = 0.02
"""Most of a time budget that evaluations on the way may take."""


class Recorder:
    """Evaluates, logs and saves a session as its settings ask for."""

    def __init__(
        self, session: Session, run_dir: Path, log: RunLog, writer: CheckpointWriter, watch: Stopwatch
    ) -> None:
        self.session, self.run_dir, self.log, self.writer, self.watch = session, run_dir, log, writer, watch
        self.started, self.evaluations_s = time.perf_counter(), 0.0

    def evaluates(self, by_clock: bool) -> bool:
        """Return whether an evaluation is due; over a time budget, where they have not taken much of it yet."""
        if self.session.iteration % self.session.config.train.eval_interval:
            return False
        return not by_clock or self.evaluations_s <= EVALUATION_SHARE * (time.perf_counter() - self.started)

    def saves(self) -> bool:
        """Return whether a checkpoint is due."""
        return self.session.iteration % self.session.config.train.save_interval == 0

    def loss(self, loss: float) -> None:
        """Log the loss of this iteration, and say what became of the checkpoint before."""
        self.log.loss(self.session.iteration, loss)
        self.writer.say_failure()

    def evaluate(self, loss: float) -> float:
        """Add an evaluation of this iteration to the history, log and say it; returns the finest mip's PSNR, dB."""
        session, began = self.session, time.perf_counter()
        self.watch.enter("evaluation")
        psnr = evaluate_psnr(
            session.texture, session.sampler, session.texture_set.present, session.config.quantize.quantize
        )
        latest_db = psnr[0]["overall"]
        session.history.append(
            {"iteration": session.iteration, "psnr_db": latest_db, "loss": loss, "time_s": session.training_time_s}
        )
        self.log.psnr(session.iteration, [mip["overall"] for mip in psnr])
        if not console.is_terminal:
            say(
                f"iteration {session.iteration}",
                f"loss {loss:.6f}, PSNR {with_unit(latest_db)} (finest mip), {session.training_time_s:.1f} s",
            )
        self.evaluations_s += time.perf_counter() - began
        self.watch.enter("training")
        return latest_db

    def went_back(self, line: str) -> None:
        """Say that the training diverged and stands at its last good state again; what was saved after it goes."""
        self.session.notices.append(f"the training diverged {line}")
        say("diverged", line)
        # What it would say is of a checkpoint that is of no use.
        with contextlib.suppress(UserError):
            self.writer.wait()
        discard_checkpoints_after(self.run_dir, self.session.iteration)

    @property
    def evaluated(self) -> bool:
        """Whether the history ends with this iteration."""
        history = self.session.history
        return bool(history) and history[-1]["iteration"] == self.session.iteration

    def save(self, schedule: Schedule, wait: bool = False) -> Path:
        """Write a checkpoint of this moment, in the background unless `wait`, and return its folder.

        Where it fails with `wait`, the older ones that are there are said and `UserError` is raised.
        """
        folder = self.writer.write(session_checkpoint(self.session, schedule))
        if wait:
            try:
                self.writer.wait()
            except UserError:
                kept = saved_iterations(self.run_dir)
                if kept:
                    say("kept", ", ".join(str(checkpoint_folder(self.run_dir, iteration)) for iteration in kept))
                raise
        return folder

    def interrupted(self, number: int, schedule: Schedule) -> Interrupted:
        """Save, say how to go on from there, and return what a signal ends the command with."""
        end = Interrupted(number)
        end.saved = str(self.save(schedule, wait=True))
        say("interrupted", f"saved {end.saved}")
        # A run at its end has nothing to go on with.
        if schedule.fraction < 1:
            say("to go on", f"python train.py --load_dir {command_path(self.run_dir)} --load_iter -1")
        say("to export it", f"python export.py --load_dir {command_path(self.run_dir)} --report")
        return end
