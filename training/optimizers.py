"""The optimisers: Muon for the decoder's matrices, Adam for the rest, and those of `training.latent_optimizers` for grids.

A step has two parts. `begin_step(lr_scale)` counts it on the host and returns the numbers that are new in it, by name;
`apply` makes it with these numbers as 0-dim float32 tensors, and does the same operations in every step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch

from model.grids.feature_grids import TouchedTexels
from model.texture import NeuralTexture
from quantize import clamp_range
from training.latent_optimizers import TouchedAdam, TouchedNewton, latent_weights, touched_rows
from training.tensors import gradient_of, restore

LINEAR_SHARE = 30
"""Muon's step size over that of the linear decoder and the curves."""
MUON_SHARE = 5
"""Muon's step size over that of the vectors beside it, which Adam steps."""
SMALL_PRODUCT = 1 << 15
"""Multiply-adds of a matrix product up to which padding costs less than a product of its own."""


def orthogonalize(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Return about U V^T of the singular value decomposition of each matrix [..., R, C], R <= C.

    The quintic Newton-Schulz iteration; coefficients: K. Jordan, "Muon: an optimizer for hidden layers in neural
    networks" (2024). Singular values end between about 0.7 and 1.2.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-12)
    for _ in range(steps):
        gram = x @ x.transpose(-2, -1)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _wide(matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix with at least as many columns as rows: itself or its transpose, a view."""
    return matrix.t() if matrix.shape[0] > matrix.shape[1] else matrix


class Muon:
    """Nesterov momentum whose step is orthogonalised, for matrices [out, in].

    A step moves a matrix by `lr * sqrt(max(1, out / in))` in spectral norm. Matrices of one shape are worked on at once,
    and small ones with them, padded with zeros, which the iteration keeps.
    """

    def __init__(self, matrices: Sequence[torch.Tensor], lr: float, momentum: float = 0.95) -> None:
        self.matrices, self.lr, self.momentum = list(matrices), lr, momentum
        self.factors = [max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5 for matrix in self.matrices]
        by_shape: dict[tuple[int, int], list[int]] = {}
        for index in sorted(range(len(self.matrices)), key=lambda index: -self.matrices[index].numel()):
            rows, cols = _wide(self.matrices[index]).shape
            shape = next(
                (
                    shape
                    for shape in by_shape
                    if rows <= shape[0] and cols <= shape[1] and shape[0] ** 2 * shape[1] <= SMALL_PRODUCT
                ),
                (rows, cols),
            )
            by_shape.setdefault(shape, []).append(index)
        device = self.matrices[0].device
        self.groups = [
            (
                members,
                torch.zeros(len(members), *shape, device=device),
                torch.zeros(len(members), *shape, device=device),
            )
            for shape, members in by_shape.items()
        ]
        """Members, their gradients and their momentum, padded."""

    def begin_step(self, lr_scale: float) -> dict[str, float]:
        """Return the step length; `lr_scale` is the schedule's factor."""
        return {"length": self.lr * lr_scale}

    @torch.no_grad()
    def apply(self, length: torch.Tensor) -> None:
        """Step along the gradients in `.grad`."""
        for members, gradients, momentum in self.groups:
            for index, slot in zip(members, gradients):
                gradient = _wide(gradient_of(self.matrices[index]))
                slot[: gradient.shape[0], : gradient.shape[1]] = gradient
            momentum.lerp_(gradients, 1 - self.momentum)
            directions = orthogonalize(torch.lerp(gradients, momentum, self.momentum))
            for index, direction in zip(members, directions):
                wide = _wide(self.matrices[index])
                wide.addcmul_(direction[: wide.shape[0], : wide.shape[1]], length, value=-self.factors[index])

    def _buffers(self) -> dict[int, torch.Tensor]:
        """Return the momentum of each matrix, wide side first, views by the matrix's number."""
        buffers = {}
        for members, _, momentum in self.groups:
            for index, slot in zip(members, momentum):
                rows, cols = _wide(self.matrices[index]).shape
                buffers[index] = slot[:rows, :cols]
        return buffers

    def state(self) -> dict[str, torch.Tensor]:
        """Return the momentum of each matrix, wide side first."""
        return {f"momentum_{index}": buffer for index, buffer in sorted(self._buffers().items())}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state` gave, or the padded stack that checkpoints of version 1 have."""
        for index, buffer in self._buffers().items():
            stored = state["momentum"][index] if "momentum" in state else state[f"momentum_{index}"]
            restore(buffer, stored[: buffer.shape[0], : buffer.shape[1]])


class Adam:
    """Adam on whole tensors (biases, or the matrices where Muon is not wanted), worked on as one vector."""

    def __init__(self, tensors: Sequence[torch.Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        self.tensors, self.lr, self.betas, self.count = list(tensors), lr, betas, 0
        self.sizes = [tensor.numel() for tensor in self.tensors]
        self.first = torch.zeros(sum(self.sizes), device=self.tensors[0].device)
        self.second = torch.zeros_like(self.first)

    def begin_step(self, lr_scale: float) -> dict[str, float]:
        """Return the second moment's bias correction and the step length; `lr_scale` is the schedule's factor."""
        self.count += 1
        beta1, beta2 = self.betas
        return {"correction": 1 - beta2**self.count, "length": self.lr * lr_scale / (1 - beta1**self.count)}

    @torch.no_grad()
    def apply(self, correction: torch.Tensor, length: torch.Tensor) -> None:
        """Step along the gradients in `.grad`."""
        beta1, beta2 = self.betas
        gradient = torch.cat([gradient_of(tensor).reshape(-1) for tensor in self.tensors])
        self.first.lerp_(gradient, 1 - beta1)
        self.second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        step = self.first / (self.second / correction).sqrt_().add_(1e-12)
        for tensor, part in zip(self.tensors, step.split(self.sizes)):
            tensor.addcmul_(part.view_as(tensor), length, value=-1)

    def state(self) -> dict[str, torch.Tensor]:
        """Return both moments and the number of steps."""
        return {"first": self.first, "second": self.second, "count": torch.tensor(self.count)}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state` gave."""
        self.count = int(state["count"])
        restore(self.first, state["first"])
        restore(self.second, state["second"])


class Optimizers:
    """All optimisers of a neural texture, by what they step: `matrices`, `vectors`, `grid_0`, `grid_1`, ..."""

    def __init__(self, texture: NeuralTexture, name: str, learning_rate: float) -> None:
        """`name`: muon or adam, for the decoder's matrices; `learning_rate` of the decoder, the grids have their own."""
        decoder = texture.decoder
        muon = name == "muon"
        self.decoder: dict[str, Muon | Adam] = {
            "matrices": (Muon if muon else Adam)(list(decoder.matrices), learning_rate)
        }
        if decoder.vectors():
            self.decoder["vectors"] = Adam(decoder.vectors(), learning_rate / MUON_SHARE if muon else learning_rate)
        if decoder.linear is not None:
            self.decoder["linear"] = Adam(
                [decoder.linear, *decoder.curves], learning_rate / (LINEAR_SHARE if muon else MUON_SHARE)
            )
        newton = decoder.linear is not None and len(decoder.curves) > 0
        self.grids: list[TouchedAdam | TouchedNewton] = []
        for index, (grid, table) in enumerate(zip(texture.layout.grids, texture.grids.tables)):
            bits = texture.grids.bits(index)
            if newton:
                weights = latent_weights(texture, index)
                self.grids.append(
                    TouchedNewton(table.detach(), grid.learning_rate, bits, decoder.curves[index].detach(), weights)
                )
            else:
                self.grids.append(TouchedAdam(table.detach(), grid.learning_rate, clamp_range(bits)))
        self.parameters = [*decoder.matrices, *decoder.vectors()]
        if decoder.linear is not None:
            self.parameters += [decoder.linear, *decoder.curves]

    @property
    def members(self) -> dict[str, Muon | Adam | TouchedAdam | TouchedNewton]:
        """Every optimiser by name."""
        return {**self.decoder, **{f"grid_{index}": optimizer for index, optimizer in enumerate(self.grids)}}

    def begin_step(self, lr_scale: float) -> dict[str, float]:
        """Count a step and return the numbers that `apply` needs for it, as `member.number`."""
        return {
            f"{member}.{number}": value
            for member, optimizer in self.members.items()
            for number, value in optimizer.begin_step(lr_scale).items()
        }

    def apply(
        self,
        numbers: Mapping[str, torch.Tensor],
        touched: Sequence[TouchedTexels],
        n_values: int,
        allowed: torch.Tensor | None = None,
    ) -> None:
        """Make the step of `begin_step`, whose numbers are given as 0-dim float32 tensors on the device.

        `n_values`: how many the loss is a mean over.

        `allowed`, a 0-dim bool on the device, undoes the step where it is false; the host does not wait to know.
        """
        by_grid: dict[int, list[TouchedTexels]] = {}
        for read in touched:
            by_grid.setdefault(read.grid, []).append(read)
        undo = self._undo(by_grid) if allowed is not None else None
        for member, optimizer in self.decoder.items():
            prefix = f"{member}."
            optimizer.apply(
                **{number.removeprefix(prefix): value for number, value in numbers.items() if number.startswith(prefix)}
            )
        for grid, reads in by_grid.items():
            latents, length = self.grids[grid], numbers[f"grid_{grid}.length"]
            if isinstance(latents, TouchedNewton):
                latents.apply(reads, length, n_values)
            else:
                latents.apply(reads, length)
        if undo:
            undo(allowed)
        self.clear_gradients()

    @torch.no_grad()
    def _undo(self, by_grid: Mapping[int, Sequence[TouchedTexels]]):
        """Keep everything that a step changes; returns a function that puts it back where its argument is false."""
        whole = [
            *self.parameters,
            *(
                tensor
                for optimizer in self.decoder.values()
                for tensor in optimizer.state().values()
                if tensor.device == self.parameters[0].device
            ),
        ]
        before = [tensor.clone() for tensor in whole]
        rows = [
            (tensor, index, tensor.index_select(0, index))
            for grid, reads in by_grid.items()
            for index in [touched_rows(reads)]
            for tensor in (self.grids[grid].values, *self.grids[grid].state().values())
        ]

        @torch.no_grad()
        def undo(allowed: torch.Tensor) -> None:
            for tensor, old in zip(whole, before):
                tensor.copy_(torch.where(allowed, tensor, old))
            for tensor, index, old in rows:
                tensor.index_copy_(0, index, torch.where(allowed, tensor.index_select(0, index), old))

        return undo

    def gradients(self, touched: Iterable[TouchedTexels]) -> list[torch.Tensor]:
        """Return the gradients of a backward pass."""
        return [gradient_of(tensor) for tensor in [*self.parameters, *(read.texels for read in touched)]]

    def clear_gradients(self) -> None:
        """Forget the decoder's gradients; those of the grids go with the batch."""
        for tensor in self.parameters:
            tensor.grad = None

    def state(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return all state as named tensors, by member."""
        return {member: optimizer.state() for member, optimizer in self.members.items()}

    def load_state(self, state: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """Restore what `state` gave."""
        for member, optimizer in self.members.items():
            optimizer.load_state(state[member])
