"""The optimisers: Muon for the decoder's matrices, Adam for the rest, Adam on touched grid texels alone.

A step has two parts. `begin_step(lr_scale)` counts it on the host and returns the numbers that are new in it, by name;
`apply` makes it with these numbers as 0-dim float32 tensors, and does the same operations in every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch

from model.grids.feature_grids import TouchedTexels
from model.grids.taps import cell_basis
from model.texture import NeuralTexture
from quantize import Bits, clamp_range, steps_of

FINENESS = 0.5
"""How much shorter steps are for features of more bits: a power of the quantisation step, 1 at two bits."""
LEAST_CURVATURE = 1e-5
"""Least curvature that a feature is taken to have, as a share of the largest: one that the network alone reads has none."""
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


def gradient_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return the gradient that a backward pass has left; raises `ValueError` where there is none."""
    if tensor.grad is None:
        raise ValueError("a parameter has no gradient: the loss does not depend on it")
    return tensor.grad


def restore(buffer: torch.Tensor, stored: torch.Tensor) -> None:
    """Set a tensor to a stored one; raises `ValueError` where that has another shape, which copying could spread."""
    if stored.shape != buffer.shape:
        raise ValueError(f"a stored tensor of {tuple(stored.shape)} for one of {tuple(buffer.shape)}")
    buffer.copy_(stored)


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


class TouchedAdam:
    """Adam without momentum on a grid's table [R, F] that works on the rows a step has touched, and on no others.

    Each row counts its own steps, so its bias correction is exact however rarely it is drawn.
    """

    def __init__(self, values: torch.Tensor, lr: float, limits: tuple[float, float], beta: float = 0.95) -> None:
        self.values, self.lr, self.limits, self.beta = values, lr, limits, beta
        self.gradient = torch.zeros_like(values)
        self.second = torch.zeros_like(values)
        self.count = torch.zeros(values.shape[0], 1, device=values.device)

    def begin_step(self, lr_scale: float) -> dict[str, float]:
        """Return the step length; `lr_scale` is the schedule's factor."""
        return {"length": self.lr * lr_scale}

    @torch.no_grad()
    def apply(self, touched: Sequence[TouchedTexels], length: torch.Tensor) -> None:
        """Step the rows that were touched; one may occur any number of times."""
        for read in touched:
            self.gradient.index_add_(0, read.rows, gradient_of(read.texels))
        index = touched_rows(touched)
        # A row that occurs twice writes the same numbers twice, which spares a sort.
        gradient = self.gradient.index_select(0, index)
        count = self.count.index_select(0, index).add_(1)
        second = self.second.index_select(0, index).mul_(self.beta)
        second.addcmul_(gradient, gradient, value=1 - self.beta)
        self.gradient.index_fill_(0, index, 0)
        self.count.index_copy_(0, index, count)
        self.second.index_copy_(0, index, second)
        # 1 - beta^count: an exponential is several times faster than a power.
        correction = count.mul(math.log(self.beta)).expm1_().neg_()
        step = gradient.div_(second.div_(correction).sqrt_().add_(1e-12))
        values = self.values.index_select(0, index).addcmul_(step, length, value=-1).clamp_(*self.limits)
        self.values.index_copy_(0, index, values)

    def state(self) -> dict[str, torch.Tensor]:
        """Return the second moment and the steps of every row."""
        return {"second": self.second, "count": self.count}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state` gave."""
        restore(self.second, state["second"])
        restore(self.count, state["count"])


class TouchedNewton:
    """Newton's method on the features of touched grid texels, one by one, with the curvature that the linear decoder gives.

    The loss of a linear decoder is quadratic in a latent v: its second derivative is 2 / n sum of w^2 over the weights w
    with which v enters the n values of a batch. Along a curve v(t) the features t have that times (dv/dt)^2. What the
    network adds is not counted, so a step is `lr` of Newton's and at most one quantisation step. Beside Adam this leaves
    alone what is right already, keeps no state and needs less memory.
    """

    def __init__(
        self, values: torch.Tensor, lr: float, bits: Bits, curves: torch.Tensor, weights: Callable[[], torch.Tensor]
    ) -> None:
        """`values` [rows, F], `bits` of each feature, `curves` [F, 4]; `weights` gives each feature's sum of w^2 [F]."""
        self.values, self.lr, self.curves, self.weights = values, lr, curves, weights
        like = torch.ones(values.shape[1], device=values.device)
        self.limit, self.longest = clamp_range(bits)[1] * like, like / steps_of(bits)
        # Coarse codes are searched for, fine ones only refined.
        self.share = (4 / steps_of(bits)) ** FINENESS * like
        self.gradient = torch.zeros_like(values)

    def begin_step(self, lr_scale: float) -> dict[str, float]:
        """Return the share of Newton's step; `lr_scale` is the schedule's factor."""
        return {"length": self.lr * lr_scale}

    @torch.no_grad()
    def apply(self, touched: Sequence[TouchedTexels], length: torch.Tensor, n_values: int) -> None:
        """Step the rows that were touched; one may occur any number of times. The loss is a mean over `n_values`."""
        for read in touched:
            self.gradient.index_add_(0, read.rows, gradient_of(read.texels))
        index = touched_rows(touched)
        gradient = self.gradient.index_select(0, index)
        self.gradient.index_fill_(0, index, 0)
        t = self.values.index_select(0, index)
        _, c1, c2, c3 = self.curves.unbind(1)
        slope = torch.addcmul(c1, torch.addcmul(2 * c2, t, 3 * c3), t)
        least = (c1.square() * self.weights()).amax() * LEAST_CURVATURE
        curvature = slope.square_().mul_(self.weights()).add_(least).mul_(2 / n_values)
        step = gradient.div_(curvature.add_(1e-20)).mul_(length * self.share)
        step = torch.minimum(torch.maximum(step, -self.longest), self.longest)
        t = torch.minimum(torch.maximum(t.sub_(step), -self.limit), self.limit)
        self.values.index_copy_(0, index, t)

    def state(self) -> dict[str, torch.Tensor]:
        """Return nothing: there is no memory of steps."""
        return {}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state` gave."""


def latent_weights(texture: NeuralTexture, index: int) -> Callable[[], torch.Tensor]:
    """Return a function that gives, for each feature of a grid, the sum of w^2 over the linear decoder's weights w with
    which one grid texel's feature enters the texels around it, [F].
    """
    layout, grid = texture.layout, texture.layout.grids[index]
    cell = max(1.0, (layout.width * layout.height) ** 0.5 / grid.max_resolution)
    columns, linear = layout.linear_columns[index], texture.decoder.linear
    if linear is None:
        raise ValueError("the layout has no linear decoder")
    if not grid.gathered:
        # Along an axis a texel of weight 1 - |x| is 2/3 of a cell in squares.
        return lambda: linear[:, columns].square().sum(0) * (2 / 3 * cell) ** 2
    side = max(1, round(cell))
    places = ((np.arange(side) + 0.5) / side).astype(np.float32)
    basis = torch.from_numpy(cell_basis(places, places, layout.linear_order or 0)).to(linear.device)
    taps = 4 * grid.n_features

    def sums() -> torch.Tensor:
        weights = linear[:, columns].view(len(linear), -1, taps)
        return torch.matmul(basis, weights).square().sum((0, 1)).view(4, -1).sum(0) * (cell / side) ** 2

    return sums


def touched_rows(touched: Sequence[TouchedTexels]) -> torch.Tensor:
    """Return the rows of all reads of one grid, int64 [K]."""
    return touched[0].rows if len(touched) == 1 else torch.cat([read.rows for read in touched])


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
