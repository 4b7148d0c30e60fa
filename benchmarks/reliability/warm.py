"""The product's commands in processes that start at once: forked, where the system can, from one that has loaded them."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

LOADED = (
    "train",
    "export",
    "batch.groups",
    "batch.worker",
    "training.run",
    "training.finish",
    "tensorboardX.event_file_writer",
    "flip_evaluator",
    "matplotlib.figure",
    "matplotlib.backends.backend_svg",
    "benchmarks.reliability.warm",
)
"""What the server that is forked loads beforehand; none of it computes anything, so no thread is lost in a fork."""


class Commands:
    """Starts `train.py` and `export.py` as they are started from a shell, each in a process of its own."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        """`environment` is that of all commands, over the present one."""
        self.environment = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", **(environment or {})}
        forks = "forkserver" in multiprocessing.get_all_start_methods()
        self.context = multiprocessing.get_context("forkserver" if forks else "spawn")
        if forks:
            before = {name: os.environ.get(name) for name in self.environment}
            os.environ.update(self.environment)
            try:
                self.context.set_forkserver_preload(list(LOADED))
                # The server has the environment of the moment in which it starts.
                probe = self.context.Process(target=os.getpid)
                probe.start()
                probe.join()
            finally:
                for name, value in before.items():
                    if value is None:
                        os.environ.pop(name, None)
                    else:
                        os.environ[name] = value

    def start(self, program: str, arguments: Sequence[object], log: Path) -> BaseProcess:
        """Start `train` or `export` with arguments; all it prints is appended to `log`."""
        process = self.context.Process(
            target=_command, args=(program, [str(argument) for argument in arguments], log, self.environment)
        )
        process.start()
        return process

    def run(self, program: str, arguments: Sequence[object], log: Path, timeout_s: float = 300.0) -> int | None:
        """Run a command to its end and return its exit code; None where it took longer than `timeout_s`."""
        process = self.start(program, arguments, log)
        process.join(timeout_s)
        if process.is_alive():
            kill_all(process)
            return None
        return process.exitcode


def kill_all(process: BaseProcess) -> None:
    """`kill -9` a command and all processes that it has started."""
    if process.pid and hasattr(os, "killpg"):
        try:
            os.killpg(process.pid, 9)
        except (ProcessLookupError, PermissionError):
            # It may be too young to lead a group.
            process.kill()
    else:
        process.kill()
    process.join()


def _command(program: str, arguments: list[str], log: Path, environment: dict[str, str]) -> None:
    if hasattr(os, "setsid"):
        os.setsid()
    os.environ.update(environment)
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)
    module = importlib.import_module(program)
    sys.argv = [f"{program}.py", *arguments]
    from utils.errors import run_command

    run_command(module.run if program == "train" else module.main)
