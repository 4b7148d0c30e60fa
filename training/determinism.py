"""Runs that give the same bytes again: what `--deterministic` leaves out, and how PyTorch is set for it.

Without the flag a run on the CPU without a time budget repeats as well; the flag promises it, on GPUs too, and refuses
what would break the promise. Sums are split over the threads, so another number of threads gives other last bits.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

import torch

from utils.errors import UsageError

WORKSPACE_VARIABLE, WORKSPACES = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")
"""Buffers with which cuBLAS takes the same path every time; it reads the variable when it is first used."""
ATOMICS = "tiny-cuda-nn adds up gradients in the order in which threads of the GPU happen to finish"


@contextlib.contextmanager
def repeatable(wanted: bool) -> Iterator[None]:
    """While entered and `wanted`, PyTorch takes deterministic operations alone, and raises where it has none."""
    if not wanted:
        yield
        return
    before = torch.get_deterministic_debug_mode()
    workspace = os.environ.get(WORKSPACE_VARIABLE)
    if workspace not in WORKSPACES:
        os.environ[WORKSPACE_VARIABLE] = WORKSPACES[0]
    # As `use_deterministic_algorithms` does, which loads a compiler that nothing here uses, for seconds.
    torch.set_deterministic_debug_mode("error")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
        if workspace is None:
            del os.environ[WORKSPACE_VARIABLE]
        else:
            os.environ[WORKSPACE_VARIABLE] = workspace


def repeatable_backends(names: Sequence[str], device: torch.device) -> tuple[list[str], str]:
    """Return which of the usable backends repeat, and a line on why there is one alone (empty where that is no news).

    No clock decides between them. Raises `UsageError` where none of them repeats, or the device does not.
    """
    if device.type == "mps":
        raise UsageError("--deterministic: PyTorch promises nothing on Apple's GPUs; use --device cpu, or leave it out")
    if "torch" not in names:
        raise UsageError(f"--deterministic excludes backend tcnn: {ATOMICS}; use --backend torch, or leave it out")
    return ["torch"], f"torch, as --deterministic asks: {ATOMICS}" if len(names) > 1 else ""
