"""How processes share a machine: its threads and its GPUs."""

from __future__ import annotations

import os
from dataclasses import replace

import utils.threads  # noqa: F401, before torch

# isort: split
import torch
from threadpoolctl import threadpool_limits

from configs import Config


class _Machine:
    threads: int | None = None
    """What PyTorch would take where it had the machine for itself."""


def use_threads(count: int) -> None:
    """Have this process compute on at most `count` threads: PyTorch, NumPy's libraries, and the reader of exports."""
    torch.set_num_threads(count)
    threadpool_limits(count)
    os.environ["OMP_NUM_THREADS"] = str(count)


def share(config: Config, number: int, workers: int) -> Config:
    """Take the share of a process, `number` of `workers` on this machine, and return the settings with its device.

    Threads are divided among the processes, at least one each; where there are several GPUs, each process has one.
    """
    _Machine.threads = _Machine.threads or torch.get_num_threads()
    use_threads(max(1, _Machine.threads // workers))
    if config.train.device in ("auto", "cuda") and torch.cuda.is_available() and torch.cuda.device_count() > 1:
        device = f"cuda:{number % torch.cuda.device_count()}"
        return replace(config, train=replace(config.train, device=device))
    return config
