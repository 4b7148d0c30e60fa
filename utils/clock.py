"""Where the time of a command goes."""

from __future__ import annotations

import time


class _Command:
    started: float | None = None


def command_begins() -> None:
    """Remember this moment as the start of the command."""
    _Command.started = time.perf_counter()


def command_ends() -> None:
    """Forget the start of the command."""
    _Command.started = None


def command_start() -> float:
    """Return when the command began, in `time.perf_counter`'s seconds; this moment where no command is running."""
    return time.perf_counter() if _Command.started is None else _Command.started


class Stopwatch:
    """Adds up seconds by phase; there is always one phase running.

    >>> watch = Stopwatch("start-up"); watch.enter("training"); list(watch.seconds())
    ['start-up', 'training']
    """

    def __init__(self, phase: str, started: float | None = None) -> None:
        """Begin with `phase`, at `started` (`time.perf_counter`) or now."""
        self.started = self._since = time.perf_counter() if started is None else started
        self.phase = phase
        self._seconds = {phase: 0.0}

    def enter(self, phase: str) -> str:
        """End the running phase, begin or go on with another, and return the one that was running."""
        now = time.perf_counter()
        self._seconds[self.phase] += now - self._since
        before, self.phase, self._since = self.phase, phase, now
        self._seconds.setdefault(phase, 0.0)
        return before

    def seconds(self) -> dict[str, float]:
        """Return the seconds of every phase so far, in the order in which they first came."""
        self.enter(self.phase)
        return dict(self._seconds)

    def elapsed_s(self) -> float:
        """Return the seconds since the start."""
        return time.perf_counter() - self.started
