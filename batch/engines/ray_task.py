"""What runs on a node of a Ray cluster: one group, in a Ray worker's process of its own."""

from __future__ import annotations

import contextlib
import os
import pickle
import time
from pathlib import Path

from batch.jobs import JobTell
from batch.worker import run_job
from configs import Config
from utils.interrupt import signals_raise

VISIBLE_S = 5.0
"""Time that a shared folder has to show a file that another node has just written, seconds."""


def unseen(paths: list[str], wait_s: float = VISIBLE_S) -> str | None:
    """Return the first of the paths that is not there on this machine, or None."""
    end = time.monotonic() + wait_s
    for path in paths:
        while not os.path.exists(path):
            # Only what lies in a folder that is there may still appear.
            if not Path(path).parent.is_dir() or time.monotonic() > end:
                return path
            time.sleep(0.2)
    return None


def train_here(data: bytes, threads: int, verbose: bool, tell: JobTell) -> bool:
    """Train a pickled `Job` on `threads` threads and tell what happens, as `batch.worker.run_job` does.

    Returns whether the process is fit for another one; asked to stop, it saves and returns.
    """

    def prepare(config: Config) -> Config:
        from batch.sharing import use_threads

        use_threads(threads)
        return config

    job = pickle.loads(data)
    # The log is no terminal, whatever the environment of the node says.
    os.environ.pop("FORCE_COLOR", None)
    # Ray asks as Ctrl-C does.
    with signals_raise(once=True), contextlib.suppress(KeyboardInterrupt):
        return run_job(job, verbose, tell, prepare)
    return True
