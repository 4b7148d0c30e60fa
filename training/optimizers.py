"""The optimisers: Muon for the decoder's matrices, Adam for the rest, Adam on touched grid texels alone.

A step has two parts. `begin_step(lr_scale)` counts it on the host and returns the numbers that are new in it; `apply`
makes it with these numbers as 0-dim float32 tensors, and does the same operations in every step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def orthogonalize(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Return about U V^T of the singular value decomposition of each matrix [..., R, C], R <= C (may be zero-padded).

    The quintic Newton-Schulz iteration; coefficients: K. Jordan, "Muon: an optimizer for hidden layers in neural
    networks" (2024). Singular values end between about 0.7 and 1.2.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-12)
    for _ in range(steps):
        gram = x @ x.transpose(-2, -1)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class Muon:
    """Nesterov momentum whose step is orthogonalised, for matrices [out, in].

    A step moves a matrix by `lr * sqrt(max(1, out / in))` in spectral norm. All matrices are worked on at once, lying
    on their longer side and padded with zeros, which the iteration keeps.
    """

    def __init__(self, matrices: list[torch.Tensor], lr: float, momentum: float = 0.95) -> None:
        self.matrices, self.lr, self.momentum = matrices, lr, momentum
        rows, cols = (max(side(matrix.shape) for matrix in matrices) for side in (min, max))
        self.gradient = torch.zeros(len(matrices), rows, cols, device=matrices[0].device)
        self.buffer = torch.zeros_like(self.gradient)
        self.sizes = [max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5 for matrix in matrices]
        self.n_numbers = len(matrices)

    @staticmethod
    def _lying(matrix: torch.Tensor) -> torch.Tensor:
        return matrix.t() if matrix.shape[0] > matrix.shape[1] else matrix

    def begin_step(self, lr_scale: float) -> list[float]:
        """Return each matrix's step length; `lr_scale` is the schedule's factor."""
        return [self.lr * lr_scale * size for size in self.sizes]

    @torch.no_grad()
    def apply(self, numbers: Sequence[torch.Tensor]) -> None:
        """Step along the gradients in `.grad`."""
        for slot, matrix in zip(self.gradient, self.matrices):
            gradient = self._lying(matrix.grad)
            slot[:gradient.shape[0], :gradient.shape[1]] = gradient
        self.buffer.lerp_(self.gradient, 1 - self.momentum)
        directions = orthogonalize(torch.lerp(self.gradient, self.buffer, self.momentum))
        for matrix, direction, length in zip(self.matrices, directions, numbers):
            lying = self._lying(matrix)
            lying.addcmul_(direction[:lying.shape[0], :lying.shape[1]], length, value=-1)

    def state(self) -> dict[str, torch.Tensor]:
        return {"momentum": self.buffer}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        self.buffer.copy_(state["momentum"])


class Adam:
    """Adam on whole tensors (biases, or the matrices where Muon is not wanted), worked on as one vector."""

    def __init__(self, tensors: list[torch.Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        self.tensors, self.lr, self.betas, self.count = tensors, lr, betas, 0
        self.sizes = [tensor.numel() for tensor in tensors]
        self.first = torch.zeros(sum(self.sizes), device=tensors[0].device if tensors else None)
        self.second = torch.zeros_like(self.first)
        self.n_numbers = 2 if tensors else 0

    def begin_step(self, lr_scale: float) -> list[float]:
        """Return the second moment's bias correction and the step length; `lr_scale` is the schedule's factor."""
        if not self.tensors:
            return []
        self.count += 1
        beta1, beta2 = self.betas
        return [1 - beta2 ** self.count, self.lr * lr_scale / (1 - beta1 ** self.count)]

    @torch.no_grad()
    def apply(self, numbers: Sequence[torch.Tensor]) -> None:
        """Step along the gradients in `.grad`."""
        if not self.tensors:
            return
        correction, length = numbers
        beta1, beta2 = self.betas
        gradient = torch.cat([tensor.grad.reshape(-1) for tensor in self.tensors])
        self.first.lerp_(gradient, 1 - beta1)
        self.second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        step = self.first / (self.second / correction).sqrt_().add_(1e-12)
        for tensor, part in zip(self.tensors, step.split(self.sizes)):
            tensor.addcmul_(part.view_as(tensor), length, value=-1)

    def state(self) -> dict[str, torch.Tensor]:
        return {"first": self.first, "second": self.second, "count": torch.tensor(self.count)}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        self.count = int(state["count"])
        self.first.copy_(state["first"])
        self.second.copy_(state["second"])


class TouchedAdam:
    """Adam on one grid level [R, F] (R = r * r texels) that works on the texels a step has touched, and on no others.

    Each grid texel counts its own steps, so its bias correction is exact however rarely it is drawn.
    """

    def __init__(self, values: torch.Tensor, lr: float, limits: tuple[float, float],
                 betas: tuple[float, float] = (0.0, 0.95)) -> None:
        self.values, self.lr, self.limits, self.betas = values, lr, limits, betas
        self.gradient = torch.zeros_like(values)
        self.first = torch.zeros_like(values) if betas[0] else None
        """Without momentum it would be the gradient."""
        self.second = torch.zeros_like(values)
        self.count = torch.zeros(values.shape[0], 1, device=values.device)

    def begin_step(self, lr_scale: float) -> list[float]:
        """Return the step length; `lr_scale` is the schedule's factor."""
        return [self.lr * lr_scale]

    @torch.no_grad()
    def apply(self, touches: list[tuple[torch.Tensor, torch.Tensor]], length: torch.Tensor) -> None:
        """Step the texels of `(index [K], gradient [K, F])` pairs; a texel may occur any number of times."""
        for index, gradient in touches:
            self.gradient.index_add_(0, index, gradient)
        index = touches[0][0] if len(touches) == 1 else torch.cat([index for index, _ in touches])
        beta1, beta2 = self.betas
        # An index that occurs twice writes the same numbers twice, which spares a sort.
        gradient = self.gradient.index_select(0, index)
        count = self.count.index_select(0, index).add_(1)
        second = self.second.index_select(0, index).mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        self.gradient.index_fill_(0, index, 0)
        self.count.index_copy_(0, index, count)
        self.second.index_copy_(0, index, second)
        step = gradient
        if beta1:
            first = self.first.index_select(0, index).lerp_(gradient, 1 - beta1)
            self.first.index_copy_(0, index, first)
            step = first.div_(1 - beta1 ** count)
        step.div_(second.div_(1 - beta2 ** count).sqrt_().add_(1e-12))
        values = self.values.index_select(0, index).addcmul_(step, length, value=-1).clamp_(*self.limits)
        self.values.index_copy_(0, index, values)

    def state(self) -> dict[str, torch.Tensor]:
        return dict(self._moments())

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        for name, tensor in self._moments():
            tensor.copy_(state[name])

    def _moments(self) -> list[tuple[str, torch.Tensor]]:
        moments = [("first", self.first), ("second", self.second), ("count", self.count)]
        return [(name, tensor) for name, tensor in moments if tensor is not None]
