"""The texture decoder: features in, channels of the material out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torchtyping import TensorType

from model.decoder.activations import ACTIVATIONS
from model.decoder.fused_mlp import CellTerm, FusedMLP
from model.decoder.linear import linear_values
from model.decoder.stored_weights import round_rows
from model.grids.feature_grids import Features
from model.layout import ModelLayout


class Decoder(nn.Module):
    """A small network whose first layer works once per cell on the taps of gathered grids.

    matrices[layer]: the weights that can matter, float32 [out, in] without padding: the features' columns in the first
    layer, the rows of the given outputs in the last. `ones`, where layers have no biases: the first layer's weights of
    the padding's inputs, which are all one. `linear`, where the layout has a linear decoder: its weights for the given
    outputs, [out, cols]; `curves`: each grid's curves [F, 4], or none. `model.decoder.canonical` has the flat array that
    is stored.
    """

    def __init__(
        self, layout: ModelLayout, outputs: Sequence[int], device: torch.device, generator: torch.Generator
    ) -> None:
        """Start from random weights; `outputs` are the rows of the last layer that there are, in rising order."""
        super().__init__()
        self.layout, self.outputs = layout, list(outputs)
        self.matrices, self.biases = nn.ParameterList(), nn.ParameterList()
        for index, layer in enumerate(layout.layers):
            cols = layout.n_inputs if index == 0 else layer.cols
            rows = len(self.outputs) if index == len(layout.layers) - 1 else layer.rows
            weight = torch.randn(rows, cols, generator=generator) * math.sqrt(1 / cols)
            self.matrices.append(nn.Parameter(weight.to(device)))
            if layer.bias_offset is not None:
                self.biases.append(nn.Parameter(torch.zeros(rows, device=device)))
        self.linear = (
            nn.Parameter(torch.zeros(len(self.outputs), layout.linear.cols, device=device)) if layout.linear else None
        )
        self.curves = nn.ParameterList()
        if layout.feature_curves:
            straight = torch.tensor([0.0, 1.0, 0.0, 0.0], device=device)
            self.curves.extend(nn.Parameter(straight.repeat(grid.n_features, 1)) for grid in layout.grids)
        padding = 0 if len(self.biases) else layout.layers[0].cols - layout.n_inputs
        self.ones = (
            nn.Parameter(
                (
                    torch.randn(len(self.matrices[0]), padding, generator=generator)
                    * math.sqrt(1 / layout.layers[0].cols)
                ).to(device)
            )
            if padding
            else None
        )

    def forward(self, features: Features, dtype: torch.dtype = torch.float32) -> TensorType["N", "C", float]:
        """Return the outputs [N, C] float32, not clamped; the layers work in `dtype`, the linear decoder in float32."""
        matrices, ones = self.stored_matrices()
        first, *others = (matrix.to(dtype) for matrix in matrices)
        biases = [bias.to(dtype) for bias in self.biases] or [None] * len(matrices)
        by_grid = {grid: self._cell_weight(first, grid).t() for grid in self.layout.gathered_columns}
        values = [torch.matmul(cells.taps.to(dtype), by_grid[cells.grid]) for cells in features.cells]
        terms = [CellTerm(cells.first_texel, cells.shape, cells.to_texels) for cells in features.cells]
        inputs, from_linear = features.texels.to(dtype), first[:, self.layout.linear_inputs]
        first = torch.cat([first[:, columns] for columns in self.layout.texel_columns], 1)
        padding = self.layout.n_padding
        if ones is not None and ones.shape[1] == padding:
            first = torch.cat([first, ones.to(dtype)], 1)
        else:
            if ones is not None:
                biases[0] = ones.sum(1).to(dtype)
            if padding:
                first = torch.nn.functional.pad(first, (0, padding))
        linear = None
        if self.linear is not None:
            linear = linear_values(features, self.stored_linear())
            inputs = torch.cat([inputs, linear.to(dtype)], 1)
            first = torch.cat([first, from_linear[:, self.outputs]], 1)
        names = tuple(layer.activation for layer in self.layout.layers)
        output = FusedMLP.apply(
            inputs, terms, names, torch.is_grad_enabled(), len(names), first, *others, *biases, *values
        )
        output = ACTIVATIONS[names[-1]](output.float())
        return output if linear is None else output + linear

    def stored_matrices(self) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        """Return the matrices and the ones' weights as int8 storage gives them back (straight through), or as they are."""
        if self.layout.network_precision != "int8":
            return list(self.matrices), self.ones
        first = self.matrices[0]
        rounded = round_rows(first if self.ones is None else torch.cat([first, self.ones], 1))
        columns = first.shape[1]
        return (
            [rounded[:, :columns], *(round_rows(matrix) for matrix in list(self.matrices)[1:])],
            None if self.ones is None else rounded[:, columns:],
        )

    def stored_linear(self) -> torch.Tensor:
        """Return the linear decoder's weights [out, cols] as int8 storage gives them back, or as they are."""
        if self.linear is None:
            raise ValueError("the layout has no linear decoder")
        in_codes = self.layout.linear is not None and self.layout.linear.precision == "int8"
        return round_rows(self.linear) if in_codes else self.linear

    def stored_curves(self) -> list[torch.Tensor]:
        """Return each grid's curves [F, 4], or none."""
        return list(self.curves)

    def vectors(self) -> list[torch.Tensor]:
        """Return the parameters that are no matrices of a product: biases, and the ones' weights."""
        return [*self.biases, *([] if self.ones is None else [self.ones])]

    def _cell_weight(self, weight: torch.Tensor, grid: int) -> torch.Tensor:
        """Return V_g, what the first layer multiplies the taps of a gathered grid with: [R * out, 4F].

        Block r belongs to function r of the place in the cell, block 0 to the constant one.
        """
        layout = self.layout
        taps = weight[:, layout.gathered_columns[grid]]
        if not layout.position_order:
            return taps
        products = weight[:, layout.product_columns[grid]].reshape(len(weight), layout.n_basis - 1, taps.shape[1])
        return torch.cat([taps[None], products.transpose(0, 1)]).reshape(-1, taps.shape[1])
