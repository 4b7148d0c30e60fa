"""One training step, and its capture as a CUDA graph, which spares the host a launch for every operation.

A step has a host part (draw tiles, work out look-ups, count the step) and a device part (features, decoder, loss, gradients,
optimisers) that reads nothing back. The device part is one function of arrays and numbers; captured, it reads both from
buffers that stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from model.backends.torch_backend import TorchBackend
from model.grids.feature_grids import QuantizationNoise, draw_noise, noise_sizes
from model.grids.lookup import TileLookup, arrays_of, lookups_to_device, signature, to_device, with_arrays
from reporting.console import say
from training.cuda_graphs import CudaGraphs, StaticInputs
from training.fine_texels import FineTexels
from training.loss import texture_loss
from training.optimizers import Optimizers
from training.sampler import TileBatch

MAX_GRAPHS = 64
"""Signatures of batches that get a graph; batches of any further one are trained without."""


@dataclass
class CapturedBatch:
    """Batches of one signature: where their inputs lie on the device, and the graph that reads them."""

    inputs: StaticInputs
    """Holds every tensor below but `uniform`."""
    lookups: list[TileLookup]
    targets: torch.Tensor
    texel_weights: torch.Tensor | None
    numbers: dict[str, torch.Tensor]
    """What a step changes beside arrays, by name: the optimisers' and `noise_<grid>`."""
    uniform: torch.Tensor
    """Where the random numbers for the noise are drawn to, before the step."""
    noise: QuantizationNoise | None
    """Amplitudes out of `numbers` and parts of `uniform`."""
    replay: Callable[[], None] | None = None


class TrainingStep:
    """The step of a training: decode a batch, take the loss and its gradients, step the optimisers.

    Without `capture` every step runs operation by operation. With it a step's arrays are packed and copied at once; the
    first batch of a signature runs as it is, the second is captured, and all later ones replay the graph. Signatures
    differ in shapes and in which grids get noise; all that changes otherwise is in the arrays.
    """

    def __init__(
        self,
        backend: TorchBackend,
        optimizers: Optimizers,
        texels: torch.Tensor,
        generator: torch.Generator,
        *,
        quantize: bool,
        linear_diffuse: bool,
        loss_weights: torch.Tensor | None,
        capture: CudaGraphs | None = None,
        fine: FineTexels | None = None,
    ) -> None:
        self.backend, self.optimizers, self.texels, self.generator = backend, optimizers, texels, generator
        self.quantize, self.linear_diffuse, self.loss_weights = quantize, linear_diffuse, loss_weights
        self.capture, self.fine = capture, fine
        self.captured: dict[Hashable, CapturedBatch] = {}
        self.loss = torch.zeros((), device=texels.device)

    def __call__(self, batch: TileBatch, noise: Sequence[float] | None, lr_scale: float) -> torch.Tensor:
        """Make one step and return its loss, a 0-dim tensor that holds until the next step.

        `noise`: each grid's amplitude before rounding, None for none; `lr_scale`: the schedule's factor.
        """
        lookups = self.backend.planner.look_up(batch.groups)
        if self.capture is None:
            return self._uncaptured(lookups, batch, noise, lr_scale)
        arrays = [*arrays_of(lookups), batch.targets]
        if batch.texel_weights is not None:
            arrays.append(batch.texel_weights)
        noisy = tuple(amplitude > 0 for amplitude in noise or ())
        key = signature(lookups, arrays), noisy
        captured = self.captured.get(key)
        if captured is None and len(self.captured) == MAX_GRAPHS:
            return self._uncaptured(lookups, batch, noise, lr_scale)
        numbers = self.optimizers.begin_step(lr_scale)
        numbers |= {f"noise_{grid}": amplitude for grid, amplitude in enumerate(noise or ())}
        arrays.append(np.array([*numbers.values()], np.float32))
        if captured is None:
            captured = self.captured[key] = self._static_batch(arrays, lookups, batch, list(numbers), noisy)
            self.capture.fill(captured.inputs, arrays)
            self._draw(captured)
            self.capture.warm_up(partial(self._run, captured))
        else:
            self.capture.fill(captured.inputs, arrays)
            self._draw(captured)
            self._repeat(captured)
        return self.loss

    def _uncaptured(
        self, lookups: list[TileLookup], batch: TileBatch, noise: Sequence[float] | None, lr_scale: float
    ) -> torch.Tensor:
        """Make a step operation by operation, on arrays of its own."""
        device = self.texels.device
        numbers = self.optimizers.begin_step(lr_scale)
        values = to_device(np.array([*numbers.values()], np.float32), device).unbind()
        weights = None if batch.texel_weights is None else to_device(batch.texel_weights, device)
        drawn = draw_noise(lookups, self.backend.texture.layout.grids, noise, self.generator, device)
        return self._on_device(
            lookups_to_device(lookups, device),
            to_device(batch.targets, device),
            weights,
            drawn,
            dict(zip(numbers, values)),
        )

    def _on_device(
        self,
        lookups: list[TileLookup],
        targets: torch.Tensor,
        texel_weights: torch.Tensor | None,
        noise: QuantizationNoise | None,
        numbers: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:
        """Make the device part of a step and return the loss."""
        values, touched = self.backend.forward(lookups, self.quantize, noise)
        texels = self.fine.targets(self.texels, targets) if self.fine else self.texels.index_select(0, targets)
        loss = texture_loss(values, texels, self.linear_diffuse, self.loss_weights, texel_weights)
        loss.backward()
        allowed = self.backend.judge(self.optimizers.gradients(touched))
        self.optimizers.apply(numbers, touched, values.numel(), allowed)
        return loss.detach()

    def _static_batch(
        self,
        arrays: list[np.ndarray],
        lookups: list[TileLookup],
        batch: TileBatch,
        names: list[str],
        noisy: tuple[bool, ...],
    ) -> CapturedBatch:
        """Lay out the inputs of a batch like this one: look-ups, targets, texel weights if any, numbers."""
        inputs = StaticInputs(arrays, self.texels.device)
        *tensors, numbers = inputs.tensors
        weights = None if batch.texel_weights is None else tensors.pop()
        targets = tensors.pop()
        by_name = dict(zip(names, numbers.unbind()))
        sizes = noise_sizes(lookups, self.backend.texture.layout.grids, noisy)
        uniform = torch.empty(sum(sizes.values()), device=self.texels.device)
        noise = (
            QuantizationNoise(
                [by_name[f"noise_{grid}"] for grid in range(len(noisy))],
                dict(zip(sizes, uniform.split(list(sizes.values())))),
            )
            if sizes
            else None
        )
        return CapturedBatch(inputs, with_arrays(lookups, tensors), targets, weights, by_name, uniform, noise)

    def _draw(self, captured: CapturedBatch) -> None:
        """Draw a step's random numbers, outside of any graph."""
        if captured.noise:
            captured.uniform.uniform_(generator=self.generator)

    def _run(self, captured: CapturedBatch) -> None:
        """Make the step on the inputs of a signature, operation by operation."""
        self.loss.copy_(
            self._on_device(
                captured.lookups, captured.targets, captured.texel_weights, captured.noise, captured.numbers
            )
        )

    def _repeat(self, captured: CapturedBatch) -> None:
        """Run a signature's step again, by its graph; where capturing fails, this one and all later steps go without."""
        if captured.replay is None and self.capture:
            try:
                captured.replay = self.capture.record(partial(self._run, captured))
            except RuntimeError as error:
                # Ending a capture fails once more after an operation has; the first failure says what is wrong.
                problem = " ".join(str(error.__context__ or error).split())
                say("note", f"training goes on without CUDA graphs: {problem}")
                self.optimizers.clear_gradients()
                self.capture = None
                self.captured.clear()
        (captured.replay or partial(self._run, captured))()
