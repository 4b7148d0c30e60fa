"""The decoder's forward and backward pass as one autograd function.

Two things make it fast. Gathered taps are constant over a grid cell, so their part of the first layer is worked out
once per cell and spread over the cell's texels. And the backward pass is written out, so that nothing is stored or
computed beyond what the weights and the latents need.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from model.decoder.activations import ACTIVATIONS, activation_gradient

SUMS, LEAST_ROWS = 16, 64
"""Sums that a weight's gradient is made of on a processor, and the fewest texels in one."""


@dataclass
class CellSpread:
    """How cells [B, Ky, Kx] spread over texels [B, Ty, Tx]: by whole numbers where tiles are aligned, else by matrices."""

    cell_texels: tuple[int, int]
    """Texels per cell (y, x) of aligned tiles, else (0, 0)."""
    matrices: tuple[torch.Tensor, torch.Tensor] | None
    """[B, Ty, Ky] and [B, Tx, Kx], one 1 in each row; with an order, [B, Ty, Ky * (order + 1)] and so on."""
    basis: torch.Tensor | None = None
    """[Qy * Qx, R] functions of the place in an aligned cell; cells then carry R terms each."""
    order: int = 0
    """Order of the functions in the matrices."""

    def add_to(self, texels: torch.Tensor, cells: torch.Tensor) -> None:
        """Add cells [B, Ky, Kx, N] to texels [B, Ty, Tx, N], in place."""
        b, ky, kx, n = cells.shape
        if self.basis is not None:
            (qy, qx), n = self.cell_texels, texels.shape[3]
            spread = torch.matmul(self.basis.to(cells.dtype), cells.view(b * ky * kx, -1, n))
            texels.view(b, ky, qy, kx, qx, n).add_(spread.view(b, ky, kx, qy, qx, n).transpose(2, 3))
            return
        if self.order:
            p, n = self.order + 1, texels.shape[3]
            cells = cells.view(b, ky, kx, p, p, n).permute(0, 1, 3, 2, 4, 5).reshape(b, ky * p, kx * p, n)
            b, ky, kx, n = cells.shape
        if self.matrices is None:
            qy, qx = self.cell_texels
            texels.view(b, ky, qy, kx, qx, n).add_(cells[:, :, None, :, None, :])
        else:
            rows, columns = (matrix.to(cells.dtype) for matrix in self.matrices)
            spread = torch.bmm(rows, cells.reshape(b, ky, kx * n)).view(b, -1, kx, n)
            texels.add_(torch.matmul(columns[:, None], spread))

    def collect(self, texels: torch.Tensor) -> torch.Tensor:
        """Sum texels [B, Ty, Tx, N] over each cell: [B, Ky, Kx, N], the transpose of `add_to`."""
        b, ty, tx, n = texels.shape
        if self.basis is not None:
            qy, qx = self.cell_texels
            split = texels.view(b, ty // qy, qy, tx // qx, qx, n).transpose(2, 3).reshape(-1, qy * qx, n)
            return torch.matmul(self.basis.t().to(texels.dtype), split).view(b, ty // qy, tx // qx, -1)
        if self.matrices is None:
            qy, qx = self.cell_texels
            rows = texels.view(b, ty // qy, qy, tx * n).sum(2)
            return rows.view(b, ty // qy, tx // qx, qx, n).sum(3)
        rows, columns = (matrix.to(texels.dtype) for matrix in self.matrices)
        summed = torch.bmm(rows.transpose(1, 2), texels.reshape(b, ty, tx * n)).view(b, -1, tx, n)
        cells = torch.matmul(columns.transpose(1, 2)[:, None], summed)
        if self.order:
            p = self.order + 1
            ky, kx = cells.shape[1] // p, cells.shape[2] // p
            cells = cells.view(b, ky, p, kx, p, n).permute(0, 1, 3, 2, 4, 5).reshape(b, ky, kx, -1)
        return cells


def weight_gradient(gradient: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Return `gradient^T inputs` of [N, O] and [N, I]: [O, I]."""
    n = len(gradient)
    if gradient.device.type != "cpu" or n % SUMS or n < SUMS * LEAST_ROWS:
        return torch.mm(gradient.t(), inputs)
    # A processor's threads share a product out by its elements, which are few here; several sums keep them all busy.
    parts = torch.bmm(gradient.view(SUMS, n // SUMS, -1).transpose(1, 2), inputs.view(SUMS, n // SUMS, -1))
    return parts.sum(0)


class FusedMLP(torch.autograd.Function):
    """Layers of matrix product, bias and activation over the texels of several tile groups.

    `apply(texel_inputs, spreads, activations, trains, n_layers, *weights, *biases, *cell_terms)`:
    texel_inputs [N, I]; `trains` False keeps nothing for a backward pass; weights `[out, in]` (the first one `[out, I]`);
    biases `[out]` or None; a cell term [B, Ky, Kx, out] for each `(first_texel, shape, spread)` of `spreads`, added before
    the first activation.
    Returns [N, out] of the last layer, before its activation. All in the dtype of `texel_inputs`.
    """

    @staticmethod
    def forward(ctx, texel_inputs, spreads, activations, trains, n_layers, *tensors):
        weights, biases, cell_terms = tensors[:n_layers], tensors[n_layers:2 * n_layers], tensors[2 * n_layers:]
        value, before, inputs = texel_inputs, [], []
        for layer, (weight, bias) in enumerate(zip(weights, biases)):
            if trains:
                inputs.append(value)
            value = torch.mm(value, weight.t()) if bias is None else torch.addmm(bias, value, weight.t())
            if layer == 0:
                for (first, shape, spread), cells in zip(spreads, cell_terms):
                    count = shape[0] * shape[1] * shape[2]
                    spread.add_to(value[first:first + count].view(*shape, -1), cells)
            if layer < n_layers - 1:
                if trains:
                    before.append(value)
                value = ACTIVATIONS[activations[layer]](value)
        ctx.save_for_backward(*inputs, *before, *weights)
        ctx.spreads, ctx.activations, ctx.n_layers = spreads, activations, n_layers
        ctx.has_bias = [bias is not None for bias in biases]
        return value

    @staticmethod
    def backward(ctx, gradient):
        n = ctx.n_layers
        saved = ctx.saved_tensors
        inputs, before, weights = saved[:n], saved[n:2 * n - 1], saved[2 * n - 1:]
        weight_gradients, bias_gradients, cell_gradients = [None] * n, [None] * n, [None] * len(ctx.spreads)
        input_gradient = None
        for layer in reversed(range(n)):
            if layer < n - 1:
                gradient = activation_gradient(ctx.activations[layer], gradient, before[layer])
            weight_gradients[layer] = weight_gradient(gradient, inputs[layer])
            if ctx.has_bias[layer]:
                bias_gradients[layer] = gradient.sum(0)
            if layer == 0:
                for index, (first, shape, spread) in enumerate(ctx.spreads):
                    count = shape[0] * shape[1] * shape[2]
                    cell_gradients[index] = spread.collect(gradient[first:first + count].view(*shape, -1))
            if layer > 0 or ctx.needs_input_grad[0]:
                gradient = torch.mm(gradient, weights[layer])
        if ctx.needs_input_grad[0]:
            input_gradient = gradient
        return (input_gradient, None, None, None, None, *weight_gradients, *bias_gradients, *cell_gradients)
