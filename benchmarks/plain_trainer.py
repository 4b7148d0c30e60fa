"""The trainer that the toolkit's speed is measured against: the same model in PyTorch, as it is usually written.

    python -m benchmarks.plain_trainer --data_dir DIR --seconds 60

Random texels of all mips, every level of every grid evaluated for every texel and the right one picked, whole grids
rounded straight-through in every step, taps by advanced indexing, autograd throughout, one dense Adam over everything.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from configs import N_CHANNELS, ModelConfig
from dataset import TextureSet, load_texture_set
from images.mips import mip_size
from model.backends.choose import choose_device
from model.decoder.activations import ACTIVATIONS
from model.decoder.stored_weights import round_rows
from model.grids.feature_grids import feature_bits
from model.layout import ModelLayout, model_layout
from model.precision import full_float32
from quantize import clamp_range, quantize_ste
from training.loss import present_channels, texture_loss, to_file_coding
from training.sampler import mip_probabilities
from utils.errors import UsageError, run_command

NETWORK_LEARNING_RATE = 0.02
"""1.1 dB better than 0.005 after 300 steps of Ground068, grids at 0.05 0.6 dB better than at 0.02."""
FINAL_FRACTION = 0.01
"""The cosine schedule ends at this fraction of every learning rate."""


class PlainTexture(torch.nn.Module):
    """The model of a layout as one module, over texels `x`, `y` of `mip` (int64 [N] each)."""

    def __init__(self, layout: ModelLayout, channels: list[int], generator: torch.Generator) -> None:
        super().__init__()
        self.layout, self.channels = layout, channels
        self.grids = torch.nn.ModuleList()
        for grid in layout.grids:
            high = torch.tensor([clamp_range(bits)[1] for bits in grid.bits])
            self.grids.append(
                torch.nn.ParameterList(
                    (
                        torch.rand(grid.resolution(level), grid.resolution(level), grid.n_features, generator=generator)
                        - 0.5
                    )
                    * high
                    for level in range(grid.n_levels)
                )
            )
        self.weights = torch.nn.ParameterList(
            torch.randn(layer.rows, layer.cols, generator=generator) * math.sqrt(1 / layer.cols)
            for layer in layout.layers
        )
        self.biases = torch.nn.ParameterList(
            torch.zeros(layer.rows) for layer in layout.layers if layer.bias_offset is not None
        )
        self.linear = (
            torch.nn.Parameter(torch.zeros(len(channels), layout.linear.cols)) if layout.linear is not None else None
        )
        straight = torch.tensor([0.0, 1.0, 0.0, 0.0])
        self.curves = torch.nn.ParameterList(
            straight.repeat(grid.n_features, 1) for grid in layout.grids if layout.feature_curves
        )
        sizes = [mip_size(layout.width, layout.height, mip) for mip in range(layout.mips)]
        self.register_buffer("sizes", torch.tensor(sizes, dtype=torch.float32))
        self.register_buffer("numbers", torch.tensor(channels))
        self.register_buffer("levels", torch.tensor(layout.mip_levels()))

    def forward(self, x: torch.Tensor, y: torch.Tensor, mip: torch.Tensor, only_mip: int | None = None) -> torch.Tensor:
        """Decode texels: float32 [N, C], not clamped. With `only_mip` all are of it, and no other level is read."""
        position = (torch.stack([x, y], 1) + 0.5) / self.sizes[mip]
        inputs, products = [self._encode(position, mip)], []
        linear = torch.zeros(len(x), N_CHANNELS, device=x.device)
        for index, (grid, levels) in enumerate(zip(self.layout.grids, self.grids)):
            if only_mip is not None:
                inputs.append(self._sample(levels[grid.level_of_mip(only_mip)], index, position))
            else:
                every = torch.stack([self._sample(level, index, position) for level in levels], 1)
                inputs.append(every[torch.arange(len(x), device=x.device), self.levels[mip, index]])
            resolution = grid.base_resolution * 2.0 ** self.levels[mip, index]
            if self.linear is not None:
                linear = linear.index_add(1, self.numbers, self._linear(index, inputs[-1], position, resolution))
            if grid.interpolation == "gather":
                basis = self._basis(position, resolution, self.layout.position_order)
                products.append((basis[:, 1:, None] * inputs[-1][:, None]).flatten(1))
        inputs.append((mip / max(self.layout.mips - 1, 1)).float()[:, None])
        inputs += [*products, linear] if self.linear is not None else products
        inputs.append(torch.ones(len(x), self.layout.layers[0].cols - self.layout.n_inputs, device=x.device))
        value = torch.cat(inputs, 1)
        for number, layer in enumerate(self.layout.layers):
            bias = self.biases[number] if self.biases else None
            weights = self.weights[number]
            if self.layout.network_precision == "int8":
                weights = round_rows(weights)
            value = ACTIVATIONS[layer.activation](torch.nn.functional.linear(value, weights, bias))
        return value[:, self.channels] + linear[:, self.channels]

    def _linear(self, index: int, values: torch.Tensor, position: torch.Tensor, resolution: torch.Tensor):
        """Return what the linear decoder makes of a grid's taps or blended features, [N, C]."""
        weights = round_rows(self.linear) if self.layout.network_precision == "int8" else self.linear
        weights = weights[:, self.layout.linear_columns[index]]
        if not self.layout.grids[index].gathered:
            return values @ weights.t()
        basis = self._basis(position, resolution, self.layout.linear_order)
        parts = weights.view(len(weights), basis.shape[1], -1).unbind(1)
        return sum(basis[:, r : r + 1] * (values @ part.t()) for r, part in enumerate(parts))

    def _encode(self, position: torch.Tensor, mip: torch.Tensor) -> torch.Tensor:
        x = position
        if self.layout.period_cells:
            grid = self.layout.grids[0]
            x = 2 * x * (grid.base_resolution * 2.0 ** self.levels[mip, :1]) / self.layout.period_cells
        values = [
            t + phase / 4
            for octave in range(self.layout.n_frequencies)
            for t in [x * 2.0 ** (octave - 1) + octave / 4]
            for phase in range(self.layout.phases)
        ]
        if not values:
            return x[:, :0]
        t = torch.stack(values, 2)
        return (4 * (t - t.floor() - 0.5).abs() - 1).flatten(1)

    def _basis(self, position: torch.Tensor, resolution: torch.Tensor, order: int) -> torch.Tensor:
        """Functions of the place in a cell up to an order, [N, (order + 1)^2], those of y varying slowest."""
        place = position * resolution[:, None] - 0.5
        x = 2 * (place - place.floor()) - 1
        orders = range(order + 1)
        values = torch.stack([torch.special.legendre_polynomial_p(x, n) for n in orders], 1)
        return (values[:, :, 1, None] * values[:, None, :, 0]).flatten(1)

    def _sample(self, level: torch.Tensor, index: int, position: torch.Tensor) -> torch.Tensor:
        grid = self.layout.grids[index]
        values = quantize_ste(level, feature_bits(grid, level.device))
        if self.layout.feature_curves:
            c0, c1, c2, c3 = self.curves[index].unbind(1)
            values = c0 + values * (c1 + values * (c2 + values * c3))
        resolution = level.shape[0]
        place = position * resolution - 0.5
        lower = place.floor()
        fraction, corner = place - lower, lower.long()
        taps, blended = [], 0
        for dy in (0, 1):
            for dx in (0, 1):
                column, row = corner[:, 0] + dx, corner[:, 1] + dy
                column, row = (
                    tap % resolution if self.layout.wrap else tap.clamp(0, resolution - 1) for tap in (column, row)
                )
                taps.append(values[row, column])
                weight = (fraction[:, 0] if dx else 1 - fraction[:, 0]) * (fraction[:, 1] if dy else 1 - fraction[:, 1])
                blended = blended + weight[:, None] * taps[-1]
        return blended if grid.interpolation == "bilinear" else torch.cat(taps, 1)

    @torch.no_grad()
    def psnr_db(self, target: torch.Tensor, batch: int = 1 << 16) -> float:
        """PSNR of the finest mip against uint8 [H, W, C], on 8-bit rounded output in file coding."""
        height, width, _ = target.shape
        total = torch.zeros((), device=target.device, dtype=torch.float64)
        linear = self.layout.diffuse_space == "linear" and self.channels[:1] == [0]
        for start in range(0, height * width, batch):
            index = torch.arange(start, min(start + batch, height * width), device=target.device)
            with full_float32():
                values = self(index % width, index // width, torch.zeros_like(index), only_mip=0)
            coded = to_file_coding(values.clamp(0, 1), linear).mul_(255).round_()
            total += (coded - target.view(-1, target.shape[2])[index]).square().sum(dtype=torch.float64)
        error = total.item() / target.numel()
        return 10 * math.log10(255**2 / error) if error else math.inf


def wait(device: torch.device) -> float:
    """Let the device finish and return the time, seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def train_plain(
    texture_set: TextureSet,
    layout: ModelLayout,
    channels: list[int],
    *,
    seconds: float | None = None,
    steps: int | None = None,
    device: torch.device = torch.device("cpu"),
    batch_size: int = 16384,
    network_learning_rate: float = NETWORK_LEARNING_RATE,
    n_evaluations: int = 10,
    seed: int = 0,
    on_step: Callable[[int], None] | None = None,
) -> list[dict[str, float]]:
    """Train for `seconds` (evaluations not counted) or `steps`; returns the history of the finest mip.

    Entries: `iteration`, `texels` and `time_s` of training until then, `psnr_db`. Raises `UsageError` unless one
    limit is given.
    """
    if (seconds is None) == (steps is None):
        raise UsageError("the plain trainer needs either seconds or steps; give one of them")
    generator = torch.Generator().manual_seed(seed)
    model = PlainTexture(layout, channels, generator).to(device)
    decoder = [*model.weights, *model.biases]
    optimizer = torch.optim.Adam(
        [{"params": decoder, "lr": network_learning_rate}]
        + [{"params": list(levels), "lr": grid.learning_rate} for grid, levels in zip(layout.grids, model.grids)],
        betas=(0.9, 0.99),
        eps=1e-12,
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    targets = [torch.from_numpy(np.ascontiguousarray(mip[..., channels])).to(device) for mip in texture_set.mips]
    texels = torch.cat([mip.view(-1, len(channels)) for mip in targets])
    sizes = [mip_size(layout.width, layout.height, mip) for mip in range(layout.mips)]
    shares = torch.from_numpy(mip_probabilities(sizes, 0.02)).to(device)
    width = torch.tensor([w for w, _ in sizes], device=device)
    count = torch.tensor([w * h for w, h in sizes], device=device)
    first = count.cumsum(0) - count
    random = torch.Generator(device).manual_seed(seed)
    linear = layout.diffuse_space == "linear" and channels[:1] == [0]

    history, iteration, evaluation_s, started = [], 0, 0.0, wait(device)
    progress, evaluated = 0.0, 0
    while progress < 1:
        for group, rate in zip(optimizer.param_groups, rates):
            group["lr"] = rate * (FINAL_FRACTION + (1 - FINAL_FRACTION) * 0.5 * (1 + math.cos(math.pi * progress)))
        mip = torch.multinomial(shares, batch_size, replacement=True, generator=random)
        index = (torch.rand(batch_size, generator=random, device=device, dtype=torch.float64) * count[mip]).long()
        values = model(index % width[mip], index // width[mip], mip)
        texture_loss(values, texels[first[mip] + index], linear, None).backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for grid, levels in zip(layout.grids, model.grids):
                for level in levels:
                    level.clamp_(*clamp_range(grid.quantize_bits))
        iteration += 1
        if on_step:
            on_step(iteration)
        progress = iteration / steps if steps else (time.perf_counter() - started - evaluation_s) / seconds
        if progress * n_evaluations >= evaluated + 1 or progress >= 1:
            now = wait(device)
            evaluated = int(progress * n_evaluations)
            history.append(
                {
                    "iteration": iteration,
                    "texels": iteration * batch_size,
                    "time_s": now - started - evaluation_s,
                    "psnr_db": model.psnr_db(targets[0]),
                }
            )
            evaluation_s += wait(device) - now
    return history


def main() -> None:
    """Train a material and print its PSNR over time."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.plain_trainer", description="Train the ue5 preset's model in ordinary PyTorch."
    )
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of images, one material")
    parser.add_argument("--seconds", type=float, default=60.0, help="training time (default: 60)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    options = parser.parse_args()
    device = choose_device(options.device)
    texture_set = load_texture_set(options.data_dir)
    layout = model_layout(ModelConfig(), texture_set.width, texture_set.height)
    channels = present_channels(texture_set.present)
    history = train_plain(texture_set, layout, channels, seconds=options.seconds, device=device)
    for entry in history:
        print(f"{entry['time_s']:8.1f} s  {entry['iteration']:7d} steps  {entry['psnr_db']:6.2f} dB")


if __name__ == "__main__":
    run_command(main)
