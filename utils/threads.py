"""How PyTorch's worker threads wait; import this before torch.

Between two operations OpenMP's threads spin. Spinning for long costs many times a training step as soon as another
program wants the same cores; sleeping at once costs half a step on an idle machine. A short spin is good at both
(`python -m benchmarks.speed --threads` measures it). A setting of the user's own is left alone.
"""

from __future__ import annotations

import os

if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
    os.environ["GOMP_SPINCOUNT"] = "20000"


class _Process:
    share: int | None = None
    """Threads that are its own, where several processes share the machine."""


def processors() -> int:
    """Return how many threads this process may keep busy: its share where it has one, else OMP_NUM_THREADS where that is
    set, else the cores that it may use."""
    if _Process.share:
        return _Process.share
    setting = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(int(setting), 1) if setting.isdecimal() else cores


def share_processors(processes: int) -> None:
    """Have this process, one of several on this machine, keep its part of the threads busy, at least one."""
    _Process.share = max(1, processors() // processes)


class ThreadTuner:
    """Chooses between all threads and one while a clock is running.

    Where another program keeps a core busy, threads that wait for each other make a step many times slower than one
    thread alone. The number of threads changes sums in their last bits, so runs that must be repeatable keep it.
    """

    SLOWER = 1.5
    """One thread is tried when a step takes this many times its best time so far."""
    PATIENCE = 20
    """Readings after which the other choice is tried again."""

    def __init__(self, threads: int) -> None:
        self.choices = (threads, 1)
        self.current = threads
        self.best_s = float("inf")
        self.last_s: dict[int, float] = {}
        self.since_change = 0

    def next(self, step_s: float) -> int:
        """Take the mean time of the latest steps, seconds, and return the number of threads for the next ones."""
        self.best_s = min(self.best_s, step_s)
        self.last_s[self.current] = step_s
        self.since_change += 1
        other = self.choices[1] if self.current == self.choices[0] else self.choices[0]
        disappointed = step_s > self.SLOWER * self.best_s if self.current != 1 else self.since_change >= self.PATIENCE
        worse = self.since_change == 1 and other in self.last_s and step_s > self.last_s[other]
        if other != self.current and (worse or (disappointed and self.since_change > 1)):
            self.current, self.since_change = other, 0
        return self.current
