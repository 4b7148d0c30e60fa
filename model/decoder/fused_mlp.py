"""The decoder's forward and backward pass as one autograd function.

    h_1 = a_1(W_1 x + sum over gathered grids g of E_g(V_g f_g) + b_1)
    h_l = a_l(W_l h_(l-1) + b_l),   out = W_n h_(n-1) + b_n

x are the columns that differ from texel to texel, f_g the taps of a gathered grid, which the texels of a cell share, so
that V_g f_g is worked out once per cell and E_g lays it over the cell's texels (`model.grids.cells`). The backward pass
is written out, so that nothing is stored or computed beyond what the weights and the latents need.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from model.decoder.activations import ACTIVATIONS, activation_gradient
from model.grids.cells import CellsToTexels

SUMS, LEAST_ROWS = 16, 64
"""Sums that a weight's gradient is made of on a processor, and the fewest texels in one."""


class CellTerm(NamedTuple):
    """Where a cell term of the first layer goes: onto texels `first .. first + B * Ty * Tx`."""

    first: int
    shape: tuple[int, int, int]
    """B, Ty, Tx."""
    to_texels: CellsToTexels

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """Return the part of values [N, C] that belongs to these texels, [B, Ty, Tx, C], a view."""
        b, ty, tx = self.shape
        return values[self.first : self.first + b * ty * tx].view(b, ty, tx, -1)


def weight_gradient(gradient: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Return `gradient^T inputs` of [N, O] and [N, I]: [O, I]."""
    n = len(gradient)
    if gradient.device.type != "cpu" or n % SUMS or n < SUMS * LEAST_ROWS:
        return torch.mm(gradient.t(), inputs)
    # A processor's threads share a product out by its elements, which are few here; several sums keep them all busy.
    parts = torch.bmm(gradient.view(SUMS, n // SUMS, -1).transpose(1, 2), inputs.view(SUMS, n // SUMS, -1))
    return parts.sum(0)


class FusedMLP(torch.autograd.Function):
    """`apply(x, terms, activations, trains, n_layers, *weights, *biases, *cell_values) -> [N, out]`, before a_n.

    x [N, I]; `terms` a `CellTerm` for each of `cell_values` [B, Ky, Kx, R * out]; `activations` names of a_1 .. a_n;
    `trains` False keeps nothing for a backward pass; weights `[out, in]`; biases `[out]` or None. All in x's dtype.
    """

    @staticmethod
    def forward(ctx, x, terms, activations, trains, n_layers, *tensors):
        weights, biases, cell_values = tensors[:n_layers], tensors[n_layers : 2 * n_layers], tensors[2 * n_layers :]
        value, sums, inputs = x, [], []
        for layer, (weight, bias) in enumerate(zip(weights, biases)):
            if trains:
                inputs.append(value)
            value = torch.mm(value, weight.t()) if bias is None else torch.addmm(bias, value, weight.t())
            if layer == 0:
                for term, values in zip(terms, cell_values):
                    term.to_texels.add(term.of(value), values)
            if layer < n_layers - 1:
                if trains:
                    sums.append(value)
                value = ACTIVATIONS[activations[layer]](value)
        ctx.save_for_backward(*inputs, *sums, *weights)
        ctx.terms, ctx.activations, ctx.n_layers = terms, activations, n_layers
        ctx.has_bias = [bias is not None for bias in biases]
        return value

    @staticmethod
    def backward(ctx, gradient):
        n = ctx.n_layers
        inputs, sums, weights = (
            ctx.saved_tensors[first:last] for first, last in ((0, n), (n, 2 * n - 1), (2 * n - 1, 3 * n - 1))
        )
        weight_gradients: list[torch.Tensor | None] = [None] * n
        bias_gradients: list[torch.Tensor | None] = [None] * n
        cell_gradients: list[torch.Tensor] = []
        for layer in reversed(range(n)):
            if layer < n - 1:
                gradient = activation_gradient(ctx.activations[layer], gradient, sums[layer])
            weight_gradients[layer] = weight_gradient(gradient, inputs[layer])
            if ctx.has_bias[layer]:
                bias_gradients[layer] = gradient.sum(0)
            if layer == 0:
                cell_gradients = [term.to_texels.add_transposed(term.of(gradient)) for term in ctx.terms]
            if layer > 0 or ctx.needs_input_grad[0]:
                gradient = torch.mm(gradient, weights[layer])
        return (
            gradient if ctx.needs_input_grad[0] else None,
            None,
            None,
            None,
            None,
            *weight_gradients,
            *bias_gradients,
            *cell_gradients,
        )
