"""Materials in processes of their own, several at a time.

Each material gets a new process: one that is killed costs that material alone, and all of its memory comes back.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from batch.worker import work
from configs import Config

GRACE_S = 60.0
"""Time that processes have to save their checkpoints where the batch is interrupted, seconds."""


@dataclass
class _Running:
    index: int
    process: BaseProcess
    results: Connection
    ended: bool = False
    """Whether it has told how it ended."""


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes that are started while entered do not get Ctrl-C (which terminals send to all of a command's)."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    # It would let the signal through again, were it started by the first of the processes.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(index: int, config: Config, workers: int, verbose: bool) -> _Running:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(config, workers, verbose, sender), name=f"material {index}")
    with _without_ctrl_c():
        process.start()
    # Its end of the pipe closes with it, which is how its end is noticed however it comes.
    sender.close()
    return _Running(index, process, receiver)


def _exit_cause(process: BaseProcess) -> str:
    process.join()
    if process.exitcode is not None and process.exitcode < 0:
        return f"its process was ended by signal {-process.exitcode}" + (
            ", which is what happens where memory runs out" if process.exitcode == -9 else ""
        )
    return f"its process ended with exit code {process.exitcode}"


def train_in_processes(
    materials: list[Config], workers: int, verbose: bool, tell: Callable[[int, str, str], None]
) -> None:
    """Train materials, `workers` at a time, and tell (index of the material, what, text) as `batch.worker.Tell` does.

    Besides, `started` is told. A signal ends all processes, which save their checkpoints first, and is raised.
    """
    running: list[_Running] = []
    waiting = list(enumerate(materials))[::-1]

    def receive(timeout_s: float | None) -> None:
        """Tell what has come, and take those out that have ended."""
        for connection in wait([one.results for one in running], timeout_s):
            one = next(one for one in running if one.results is connection)
            try:
                what, text = one.results.recv()
            except (EOFError, OSError):
                running.remove(one)
                one.results.close()
                if not one.ended:
                    tell(one.index, "failed", _exit_cause(one.process))
                one.process.join()
                continue
            one.ended = one.ended or what in ("done", "failed", "interrupted")
            tell(one.index, what, text)

    try:
        while waiting or running:
            while waiting and len(running) < workers:
                index, config = waiting.pop()
                tell(index, "started", "")
                try:
                    running.append(_start(index, config, min(workers, len(materials)), verbose))
                except OSError as error:
                    tell(index, "failed", f"no process for it: {error}")
            if running:
                receive(None)
    except KeyboardInterrupt:
        for one in running:
            # Windows has no gentle signal for one process; there the console has told them all.
            if os.name != "nt":
                one.process.terminate()
            # One that had nothing to save yet has not failed.
            one.ended = True
        end = time.monotonic() + GRACE_S
        while running and time.monotonic() < end:
            receive(end - time.monotonic())
        raise
    finally:
        for one in running:
            one.process.kill()
            one.process.join()
