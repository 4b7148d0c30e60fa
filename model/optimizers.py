"""The optimisers: Muon for the decoder's matrices, Adam for the rest, Adam on touched grid texels alone."""

from __future__ import annotations

import torch


def orthogonalize(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Return about U V^T of the matrix's singular value decomposition, by the quintic Newton-Schulz iteration.

    Coefficients: K. Jordan, "Muon: an optimizer for hidden layers in neural networks" (2024).
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.t() if tall else matrix
    x = x / (x.norm() + 1e-12)
    for _ in range(steps):
        gram = x @ x.t()
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.t() if tall else x


class Muon:
    """Nesterov momentum whose step is orthogonalised, for matrices [out, in].

    A step moves a matrix by `lr * sqrt(max(1, out / in))` in spectral norm.
    """

    def __init__(self, matrices: list[torch.Tensor], lr: float, momentum: float = 0.95) -> None:
        self.matrices, self.lr, self.momentum = matrices, lr, momentum
        self.buffers = [torch.zeros_like(matrix) for matrix in matrices]

    @torch.no_grad()
    def step(self, lr_scale: float) -> None:
        """Step along the gradients in `.grad`; `lr_scale` is the schedule's factor."""
        for matrix, buffer in zip(self.matrices, self.buffers):
            buffer.lerp_(matrix.grad, 1 - self.momentum)
            direction = torch.lerp(matrix.grad, buffer, self.momentum)
            size = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
            matrix.add_(orthogonalize(direction), alpha=-self.lr * lr_scale * size)

    def state(self) -> dict[str, torch.Tensor]:
        return {f"momentum_{index}": buffer for index, buffer in enumerate(self.buffers)}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        for index, buffer in enumerate(self.buffers):
            buffer.copy_(state[f"momentum_{index}"])


class Adam:
    """Adam on whole tensors (biases, or the matrices where Muon is not wanted)."""

    def __init__(self, tensors: list[torch.Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        self.tensors, self.lr, self.betas, self.count = tensors, lr, betas, 0
        self.first = [torch.zeros_like(tensor) for tensor in tensors]
        self.second = [torch.zeros_like(tensor) for tensor in tensors]

    @torch.no_grad()
    def step(self, lr_scale: float) -> None:
        """Step along the gradients in `.grad`; `lr_scale` is the schedule's factor."""
        self.count += 1
        beta1, beta2 = self.betas
        for tensor, first, second in zip(self.tensors, self.first, self.second):
            first.lerp_(tensor.grad, 1 - beta1)
            second.mul_(beta2).addcmul_(tensor.grad, tensor.grad, value=1 - beta2)
            denominator = (second / (1 - beta2 ** self.count)).sqrt_().add_(1e-12)
            tensor.addcdiv_(first, denominator, value=-self.lr * lr_scale / (1 - beta1 ** self.count))

    def state(self) -> dict[str, torch.Tensor]:
        tensors = {f"first_{index}": first for index, first in enumerate(self.first)}
        tensors |= {f"second_{index}": second for index, second in enumerate(self.second)}
        return tensors | {"count": torch.tensor(self.count)}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        self.count = int(state["count"])
        for index, (first, second) in enumerate(zip(self.first, self.second)):
            first.copy_(state[f"first_{index}"])
            second.copy_(state[f"second_{index}"])


class TouchedAdam:
    """Adam on one grid level [R, F] (R = r * r texels) that works on the texels a step has touched, and on no others.

    Each grid texel counts its own steps, so its bias correction is exact however rarely it is drawn.
    """

    def __init__(self, values: torch.Tensor, lr: float, limits: tuple[float, float],
                 betas: tuple[float, float] = (0.9, 0.99)) -> None:
        self.values, self.lr, self.limits, self.betas = values, lr, limits, betas
        self.gradient = torch.zeros_like(values)
        self.first = torch.zeros_like(values)
        self.second = torch.zeros_like(values)
        self.count = torch.zeros(values.shape[0], 1, device=values.device)

    @torch.no_grad()
    def step(self, touches: list[tuple[torch.Tensor, torch.Tensor]], lr_scale: float) -> None:
        """Step the texels of `(index [K], gradient [K, F])` pairs; a texel may occur any number of times."""
        for index, gradient in touches:
            self.gradient.index_add_(0, index, gradient)
        index = touches[0][0] if len(touches) == 1 else torch.cat([index for index, _ in touches])
        beta1, beta2 = self.betas
        # An index that occurs twice writes the same numbers twice, which spares a sort.
        gradient = self.gradient.index_select(0, index)
        count = self.count.index_select(0, index).add_(1)
        first = self.first.index_select(0, index).lerp_(gradient, 1 - beta1)
        second = self.second.index_select(0, index).mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        self.gradient.index_fill_(0, index, 0)
        self.count.index_copy_(0, index, count)
        self.first.index_copy_(0, index, first)
        self.second.index_copy_(0, index, second)
        step = first.div_(1 - beta1 ** count)
        step.div_(second.div_(1 - beta2 ** count).sqrt_().add_(1e-12))
        values = self.values.index_select(0, index).sub_(step, alpha=self.lr * lr_scale).clamp_(*self.limits)
        self.values.index_copy_(0, index, values)

    def state(self) -> dict[str, torch.Tensor]:
        return {"first": self.first, "second": self.second, "count": self.count}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        self.first.copy_(state["first"])
        self.second.copy_(state["second"])
        self.count.copy_(state["count"])
