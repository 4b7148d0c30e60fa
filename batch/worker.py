"""One material of a batch: in this process, or as what a process of its own runs."""

from __future__ import annotations

import contextlib
import io
import os
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import utils.threads  # noqa: F401, before torch

# isort: split
import torch

from configs import Config
from dataset import load_texture_set
from reporting.console import console
from training.run import memory_error, train
from utils.errors import UserError
from utils.interrupt import Interrupted, signals_raise

Tell = Callable[[str, str], None]
"""Takes what happened and a text: note, line (of a run's output), done (the folder), failed (the cause) or
interrupted (what was saved)."""


@contextlib.contextmanager
def _output_to(file: io.TextIOBase | None) -> Iterator[None]:
    """Send what a run says to `file`; None: to the terminal, as usual."""
    if file is None:
        yield
        return
    console.file = file  # type: ignore[assignment]
    try:
        yield
    finally:
        # Back to whatever stdout is.
        console.file = None  # type: ignore[assignment]


def train_material(config: Config, output: io.TextIOBase | None, tell: Tell) -> None:
    """Train one material and tell how it ended; what a run says goes to `output`, or to the terminal where it is None.

    Notices of the material are told where the run's own lines are not to be seen. A signal is told and raised.
    """
    try:
        started = time.perf_counter()
        texture_set = load_texture_set(config.run.data_dir, images=config.images)
        if isinstance(output, io.StringIO):
            for notice in texture_set.notices:
                tell("note", notice)
        with _output_to(output):
            folder = train(config, texture_set=texture_set, started=started)
        tell("done", str(folder))
    except Interrupted as error:
        tell("interrupted", error.saved or "")
        raise
    except (UserError, OSError, MemoryError, RuntimeError) as error:
        cause = str(memory_error(error) or error).strip().split("\n")[0]
        tell("failed", cause or type(error).__name__)
    except Exception as error:
        # A bug keeps its traceback, and the other materials their turn.
        traceback.print_exc()
        tell("failed", f"{type(error).__name__}: {error}")


class _Lines(io.TextIOBase):
    """A text file that tells every whole line that is written to it."""

    def __init__(self, tell: Tell) -> None:
        self._tell_line, self._rest = tell, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._tell_line("line", line)
        return len(text)


def work(config: Config, workers: int, verbose: bool, results: Connection) -> None:
    """Train one material in this process, which has its share of the threads, and send what happens to `results`.

    `workers`: processes that share the machine.
    """
    threads = max(1, torch.get_num_threads() // workers)
    torch.set_num_threads(threads)
    # The reader of exported files asks for it.
    os.environ["OMP_NUM_THREADS"] = str(threads)

    def tell(what: str, text: str) -> None:
        # Whoever started this process may be gone.
        with contextlib.suppress(OSError):
            results.send((what, text))

    # A terminal, a service manager and the batch itself may all send the same signal.
    with signals_raise(once=True), contextlib.suppress(KeyboardInterrupt):
        train_material(config, _Lines(tell) if verbose else io.StringIO(), tell)
