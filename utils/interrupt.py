"""Signals that ask a command to stop: Ctrl-C, SIGTERM and, on Windows, Ctrl-Break."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name))

Handler = Callable[[int, FrameType | None], Any] | int


class Interrupted(KeyboardInterrupt):
    """A signal asked the command to stop; `exit_code` is the one that shells give it."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(signal_word(number))
        self.exit_code = 128 + number
        self.saved: str | None = None
        """The folder of the checkpoint that was saved before the end, if one was."""


def signal_word(number: int) -> str:
    """Return what stands on the terminal for a signal."""
    return "interrupted" if number == signal.SIGINT else "terminated"


class _Process:
    """How this process takes signals."""

    starting = False
    """Nothing would be lost by leaving at once."""
    once = False
    """Signals after the first are not heard."""
    told = False
    """There has been one."""


def _handlers(handler: Callable[[int, FrameType | None], None]) -> dict[int, Handler]:
    """Set a handler for every signal that is not ignored and return those before; none outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    before: dict[int, Handler] = {}
    for number in SIGNALS:
        handled = signal.getsignal(number)
        # None: set by other than Python, which could not be put back.
        if handled is not None and handled != signal.SIG_IGN:
            before[number] = handled
    for number in before:
        signal.signal(number, handler)
    return before


def _restore(before: dict[int, Handler]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)


def _importing(frame: FrameType | None) -> bool:
    while frame:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _end(number: int, frame: FrameType | None) -> None:
    # Extension modules turn an exception that comes out of their imports into another one, or lose it.
    if _Process.starting and _importing(frame):
        os.write(2, f"{signal_word(number)}\n".encode())
        os._exit(128 + number)
    if not (_Process.once and _Process.told):
        _Process.told = True
        raise Interrupted(number)


@contextmanager
def signals_raise(once: bool = False) -> Iterator[None]:
    """While entered, signals raise `Interrupted`; during the imports at the start they end the process in one line.

    `once`: those after the first do nothing, for a process that others may tell to stop several times.
    """
    _Process.starting, _Process.once, _Process.told = True, once, False
    before = _handlers(_end)
    try:
        yield
    finally:
        _restore(before)
        _Process.once = False


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], int]]:
    """While entered, a signal only becomes the yielded function's answer (0: none); a second one interrupts at once.

    Nothing changes outside the main thread, or where the signal is ignored.
    """
    asked = 0
    before: dict[int, Handler] = {}
    _Process.starting = False

    def note(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = asked or number
        _Process.told = True
        if not _Process.once:
            _restore(before)

    before = _handlers(note)
    try:
        yield lambda: asked
    finally:
        _restore(before)


def printable_streams() -> None:
    """Let stdout and stderr show ? for a letter that the terminal's code page lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
