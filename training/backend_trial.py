"""Which of several backends trains a model faster: each of them for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from configs import Config
from training.cuda_graphs import CudaGraphs
from utils.errors import UserError

if TYPE_CHECKING:
    from training.session import Session

TRIAL_S, TRIAL_STEPS = 0.5, 20
"""Time for which backends are tried, seconds, and steps between looks at the clock."""
_faster: dict[tuple, tuple[str, str]] = {}


def faster_backend(names: list[str], config: Config, open_with: Callable[[str], Session]) -> tuple[str, str]:
    """Train for a moment with each of the backends; returns the fastest one and a line that says how fast they are.

    `open_with` sets a training up with a backend. One that fails is out, unless all do. Models that are alike are tried
    once in a process, on the first material.
    """
    alike = (
        *names,
        config.train.device,
        config.train.precision,
        config.train.batch_size,
        config.train.tile_size,
        config.model.n_neurons,
        config.model.n_hidden_layers,
        config.model.activation,
        len(config.model.hash_grid_configs),
    )
    if alike not in _faster:
        rates, failures = {}, {}
        for name in names:
            try:
                rates[name] = _steps_per_second(open_with(name))
            except (RuntimeError, UserError) as error:
                # Its frames would keep the session and its memory.
                failures[name] = error.with_traceback(None)
            if torch.cuda.is_available() and not CudaGraphs.failed:
                torch.cuda.empty_cache()
        if not rates:
            raise failures[names[0]]
        best = max(rates, key=lambda name: rates[name])
        others = [f"{name} {rate:.0f}" for name, rate in rates.items() if name != best]
        failed = [f"{name} fails: {' '.join(str(error).split())}" for name, error in failures.items()]
        _faster[alike] = best, f"{best}: {'; '.join([', '.join([f'{rates[best]:.0f} steps/s', *others]), *failed])}"
    return _faster[alike]


def _steps_per_second(session: Session) -> float:
    """Train for `TRIAL_S` to warm up, then for as long to count; the session is of no use afterwards."""
    step = session.training_step()
    for _ in range(2):
        count, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < TRIAL_S:
            for _ in range(TRIAL_STEPS):
                loss = step(session.sampler.draw(), session.noise(0.0), 1.0)
            # Reading it waits for the device.
            loss.item()
            count += TRIAL_STEPS
    session.backend.release()
    return count / elapsed
