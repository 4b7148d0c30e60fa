"""Groups on this machine, each in one of several processes that train one group after another.

No group is ever trained in the batch's own process: what is killed or crashes costs the group that it was training.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from batch.engines.child import GRACE_S, STOP, work
from batch.jobs import ENDS, SAVING, Job, Tell
from batch.output import append_to_log

MOST_JOBS = 25
"""Groups that one process trains; then a new one gives back whatever memory it holds."""


@dataclass
class _Worker:
    """A process, and the job it is at."""

    process: BaseProcess
    connection: Connection
    job: Job | None = None
    """None where it has told how that ended."""
    jobs: int = 0
    """How many it was given."""
    leaving: bool = False
    """Whether it gets no more."""


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


def _start(number: int, workers: int, verbose: bool) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(number, workers, verbose, theirs), name=f"worker {number}")
    try:
        with _without_ctrl_c():
            process.start()
    except OSError:
        ours.close()
        raise
    finally:
        # Its end of the pipe closes with it, which is how its end is noticed however it comes.
        theirs.close()
    return _Worker(process, ours)


def _exit_cause(process: BaseProcess) -> str:
    process.join()
    if process.exitcode is not None and process.exitcode < 0:
        return f"its process was ended by signal {-process.exitcode}" + (
            ", which is what happens where memory runs out" if process.exitcode == -9 else ""
        )
    return f"its process ended with exit code {process.exitcode}"


def run_local(jobs: Sequence[Job], workers: int, verbose: bool, tell: Tell) -> None:
    """Train jobs, `workers` at a time, and tell what happens, as `batch.jobs` says of engines."""
    workers = min(workers, len(jobs))
    team: dict[int, _Worker] = {}
    """By number, from 0 to `workers`; a process that ends is replaced under its number."""
    waiting = list(jobs)[::-1]
    stopping = False

    def give(number: int) -> None:
        """Give a worker its next job, in a new process where it has none."""
        job = waiting.pop()
        tell(job.index, "started", "")
        try:
            worker = team[number] if number in team else _start(number, workers, verbose)
        except OSError as error:
            tell(job.index, "failed", f"no process for it: {error}")
            return
        team[number] = worker
        worker.job, worker.jobs = job, worker.jobs + 1
        # One that has died is told of when its pipe is read.
        _send(worker, job)

    def receive(timeout_s: float | None) -> None:
        """Tell what has come, and let those go that have ended."""
        numbers = {worker.connection: number for number, worker in team.items()}
        for connection in wait(list(numbers), timeout_s):
            worker = team[numbers[connection]]  # type: ignore[index]
            try:
                what, value = worker.connection.recv()
            except (EOFError, OSError):
                _lose(team.pop(numbers[connection]), tell, stopping)  # type: ignore[index]
                continue
            if worker.job is None:
                continue
            index = worker.job.index
            if what == "interrupted" and not stopping:
                what, value = "failed", "its process was told to end" + (f", saved {value}" if value else "")
            if what in ENDS:
                worker.job = None
                # A failure may have left anything behind in the process.
                worker.leaving = what not in ("done", "kept") or worker.jobs >= MOST_JOBS or not waiting
                if worker.leaving:
                    _send(worker, None)
            tell(index, what, value)

    try:
        while waiting or any(worker.job for worker in team.values()):
            for number in range(workers):
                if waiting and (number not in team or team[number].job is None and not team[number].leaving):
                    give(number)
            if team:
                receive(None)
    except BaseException:
        stopping = True
        for worker in team.values():
            if worker.job:
                tell(worker.job.index, "note", SAVING)
            _send(worker, STOP)
        end = time.monotonic() + GRACE_S
        while team and time.monotonic() < end:
            receive(end - time.monotonic())
        raise
    finally:
        _end(team)


def _send(worker: _Worker, message: object) -> None:
    """Send to a worker that may have ended."""
    with suppress(OSError):
        worker.connection.send(message)


def _lose(worker: _Worker, tell: Tell, stopping: bool) -> None:
    """Tell of a job whose process has ended without a word."""
    cause = _exit_cause(worker.process)
    worker.connection.close()
    if worker.job is None:
        return
    if stopping:
        tell(worker.job.index, "interrupted", "")
        return
    append_to_log(worker.job.log_path, f"{cause}\n")
    tell(worker.job.index, "failed", cause)


def _end(team: dict[int, _Worker]) -> None:
    """End what processes are left."""
    for worker in team.values():
        if worker.job is not None:
            worker.process.kill()
    for worker in team.values():
        # They have been told that there is nothing more to do.
        worker.process.join(GRACE_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.connection.close()
