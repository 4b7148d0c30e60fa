"""A worker process of a batch on this machine: it trains one group after another, and ends when the batch does.

What it imports itself is light, so that a signal is heard from its first moment; the rest is loaded with the first group.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection

from batch.jobs import Job, What
from batch.output import append_to_log
from configs import Config
from utils.interrupt import signals_raise
from utils.threads import share_processors

GRACE_S = 60.0
"""Time that processes have to save their checkpoints where the batch is interrupted, seconds."""
ALONE_S = 600.0
"""Time after which a process whose batch is over or gone ends, whatever it is at, seconds."""
STOP = "stop"
"""What the batch sends to have a training saved and ended."""


class _Sender:
    """Sends what happens to the batch from a thread of its own, so that a terminal that stands still holds up nothing.

    Of the progress that is waiting the latest alone is sent.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[tuple[What, object] | None] = queue.SimpleQueue()
        self._progress: object = None
        self._thread = threading.Thread(target=self._send, name="sender", daemon=True)
        self._thread.start()

    def tell(self, what: What, value: object) -> None:
        if what == "progress":
            with self._lock:
                before, self._progress = self._progress, value
            if before is not None:
                return
        self._waiting.put((what, value))

    def _send(self) -> None:
        while (item := self._waiting.get()) is not None:
            what, value = item
            if what == "progress":
                with self._lock:
                    value, self._progress = self._progress, None
            # The batch may be gone.
            with contextlib.suppress(OSError):
                self._connection.send((what, value))

    def close(self) -> None:
        """Wait until all is sent, or nobody takes it any more."""
        self._waiting.put(None)
        self._thread.join(GRACE_S)


class _Listener:
    """Takes jobs from the batch, and interrupts the training where it says so or is gone, killed or not."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._main = threading.get_ident()
        self.stopped = False
        threading.Thread(target=self._listen, name="listener", daemon=True).start()

    def next(self) -> Job | None:
        """Wait for the next job, None at the end."""
        return self._jobs.get()

    def _listen(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                message = STOP
            if message != STOP:
                self._jobs.put(message)
                if message is None:
                    return
                continue
            self.stopped = True
            self._jobs.put(None)
            self._interrupt()
            # Whatever hangs, no process outlives its batch for long.
            threading.Event().wait(ALONE_S)
            os._exit(1)

    def _interrupt(self) -> None:
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(self._main, signal.SIGTERM)
        else:
            _thread.interrupt_main(signal.SIGTERM)


def work(number: int, workers: int, verbose: bool, connection: Connection) -> None:
    """Run the jobs that come over `connection` and send what happens there, until None comes or one fails.

    `number`: of this worker among `workers` that share the machine; it says which GPU is its own.
    """
    # The log is no terminal, whatever the environment says of the batch's.
    os.environ.pop("FORCE_COLOR", None)
    _prefer_to_be_killed()
    # For the reading of images; PyTorch has its share when it is loaded.
    share_processors(workers)
    # The batch and others may all send the same signal.
    with signals_raise(once=True), contextlib.suppress(KeyboardInterrupt):
        sender, listener = _Sender(connection), _Listener(connection)
        try:
            while (job := listener.next()) is not None:
                if not _run(job, number, workers, verbose, sender.tell):
                    break
        finally:
            sender.close()


def _run(job: Job, number: int, workers: int, verbose: bool, tell: Callable[[What, object], None]) -> bool:
    try:
        from batch.worker import run_job
    except Exception as error:
        append_to_log(job.log_path, traceback.format_exc())
        tell("failed", f"{type(error).__name__}: {error}")
        return False

    def prepare(config: Config) -> Config:
        from batch.sharing import share

        return share(config, number, workers)

    return run_job(job, verbose, tell, prepare)


def _prefer_to_be_killed() -> None:
    """Have Linux end this process rather than the batch where memory runs out."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("500")
