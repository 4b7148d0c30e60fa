"""The optimisers of latents, on the grid texels that a batch has touched alone: Adam, or Newton beside a linear decoder.

They step as those of `training.optimizers` do: `begin_step` on the host, `apply` on the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from model.grids.feature_grids import TouchedTexels
from model.grids.taps import cell_basis
from model.texture import NeuralTexture
from quantize import Bits, clamp_range, steps_of
from training.tensors import gradient_of, restore

FINENESS = 0.5
"""How much shorter steps are for features of more bits: a power of the quantisation step, 1 at two bits."""
LEAST_CURVATURE = 1e-5
"""Least curvature that a feature is taken to have, as a share of the largest: one that the network alone reads has none."""


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
