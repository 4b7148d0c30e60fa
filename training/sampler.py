"""Draws the training texels: square tiles over all mips, every texel of a mip once before any comes again."""

from __future__ import annotations

import numpy as np
import torch

from dataset import TextureSet
from model.grids.geometry import TileGroup, cell_alignment, flat_index
from model.layout import ModelLayout


def mip_probabilities(sizes: list[tuple[int, int]], floor: float) -> np.ndarray:
    """Return each mip's share of the draws: its area's, but at least `floor`; float64 [M], sums to 1.

    >>> mip_probabilities([(2, 2), (1, 1)], 0.3).round(2).tolist()
    [0.7, 0.3]
    """
    area = np.array([width * height for width, height in sizes], np.float64)
    floor = min(floor, 1 / len(sizes))
    share = area / area.sum()
    while True:
        low = share <= floor
        scaled = np.where(low, floor, area)
        scaled[~low] *= (1 - floor * low.sum()) / max(area[~low].sum(), 1e-30)
        if ((scaled <= floor) == low).all():
            return scaled
        share = scaled


class TileSampler:
    """Batches of tiles with their target texels.

    A step takes about `batch_size` texels: the finest mip's share of `mip_probabilities` in its tiles, the rest in tiles
    of one coarser mip drawn by the same shares, so that no step forgets the chain.
    Tiles of a mip come from a shuffled partition whose offset is new in every round; the partition of a round follows
    from (seed, mip, round) alone, so the sampler's whole state is a few counters.
    """

    def __init__(self, texture_set: TextureSet, layout: ModelLayout, channels: list[int], *, batch_size: int,
                 tile_size: int, mip_floor: float, seed: int, device: torch.device) -> None:
        self.layout, self.seed, self.device = layout, seed, device
        self.batch_size, self.tile_size = batch_size, tile_size
        self.sizes = [(mip.shape[1], mip.shape[0]) for mip in texture_set.mips]
        self.probabilities = mip_probabilities(self.sizes, mip_floor)
        ends = np.cumsum(self.probabilities[1:] / (1 - self.probabilities[0]))
        self.coarse_ends = ends / ends[-1:]
        """Cumulative shares of the mips but the finest."""
        ends = np.cumsum([width * height for width, height in self.sizes])
        self.starts = [0, *ends[:-1].tolist()]
        texels = np.empty((ends[-1], len(channels)), np.uint8)
        for mip, start, end in zip(texture_set.mips, self.starts, ends):
            np.take(mip.reshape(-1, mip.shape[2]), channels, 1, texels[start:end], "clip")
        self.texels = torch.from_numpy(texels).to(device)
        """Texels of all mips, the finest first, uint8 [N, C]."""
        self.drawn = [0] * len(self.sizes)
        self.steps = 0
        self._rounds: dict[int, tuple[int, np.ndarray]] = {}

    def state(self) -> dict[str, object]:
        return {"drawn": list(self.drawn), "steps": self.steps}

    def load_state(self, state: dict[str, object]) -> None:
        self.drawn, self.steps = [int(count) for count in state["drawn"]], int(state["steps"])

    def mip_texels(self, mip: int) -> torch.Tensor:
        """Return a mip's texels, uint8 [H, W, C], on the device."""
        width, height = self.sizes[mip]
        return self.texels[self.starts[mip]:self.starts[mip] + width * height].view(height, width, -1)

    def draw(self) -> tuple[list[TileGroup], np.ndarray]:
        """Draw one batch: its tile groups, and the rows of `texels` that are their targets, int64 [N] in the same order."""
        random = np.random.default_rng((self.seed, 1, self.steps))
        self.steps += 1
        coarse = 1 - self.probabilities[0]
        groups = []
        if len(self.sizes) == 1:
            groups.append(self._tiles(0, self.batch_size))
        else:
            mip = 1 + int(np.searchsorted(self.coarse_ends, random.random(), "right"))
            groups.append(self._tiles(0, int(self.batch_size * (1 - coarse))))
            groups.append(self._tiles(mip, int(self.batch_size * coarse)))
        return groups, np.concatenate([self._target(group) for group in groups])

    def _tiles(self, mip: int, texels: int) -> TileGroup:
        width, height = self.sizes[mip]
        tile_w, tile_h = min(self.tile_size, width), min(self.tile_size, height)
        count = max(1, round(texels / (tile_w * tile_h)))
        count = min(count, self._tiles_per_axis(width, tile_w) * self._tiles_per_axis(height, tile_h))
        origins = self._next_origins(mip, count, tile_w, tile_h)
        step, phase = cell_alignment(self.layout, mip)
        aligned = self.layout.wrap and tile_w % step == 0 and tile_h % step == 0
        alignment = (step, phase) if aligned else (1, 0)
        return TileGroup(mip, origins[:, :1] + np.arange(tile_w), origins[:, 1:] + np.arange(tile_h), alignment)

    def _tiles_per_axis(self, size: int, tile: int) -> int:
        """Tiles that cover an axis whatever their offset; without wrapping, part of one more is needed."""
        return -(-size // tile) + (not self.layout.wrap and tile < size)

    def _next_origins(self, mip: int, count: int, tile_w: int, tile_h: int) -> np.ndarray:
        """Return the next tile origins (x, y) of a mip, int64 [count, 2]; a new round begins where one ends."""
        width, height = self.sizes[mip]
        per_round = self._tiles_per_axis(width, tile_w) * self._tiles_per_axis(height, tile_h)
        parts = []
        while count:
            round_index, position = divmod(self.drawn[mip], per_round)
            if self._rounds.get(mip, (-1, None))[0] != round_index:
                self._rounds[mip] = (round_index, self._partition(mip, round_index, tile_w, tile_h))
            parts.append(self._rounds[mip][1][position:position + count])
            self.drawn[mip] += len(parts[-1])
            count -= len(parts[-1])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _partition(self, mip: int, round_index: int, tile_w: int, tile_h: int) -> np.ndarray:
        """Return shuffled tile origins (x, y) that cover the mip, int64 [n, 2]."""
        random = np.random.default_rng((self.seed, 2, mip, round_index))
        width, height = self.sizes[mip]
        step, phase = cell_alignment(self.layout, mip)
        def starts(size: int, tile: int) -> np.ndarray:
            offset = int(random.integers(0, max(tile // step, 1))) * step + phase
            origins = offset + np.arange(self._tiles_per_axis(size, tile)) * tile
            if self.layout.wrap:
                return origins % size
            return (origins - tile).clip(0, size - tile)
        x, y = np.meshgrid(starts(width, tile_w), starts(height, tile_h))
        origins = np.stack([x.reshape(-1), y.reshape(-1)], 1)
        return origins[random.permutation(len(origins))]

    def _target(self, group: TileGroup) -> np.ndarray:
        width, height = self.sizes[group.mip]
        return flat_index(group.y % height, group.x % width, width).reshape(-1) + self.starts[group.mip]
