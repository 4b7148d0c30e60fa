"""The reference backend: the texture function in plain PyTorch, on the CPU, CUDA or Apple's GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from images.mips import mip_size
from model.backends.precision import full_float32
from model.decoder.activations import ACTIVATIONS
from model.decoder.fused_mlp import CellSpread, FusedMLP
from model.decoder.stored_weights import round_rows
from model.grids.batch_plan import BundlePlan, GridPlan, filled, plan_arrays
from model.grids.geometry import (
    AxisTaps,
    TileGroup,
    cell_places,
    drawn_encoding,
    drawn_taps,
    flat_index,
    full_cover,
    grid_resolution,
    join_taps,
    lod_of_mip,
    position_basis,
    to_device,
)
from model.layout import ModelLayout
from quantize import clamp_range, quantize_ste
from training.optimizers import Adam, Muon, TouchedAdam


def draw_uniform(sizes: Sequence[int], device: torch.device, generator: torch.Generator | None) -> list[torch.Tensor]:
    """Draw numbers from 0 to 1, all at once, in vectors of the given sizes."""
    return list(torch.rand(sum(sizes), generator=generator, device=device).split(sizes)) if sizes else []


class TorchBackend:
    """Feature grids, decoder and their optimisers.

    grids[g][level]: master values [r, r, F], float32, level 0 the coarsest; views into one table per grid, so that
    tiles of several mips are fetched and stepped at once.
    matrices[layer]: the weights that can matter, [out, in] without padding: real inputs and ones in the first layer,
    the rows of present channels in the last. The canonical flat array is made from them by `network()`.
    """

    name = "torch"
    joins_mips = True
    """Whether tiles of several mips may share one pass."""
    captures = True
    """Whether a step can be captured as a CUDA graph."""

    def __init__(self, layout: ModelLayout, channels: list[int], device: torch.device, precision: str,
                 generator: torch.Generator) -> None:
        self.layout, self.channels, self.device = layout, channels, device
        self.dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self.tables = [torch.cat([self._initial_level(grid, level, generator) for level in range(grid.n_levels)]
                                 ).to(device) for grid in layout.grids]
        sizes = [[grid.resolution(level) ** 2 for level in range(grid.n_levels)] for grid in layout.grids]
        self.offsets = [[sum(counts[:level]) for level in range(len(counts))] for counts in sizes]
        self.grids = [[part.view(grid.resolution(level), grid.resolution(level), grid.n_features)
                       for level, part in enumerate(table.split(counts))]
                      for grid, table, counts in zip(layout.grids, self.tables, sizes)]
        columns = layout.layers[0].cols
        self.n_ones = 0 if layout.layers[0].bias_offset is not None else columns - layout.n_inputs
        self.matrices, self.biases = [], []
        for index, layer in enumerate(layout.layers):
            cols = layout.n_inputs if index == 0 else layer.cols
            rows = len(channels) if index == len(layout.layers) - 1 else layer.rows
            weight = torch.randn(rows, cols, generator=generator) * math.sqrt(1 / cols)
            self.matrices.append(weight.to(device).requires_grad_())
            bias = None if layer.bias_offset is None else torch.zeros(rows, device=device).requires_grad_()
            self.biases.append(bias)
        self.ones = (torch.randn(self.matrices[0].shape[0], self.n_ones, generator=generator) * math.sqrt(1 / columns)
                     ).to(device).requires_grad_() if self.n_ones else None
        self._touches: dict[int, list[tuple[torch.Tensor, torch.Tensor]]] = {}

    @staticmethod
    def _initial_level(grid, level: int, generator: torch.Generator) -> torch.Tensor:
        resolution = grid.resolution(level)
        values = torch.rand(resolution * resolution, grid.n_features, generator=generator)
        low, high = clamp_range(grid.quantize_bits)
        return (values - 0.5) * (0.02 * (high - low))

    @property
    def arithmetic(self) -> str:
        """In which precision the decoder is trained."""
        return str(self.dtype).removeprefix("torch.")

    def release(self) -> None:
        """Give memory back that only training steps need; there is none here."""

    def make_optimizers(self, kind: str, learning_rate: float) -> None:
        """Create the optimisers: `kind` muon or adam for the matrices, Adam on touched texels for the grids."""
        vectors = [tensor for tensor in [*self.biases, self.ones] if tensor is not None]
        if kind == "muon":
            self.optimizers = {"matrices": Muon(self.matrices, learning_rate), "vectors": Adam(vectors, learning_rate / 5)}
        else:
            self.optimizers = {"matrices": Adam(self.matrices, learning_rate), "vectors": Adam(vectors, learning_rate)}
        self.grid_optimizers = [TouchedAdam(table, grid.learning_rate, clamp_range(grid.quantize_bits))
                                for grid, table in zip(self.layout.grids, self.tables)]

    # --- the function -------------------------------------------------------------------------------------------

    def predict(self, groups: list[TileGroup], quantize: bool, noise: list[float] | None = None,
                generator: torch.Generator | None = None, train: bool = True) -> torch.Tensor:
        """Decode the texels of tile groups: [N, C] over the present channels, float32, not clamped.

        `noise[g]` is the amplitude of the uniform noise before grid g's rounding. With `train`, gradients are kept.
        """
        plan = self.plan(groups, train)
        uniform = draw_uniform(self.noise_sizes(plan, noise), self.device, generator)
        plan = filled(plan, [to_device(array, self.device) for array in plan_arrays(plan)])
        return self.decode_plan(plan, quantize, noise, uniform, train)

    def plan(self, groups: list[TileGroup], train: bool = True) -> list[BundlePlan]:
        """Work out on the host what `decode_plan` needs to decode tile groups; its arrays are NumPy's."""
        plan = []
        for bundle in self._bundles(groups):
            members = [group for group, _ in bundle]
            shape = (sum(len(group.x) for group in members), members[0].y.shape[1], members[0].x.shape[1])
            grids = []
            for index, grid in enumerate(self.layout.grids):
                x, y = (join_taps([taps[index][axis] for _, taps in bundle]) for axis in (0, 1))
                levels = [grid.level_of_mip(group.mip) for group in members]
                rows = np.concatenate([flat_index(taps[index][1].index, taps[index][0].index, grid.resolution(level))
                                       + self.offsets[index][level] for level, (_, taps) in zip(levels, bundle)])
                if grid.interpolation == "bilinear":
                    cell_texels, matrices = (0, 0), self._blend_arrays(grid.resolution(levels[0]), x, y, train)
                else:
                    cell_texels, matrices = self._spread_arrays(x, y)
                grids.append(GridPlan(levels[0], rows, cell_texels, matrices))
            plan.append(BundlePlan(shape, self._encoding_arrays(members), tuple(grids), self._constants(members)))
        return plan

    def noise_sizes(self, plan: list[BundlePlan], noise: list[float] | None) -> list[int]:
        """Return how many random numbers each slab with noise takes, in the order in which `decode_plan` rounds them."""
        return [math.prod(part.index.shape) * grid.n_features for bundle in plan
                for grid, part, amplitude in zip(self.layout.grids, bundle.grids, noise or []) if amplitude > 0]

    def decode_plan(self, plan: list[BundlePlan], quantize: bool, noise: list[float | torch.Tensor] | None = None,
                    uniform: Sequence[torch.Tensor] = (), train: bool = True) -> torch.Tensor:
        """Decode a plan whose arrays are tensors on the device, as `predict` does; the host waits for nothing.

        A `noise[g]` may be a 0-dim tensor on the device, which counts as above 0. `uniform`: numbers from 0 to 1 for
        the slabs with noise, of `noise_sizes`.
        """
        uniform = iter(uniform)
        dtype = self.dtype if train else torch.float32
        inputs, spreads, cells = [], [], []
        matrices, ones = self.rounded_network()
        weight = matrices[0].to(dtype)
        cell_weights = {index: self._cell_weight(weight, index).t() for index in self.layout.gathered_columns}
        first_texel = 0
        for bundle in plan:
            shape = bundle.shape
            parts = self._encoding(bundle)
            for index, (grid, part) in enumerate(zip(self.layout.grids, bundle.grids)):
                slab = self._slab(index, part, quantize, noise[index] if noise else 0.0, uniform, train)
                if grid.interpolation == "bilinear":
                    parts.append(self._blend(slab, *part.matrices))
                else:
                    cells.append(torch.matmul(self._corners(slab).to(dtype), cell_weights[index]))
                    spreads.append((first_texel, shape, self._spread(part)))
            parts.append(bundle.constants.expand(*shape, -1))
            texels = shape[0] * shape[1] * shape[2]
            inputs.append(torch.cat(parts, -1).view(texels, -1))
            first_texel += texels
        first = torch.cat([weight[:, columns] for columns in self.layout.texel_columns], 1) if cell_weights else weight
        if ones is not None:
            first = torch.cat([first, ones.to(dtype)], 1)
        weights = [first, *(matrix.to(dtype) for matrix in matrices[1:])]
        biases = [None if bias is None else bias.to(dtype) for bias in self.biases]
        names = tuple(layer.activation for layer in self.layout.layers)
        texels = (inputs[0] if len(inputs) == 1 else torch.cat(inputs)).to(dtype)
        output = FusedMLP.apply(texels, spreads, names, train, len(weights), *weights, *biases, *cells).float()
        return ACTIVATIONS[names[-1]](output)

    def rounded_network(self) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        """Return the matrices and the ones' weights as int8 storage gives them back, or as they are."""
        if self.layout.network_precision != "int8":
            return self.matrices, self.ones
        first, n = self.matrices[0], self.layout.n_inputs
        rounded = round_rows(first if self.ones is None else torch.cat([first, self.ones], 1))
        return [rounded[:, :n], *map(round_rows, self.matrices[1:])], rounded[:, n:] if self.ones is not None else None

    def _cell_weight(self, weight: torch.Tensor, index: int) -> torch.Tensor:
        """Return what the first layer multiplies the taps of gathered grid `index` with: [n_basis * n, 4F]."""
        layout = self.layout
        plain = weight[:, layout.gathered_columns[index]]
        if not layout.position_order:
            return plain
        products = weight[:, layout.product_columns[index]]
        products = products.reshape(len(weight), layout.n_basis - 1, plain.shape[1])
        return torch.cat([plain[None], products.transpose(0, 1)]).reshape(-1, plain.shape[1])

    def _bundles(self, groups: list[TileGroup]) -> list[list[tuple[TileGroup, list[tuple[AxisTaps, AxisTaps]]]]]:
        """Put neighbouring groups whose tiles lie alike on every grid together, each with its taps (x, y) per grid."""
        bundles, last = [], None
        for group in groups:
            taps = [self._taps(group, grid) for grid in self.layout.grids]
            kind = (group.x.shape[1], group.y.shape[1],
                    *((axis.index.shape[1], axis.cell_texels) for pair in taps for axis in pair))
            if kind == last and self.joins_mips:
                bundles[-1].append((group, taps))
            else:
                bundles.append([(group, taps)])
            last = kind
        return bundles

    def _constants(self, groups: list[TileGroup]) -> np.ndarray:
        """Inputs that all texels of a tile share, lod and the ones of the padding: float32 [B, 1, 1, 1 + ones]."""
        values = np.ones((sum(len(group.x) for group in groups), 1, 1, 1 + self.n_ones), np.float32)
        values[..., 0] = np.repeat([lod_of_mip(self.layout, group.mip) for group in groups],
                                   [len(group.x) for group in groups])[:, None, None]
        return values

    def _encoding_arrays(self, groups: list[TileGroup]) -> tuple[np.ndarray, ...]:
        """Return the positional encoding of the columns [B, Tx, P] and of the rows [B, Ty, P], if there is one."""
        if not self.layout.n_frequencies:
            return ()
        axes = []
        for axis in (0, 1):
            parts = []
            for group in groups:
                size = mip_size(self.layout.width, self.layout.height, group.mip)[axis]
                parts.append(drawn_encoding((group.x, group.y)[axis], size, self.layout, group.mip, group.alignment))
            axes.append(np.concatenate(parts))
        return tuple(axes)

    @staticmethod
    def _encoding(bundle: BundlePlan) -> list[torch.Tensor]:
        """Return the positional encoding of the columns and of the rows, both as [B, Ty, Tx, P]."""
        if not bundle.encoding:
            return []
        columns, rows = bundle.encoding
        return [columns[:, None].expand(*bundle.shape, -1), rows[:, :, None].expand(*bundle.shape, -1)]

    def _taps(self, group: TileGroup, grid) -> tuple[AxisTaps, AxisTaps]:
        width, height = mip_size(self.layout.width, self.layout.height, group.mip)
        resolution = grid_resolution(grid, group.mip)
        return (drawn_taps(group.x, width, grid, resolution, self.layout.wrap, group.alignment),
                drawn_taps(group.y, height, grid, resolution, self.layout.wrap, group.alignment))

    def _slab(self, grid_index: int, part: GridPlan, quantize: bool, noise: float | torch.Tensor,
              uniform: Iterator[torch.Tensor], train: bool) -> torch.Tensor:
        """Fetch the grid texels under each tile, [B, Ky, Kx, F], rounded straight through, with the next of `uniform`
        as noise where there is any.
        """
        grid = self.layout.grids[grid_index]
        flat = part.index.view(-1)
        slab = self.tables[grid_index].index_select(0, flat)
        if train:
            slab.requires_grad_()
            self._touches.setdefault(grid_index, []).append((flat, slab))
        if quantize:
            noisy = isinstance(noise, torch.Tensor) or noise > 0
            slab = quantize_ste(slab, grid.quantize_bits, noise, next(uniform).view_as(slab) if noisy else None)
        return slab.view(*part.index.shape, grid.n_features)

    @staticmethod
    def _corners(slab: torch.Tensor) -> torch.Tensor:
        """Return the four taps of every cell of a slab [B, Ky, Kx, F]: [B, Ky - 1, Kx - 1, 4F]."""
        return torch.cat([slab[:, dy:slab.shape[1] - 1 + dy, dx:slab.shape[2] - 1 + dx]
                          for dy in (0, 1) for dx in (0, 1)], -1)

    def _blend_arrays(self, resolution: int, x: AxisTaps, y: AxisTaps, train: bool) -> tuple[np.ndarray, np.ndarray]:
        """What `_blend` needs of the rows and of the columns, on a level of `resolution`."""
        return y.interpolation_matrix(), x.interpolation_matrix()

    def _blend(self, slab: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Blend slab texels into texels, [B, Ty, Tx, F], one axis after the other."""
        b, ky, kx, f = slab.shape
        blended = torch.bmm(rows, slab.reshape(b, ky, kx * f)).view(b, -1, kx, f)
        return torch.matmul(columns[:, None], blended)

    def _spread_arrays(self, x: AxisTaps, y: AxisTaps) -> tuple[tuple[int, int], tuple[np.ndarray, ...]]:
        """Return the texels per cell (y, x) of aligned tiles, else (0, 0), and the matrices that `_spread` needs."""
        order = self.layout.position_order
        if x.cell_texels and y.cell_texels:
            fractions = [axis.fraction[0, :axis.cell_texels].tobytes() for axis in (y, x)]
            return (y.cell_texels, x.cell_texels), (cell_places(*fractions, order),) if order else ()
        matrices = []
        for axis in (y, x):
            matrix = axis.cell_matrix()
            if order:
                basis = position_basis(axis.fraction, order)
                matrix = (matrix[..., None] * basis[:, :, None]).reshape(*matrix.shape[:2], -1)
            matrices.append(matrix)
        return (0, 0), tuple(matrices)

    def _spread(self, part: GridPlan) -> CellSpread:
        if part.cell_texels[0]:
            return CellSpread(part.cell_texels, None, *part.matrices)
        return CellSpread((0, 0), part.matrices, None, self.layout.position_order)

    @torch.no_grad()
    def decode(self, mip: int, quantize: bool = True, side: int = 128, dtype: torch.dtype = torch.float32,
               coding: Callable[[torch.Tensor], torch.Tensor] | None = None) -> torch.Tensor:
        """Decode a whole mip: [H, W, C] over the present channels, float32, not clamped.

        With `coding`, a function of such values that gives `dtype`, coded a few tiles at a time.
        """
        width, height = mip_size(self.layout.width, self.layout.height, mip)
        x0, y0 = full_cover(width, height, side)
        columns, rows = np.arange(min(side, width)), np.arange(min(side, height))
        out = torch.empty(height, width, len(self.channels), dtype=dtype, device=self.device)
        at_once = 4 if self.device.type == "cpu" else 16
        with full_float32():
            for start in range(0, len(x0), at_once):
                x, y = x0[start:start + at_once], y0[start:start + at_once]
                group = TileGroup(mip, x[:, None] + columns, y[:, None] + rows)
                values = self.predict([group], quantize, train=False)
                tiles = (coding(values) if coding else values).view(-1, len(rows), len(columns), out.shape[2])
                for tile, left, top in zip(tiles, x, y):
                    out[top:top + len(rows), left:left + len(columns)] = tile
        return out

    # --- the step -----------------------------------------------------------------------------------------------

    def step(self, lr_scale: float) -> None:
        """Apply the gradients of the last `predict(..., train=True)` to decoder and touched grid texels, and clear them."""
        self.apply(to_device(np.array(self.begin_step(lr_scale), np.float32), self.device).unbind())

    def begin_step(self, lr_scale: float) -> list[float]:
        """Count a step and return the numbers that `apply` needs for it; `lr_scale` is the schedule's factor."""
        optimizers = [*self.optimizers.values(), *self.grid_optimizers]
        return [number for optimizer in optimizers for number in optimizer.begin_step(lr_scale)]

    def apply(self, numbers: Sequence[torch.Tensor]) -> None:
        """Make the step of `begin_step`, whose numbers are given as 0-dim float32 tensors on the device."""
        start = 0
        for optimizer in self.optimizers.values():
            optimizer.apply(numbers[start:start + optimizer.n_numbers])
            start += optimizer.n_numbers
        for grid, touches in self._touches.items():
            self.grid_optimizers[grid].apply([(index, slab.grad) for index, slab in touches], numbers[start + grid])
        self.clear_gradients()

    def clear_gradients(self) -> None:
        """Forget the gradients and what the last `predict` has touched."""
        for tensor in [*self.matrices, *self.biases, self.ones]:
            if tensor is not None:
                tensor.grad = None
        self._touches.clear()

    # --- canonical form -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def network(self) -> torch.Tensor:
        """Return the decoder as the canonical flat array, float32, on the host."""
        flat = torch.zeros(self.layout.n_weights)
        last = len(self.matrices) - 1
        for index, (layer, matrix, bias) in enumerate(zip(self.layout.layers, self.matrices, self.biases)):
            rows = self.channels if index == last else slice(None)
            view = flat[layer.offset:layer.offset + layer.rows * layer.cols].view(layer.rows, layer.cols)
            full = matrix.detach().cpu()
            if index == 0 and self.ones is not None:
                full = torch.cat([full, self.ones.detach().cpu()], 1)
            view[rows, :full.shape[1]] = full
            if bias is not None:
                flat[layer.bias_offset:layer.bias_offset + layer.rows][rows] = bias.detach().cpu()
        return flat

    @torch.no_grad()
    def load_network(self, flat: torch.Tensor) -> None:
        """Set the decoder from the canonical flat array."""
        last = len(self.matrices) - 1
        for index, (layer, matrix, bias) in enumerate(zip(self.layout.layers, self.matrices, self.biases)):
            rows = self.channels if index == last else slice(None)
            view = flat[layer.offset:layer.offset + layer.rows * layer.cols].view(layer.rows, layer.cols)[rows]
            matrix.copy_(view[:, :matrix.shape[1]])
            if index == 0 and self.ones is not None:
                self.ones.copy_(view[:, matrix.shape[1]:])
            if bias is not None:
                bias.copy_(flat[layer.bias_offset:layer.bias_offset + layer.rows][rows])

    @torch.no_grad()
    def load_grids(self, grids: list[list[torch.Tensor]]) -> None:
        """Set the master values of every grid level."""
        for levels, values in zip(self.grids, grids):
            for level, value in zip(levels, values):
                level.copy_(value)

    def optimizer_state(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return all optimiser state as named tensors."""
        state = {name: optimizer.state() for name, optimizer in self.optimizers.items()}
        return state | {f"grid_{index}": optimizer.state() for index, optimizer in enumerate(self.grid_optimizers)}

    def load_optimizer_state(self, state: dict[str, dict[str, torch.Tensor]]) -> None:
        """Restore what `optimizer_state` gave."""
        for name, optimizer in self.optimizers.items():
            optimizer.load_state(state[name])
        for index, optimizer in enumerate(self.grid_optimizers):
            optimizer.load_state(state[f"grid_{index}"])
