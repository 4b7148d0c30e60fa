"""CUDA graphs and the buffers they read: what lies still on the device so that a recorded step can be replayed."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch

ALIGNMENT = 64
"""Bytes to whose multiples packed arrays are moved."""
RING = 4
"""Host buffers in turn, so that the host can fill one while others are still being copied."""


class StaticInputs:
    """Arrays of certain shapes and types, packed into one buffer on the device that stays where it is."""

    def __init__(self, arrays: list[np.ndarray], device: torch.device) -> None:
        sizes = [-(-array.nbytes // ALIGNMENT) * ALIGNMENT for array in arrays]
        self.starts = [sum(sizes[:index]) for index in range(len(sizes))]
        self.buffer = torch.empty(sum(sizes), dtype=torch.uint8, device=device)
        types = [torch.from_numpy(np.empty(0, array.dtype)).dtype for array in arrays]
        self.tensors = [
            self.buffer[start : start + array.nbytes].view(dtype).view(array.shape)
            for start, array, dtype in zip(self.starts, arrays, types)
        ]

    def pack(self, arrays: list[np.ndarray], out: np.ndarray) -> None:
        """Write arrays like those of the constructor into the uint8 host buffer `out` as they lie in `buffer`."""
        for start, array in zip(self.starts, arrays):
            out[start : start + array.nbytes].view(array.dtype).reshape(array.shape)[...] = array


@lru_cache
def _capture_stream(device: torch.device) -> torch.cuda.Stream:
    """One stream for all captures of a device, since cuBLAS may keep memory for every stream that it has seen."""
    return torch.cuda.Stream(device)


class CudaGraphs:
    """CUDA graphs that share a memory pool; in any order, so what a replay leaves must lie outside of it."""

    failed = False
    """Whether a capture has failed in this process; some versions of PyTorch cannot capture again afterwards."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = _capture_stream(device)
        self.slots = [(torch.empty(0, dtype=torch.uint8), torch.cuda.Event()) for _ in range(RING)]

    def fill(self, inputs: StaticInputs, arrays: list[np.ndarray]) -> None:
        """Copy arrays by way of a pinned buffer; waits only for the copy that was made `RING` calls ago."""
        host, copied = self.slots.pop(0)
        copied.synchronize()
        if len(host) < len(inputs.buffer):
            host = torch.empty(len(inputs.buffer), dtype=torch.uint8, pin_memory=True)
        inputs.pack(arrays, host.numpy())
        inputs.buffer.copy_(host[: len(inputs.buffer)], non_blocking=True)
        copied.record(torch.cuda.current_stream(self.device))
        self.slots.append((host, copied))

    def warm_up(self, run: Callable[[], None]) -> None:
        """Run on the stream of the captures."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            run()
        current.wait_stream(self.stream)

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        """Capture a graph and return its replay; nothing is computed yet. Raises `RuntimeError` where it cannot be.

        `run` must not draw random numbers: how a generator is made known to a graph depends on PyTorch's version.
        """
        current = torch.cuda.current_stream(self.device)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.device(self.device), torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
                run()
        except RuntimeError:
            CudaGraphs.failed = True
            # PyTorch before 2.15 leaves the stream of a failed capture in place.
            torch.cuda.set_stream(current)
            raise
        return graph.replay
