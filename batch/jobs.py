"""What a batch hands to the engine that trains its groups, and what the engine tells it.

An engine is a function `engine(jobs, workers, verbose, tell)`: it trains the jobs, `workers` at a time, each in a process
of its own by `batch.worker.run_job`, and tells from the thread that called it. It returns when every job has ended
(`done`, `kept` or `failed`); one that fails costs itself alone. Where a signal raises `KeyboardInterrupt` in it, it has
its workers save (`interrupted`) and raises it again.

What is told of a job, and the value with it:

    started      str: where it runs, such as a node's address; empty on this machine
    progress     Progress
    note         str: what somebody should read, such as a file that was skipped
    line         str: a line of its output, with `verbose`
    done         str: folder of the last checkpoint and its exports
    kept         str: the same, of a group that an earlier batch has finished
    failed       str: the cause in one line; the traceback is in its log
    interrupted  str: what was saved, empty for nothing
    retried      str: why it begins again, such as a lost worker; `started` follows
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from configs import Config

What = Literal["started", "progress", "note", "line", "done", "kept", "failed", "interrupted", "retried"]
ENDS: tuple[What, ...] = ("done", "kept", "failed", "interrupted")
"""What a job ends with."""
SAVING = "is being saved; a second Ctrl-C ends at once"
"""Note on a job that is trained where the batch is interrupted."""
LOG_NAME = "log.txt"
"""Full output of a group, in its folder."""


@dataclass(frozen=True)
class Progress:
    """How far the training of a group is."""

    iteration: int
    fraction: float
    """Share of the training that is done, 0 to 1."""
    psnr_db: float | None
    """Of the last evaluation, or of a part of the texels before the first; none: not known yet."""
    left_s: float | None
    """Estimate of the seconds until its training ends; none: not known yet."""
    phase: str = "training"
    """training, or trial of a search for a rate."""


@dataclass(frozen=True)
class Job:
    """A group to train, whole and picklable; `config.run` names its images and its output folder."""

    index: int
    """Number within the batch, from 0; what is told of it carries it."""
    name: str
    config: Config
    log_path: Path
    """Its full output is appended here."""
    resume: bool = False
    """Keep what is finished and go on from the newest checkpoint, where inputs and settings are the same; also what an
    engine sets to begin again after a lost worker."""

    @property
    def folder(self) -> Path:
        """The group's output folder."""
        return Path(self.config.run.save_dir)


Tell = Callable[[int, What, object], None]
"""Takes a job's index, what happened to it, and the value that comes with it."""
JobTell = Callable[[What, object], None]
"""The same for one job, as `batch.worker.run_job` tells it in the job's process."""


class Engine(Protocol):
    """Trains jobs, as described above."""

    def __call__(self, jobs: Sequence[Job], workers: int, verbose: bool, tell: Tell) -> None: ...
