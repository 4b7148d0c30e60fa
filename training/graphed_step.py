"""One training step, and its capture as a CUDA graph, which spares the host a launch for every operation."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch

from model.backends.torch_backend import TorchBackend
from model.grids.batch_plan import BundlePlan, filled, plan_arrays, signature
from model.grids.geometry import TileGroup, to_device
from reporting.console import say
from training.loss import texture_loss

ALIGNMENT = 64
"""Bytes to whose multiples packed arrays are moved."""
RING = 4
"""Host buffers in turn, so that the host can fill one while others are still being copied."""
MAX_GRAPHS = 64
"""Kinds of batches that get a graph; any further ones are trained without."""


class StaticInputs:
    """Arrays of certain shapes and types, packed into one buffer on the device that stays where it is."""

    def __init__(self, arrays: list[np.ndarray], device: torch.device) -> None:
        sizes = [-(-array.nbytes // ALIGNMENT) * ALIGNMENT for array in arrays]
        self.starts = [sum(sizes[:index]) for index in range(len(sizes))]
        self.buffer = torch.empty(sum(sizes), dtype=torch.uint8, device=device)
        types = [torch.from_numpy(np.empty(0, array.dtype)).dtype for array in arrays]
        self.tensors = [self.buffer[start:start + array.nbytes].view(dtype).view(array.shape)
                        for start, array, dtype in zip(self.starts, arrays, types)]

    def pack(self, arrays: list[np.ndarray], out: np.ndarray) -> None:
        """Write arrays like those of the constructor into the uint8 host buffer `out` as they lie in `buffer`."""
        for start, array in zip(self.starts, arrays):
            out[start:start + array.nbytes].view(array.dtype).reshape(array.shape)[...] = array


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
        inputs.buffer.copy_(host[:len(inputs.buffer)], non_blocking=True)
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


@dataclass
class _Kind:
    """Batches of one signature: their inputs, all of them views of one buffer, and the graph."""

    inputs: StaticInputs
    plan: list[BundlePlan]
    index: torch.Tensor
    noise: list[float | torch.Tensor]
    numbers: Sequence[torch.Tensor]
    """For the optimisers."""
    uniform: torch.Tensor
    """Where the random numbers for the noise are drawn to, before the step."""
    sizes: list[int]
    """Of the vectors that `uniform` consists of."""
    replay: Callable[[], None] | None = None


class GraphedStep:
    """The step of a training: decode a batch, take the loss and its gradients, step the optimisers.

    Without `capture` every step runs operation by operation. With it a step's arrays are packed and copied at once; the
    first batch of a kind runs as it is, the second is captured, and all later ones of that kind replay the graph.
    Kinds differ in shapes and in which grids get noise; all that changes otherwise is in the arrays.
    """

    def __init__(self, backend: TorchBackend, texels: torch.Tensor, generator: torch.Generator, *, quantize: bool,
                 linear_diffuse: bool, loss_weights: torch.Tensor | None, capture: CudaGraphs | None = None) -> None:
        self.backend, self.texels, self.generator = backend, texels, generator
        self.quantize, self.linear_diffuse, self.loss_weights = quantize, linear_diffuse, loss_weights
        self.capture = capture
        self.kinds: dict[Hashable, _Kind] = {}
        self.loss = torch.zeros((), device=texels.device)

    def __call__(self, groups: list[TileGroup], index: np.ndarray, noise: list[float] | None,
                 lr_scale: float) -> torch.Tensor:
        """Make one step and return its loss, a 0-dim tensor that holds until the next step.

        `index` [N]: the rows of the texels that are the tile groups' targets; `noise` as for `predict`; `lr_scale`: the
        schedule's factor.
        """
        if self.capture is None:
            return self._uncaptured(groups, index, noise, lr_scale)
        backend, noise = self.backend, noise or []
        plan = backend.plan(groups)
        arrays = [*plan_arrays(plan), index]
        noisy = tuple(amplitude > 0 for amplitude in noise)
        key = signature(plan, arrays), noisy
        if key not in self.kinds and len(self.kinds) == MAX_GRAPHS:
            return self._uncaptured(groups, index, noise, lr_scale)
        arrays.append(np.array([*noise, *backend.begin_step(lr_scale)], np.float32))
        if key in self.kinds:
            kind = self.kinds[key]
            self.capture.fill(kind.inputs, arrays)
            self._draw(kind)
            self._repeat(kind)
        else:
            inputs = StaticInputs(arrays, self.texels.device)
            kind = self.kinds[key] = self._kind(inputs, plan, noisy)
            self.capture.fill(inputs, arrays)
            self._draw(kind)
            self.capture.warm_up(partial(self._run, kind))
        return self.loss

    def _uncaptured(self, groups: list[TileGroup], index: np.ndarray, noise: list[float] | None,
                    lr_scale: float) -> torch.Tensor:
        values = self.backend.predict(groups, self.quantize, noise, self.generator)
        loss = self._backward(values, to_device(index, self.texels.device))
        self.backend.step(lr_scale)
        return loss

    def _backward(self, values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Leave the gradients of the loss, and return it."""
        target = self.texels.index_select(0, index)
        loss = texture_loss(values, target, self.linear_diffuse, self.loss_weights)
        loss.backward()
        return loss.detach()

    def _kind(self, inputs: StaticInputs, plan: list[BundlePlan], noisy: tuple[bool, ...]) -> _Kind:
        """Name the inputs: the arrays of a plan like `plan`, the index, the amplitudes and the optimisers' numbers."""
        *arrays, index, numbers = inputs.tensors
        numbers = numbers.unbind()
        noise = [amplitude if above_0 else 0.0 for amplitude, above_0 in zip(numbers, noisy)]
        sizes = self.backend.noise_sizes(plan, [float(above_0) for above_0 in noisy])
        return _Kind(inputs, filled(plan, arrays), index, noise, numbers[len(noisy):],
                     torch.empty(sum(sizes), device=self.texels.device), sizes)

    def _draw(self, kind: _Kind) -> None:
        """Draw a step's random numbers, outside of any graph."""
        if kind.sizes:
            kind.uniform.uniform_(generator=self.generator)

    def _run(self, kind: _Kind) -> None:
        """Make the step on the inputs of a kind of batches, operation by operation."""
        values = self.backend.decode_plan(kind.plan, self.quantize, kind.noise, kind.uniform.split(kind.sizes))
        self.loss.copy_(self._backward(values, kind.index))
        self.backend.apply(kind.numbers)

    def _repeat(self, kind: _Kind) -> None:
        """Run a kind's step again, by its graph; where capturing fails, this one and all later steps go without."""
        if kind.replay is None:
            problem = self._record(kind)
            if problem:
                say("note", f"training goes on without CUDA graphs: {problem}")
                self.backend.clear_gradients()
                self.capture = None
                self.kinds.clear()
                self._run(kind)
                return
        kind.replay()

    def _record(self, kind: _Kind) -> str:
        """Capture a kind's graph; returns why it cannot be, or ""."""
        try:
            kind.replay = self.capture.record(partial(self._run, kind))
        except RuntimeError as error:
            # Ending a capture fails once more after an operation has; the first failure says what is wrong.
            return " ".join(str(error.__context__ or error).split())
        return ""
