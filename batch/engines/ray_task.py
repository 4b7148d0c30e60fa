"""What runs on a node of a Ray cluster: one group, in a Ray worker's process of its own."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import time
from pathlib import Path
from typing import Any

from batch.jobs import Job, What
from batch.worker import run_job
from configs import Config
from utils.interrupt import signals_raise

VISIBLE_S = 60.0
"""Time that a shared folder has to show a file that another node has just written, seconds; NFS takes up to a minute."""

PROGRESS_S = 0.3
"""Least time between two tellings of progress, seconds."""


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


class _Teller:
    """Sends what happens to the driver's mailbox."""

    def __init__(self, mailbox: Any, index: int, attempt: int) -> None:
        self._mailbox, self._index, self._attempt = mailbox, index, attempt
        self._last: Any = None
        self._next_progress_s = 0.0

    def tell(self, what: What, value: object) -> None:
        """Send it and go on: Ray gives the CPU of a task that waits to another one."""
        if what == "progress":
            if time.monotonic() < self._next_progress_s:
                return
            self._next_progress_s = time.monotonic() + PROGRESS_S
        self._last = self._mailbox.put.remote(pickle.dumps((self._index, self._attempt, what, value)))

    def flush(self) -> None:
        """Wait until the driver can have it all."""
        import ray

        ray.get(self._last)


def train_here(node: str, address: str, mailbox: Any, attempt: int, data: bytes, threads: int, verbose: bool) -> None:
    """Train a pickled `Job` on `threads` threads and tell `mailbox` what happens, as `batch.worker.run_job` does.

    `attempt` is sent with it, and `node` (its id) and `address` when it begins. Asked to stop, it saves and returns; a
    failure ends the process when it is told.
    """

    def prepare(config: Config) -> Config:
        from batch.sharing import use_threads

        use_threads(threads)
        return config

    job: Job = pickle.loads(data)
    teller = _Teller(mailbox, job.index, attempt)
    teller.tell("started", (node, address))
    # The log is no terminal, whatever the environment of the node says.
    os.environ.pop("FORCE_COLOR", None)
    worked = True
    # Ray asks as Ctrl-C does.
    with signals_raise(once=True), contextlib.suppress(KeyboardInterrupt):
        worked = run_job(job, verbose, teller.tell, prepare)
    teller.flush()
    if not worked:
        # It may have left anything behind in the process.
        sys.exit(1)
