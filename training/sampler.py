"""Draws the training texels: square tiles over all mips, every texel of a mip once before any comes again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dataset import TextureSet
from model.grids.layout import FeatureLayout
from model.grids.tiles import Alignment, TileGroup, cell_alignment, flat_index
from training.fine_texels import fine_texels

IDLE_WEIGHT = 0.1
"""Weight in the loss of texels that a mask leaves out, beside 1, where a tile has others too.

Without any weight they go wild, 20 dB below the others; with a hundredth they still cost the figures of all texels as much
as the others gain."""
IDLE_DRAWS = 1 / 16
"""How many tiles without used texels are drawn for each other one, where there are as many; their texels weigh 1."""


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


@dataclass(frozen=True)
class TileBatch:
    """The texels of one step: N of them, in the order of the tile groups, row by row."""

    groups: list[TileGroup]
    targets: np.ndarray
    """Rows of the sampler's `texels`, int64 [N]."""
    texel_weights: np.ndarray | None
    """Float32 [N, 1] of mean 1: 0 for texels outside of a clamped material, little for unused ones of a mask; None where
    all lie inside and are used."""


class TileSampler:
    """Batches of tiles with their target texels.

    A step takes about `batch_size` texels: the finest mip's share of `mip_probabilities` in its tiles, the rest in tiles
    of one coarser mip drawn by the same shares, so that no step forgets the chain.
    Tiles of a mip come from a shuffled partition whose offset is new in every round; the partition of a round follows
    from (seed, mip, round) alone, so the sampler's whole state is a few counters.
    Where a mask says which texels are used, most tiles without any are left out, so that the steps go to the others.
    """

    def __init__(
        self,
        texture_set: TextureSet,
        layout: FeatureLayout,
        channels: list[int],
        *,
        batch_size: int,
        tile_size: int,
        mip_floor: float,
        seed: int,
        device: torch.device,
    ) -> None:
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
        self.fine = fine_texels(texture_set, channels, device)
        mask = texture_set.mask_for(layout.wrap)
        self.used: np.ndarray | None = (
            None
            if mask is None
            else np.concatenate([mask.kept(mip, layout.wrap).reshape(-1) for mip in range(len(self.sizes))])
        )
        """Which of the texels are used or lie in the gutter around used ones, bool [N]; None: all."""
        self.drawn = [0] * len(self.sizes)
        self.steps = 0
        self._rounds: dict[int, tuple[int, np.ndarray]] = {}
        self._most: dict[int, int] = {}
        self._alignments: dict[tuple[int, int, int], tuple[Alignment, Alignment]] = {}

    def state(self) -> dict[str, Any]:
        return {"drawn": list(self.drawn), "steps": self.steps}

    def load_state(self, state: dict[str, Any]) -> None:
        self.drawn, self.steps = [int(count) for count in state["drawn"]], int(state["steps"])

    def mip_texels(self, mip: int) -> torch.Tensor:
        """Return a mip's texels, uint8 [H, W, C], on the device."""
        width, height = self.sizes[mip]
        return self.texels[self.starts[mip] : self.starts[mip] + width * height].view(height, width, -1)

    def mip_used(self, mip: int) -> np.ndarray | None:
        """Return which texels of a mip are used, its gutter included, bool [H, W]; None: all."""
        if self.used is None:
            return None
        width, height = self.sizes[mip]
        return self.used[self.starts[mip] : self.starts[mip] + width * height].reshape(height, width)

    def mip_weights(self, mip: int) -> torch.Tensor | None:
        """Return the weights in the loss of a mip's texels, float32 [H, W], on the device; None where all are 1."""
        used = self.mip_used(mip)
        return (
            None
            if used is None
            else torch.from_numpy(np.where(used, np.float32(1), np.float32(IDLE_WEIGHT))).to(self.device)
        )

    def draw(self) -> TileBatch:
        """Draw one batch."""
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
        targets = [self._targets(group) for group in groups]
        return TileBatch(groups, np.concatenate(targets), self._weights(groups, targets))

    def _tiles(self, mip: int, texels: int) -> TileGroup:
        width, height = self.sizes[mip]
        tile_w, tile_h = min(self.tile_size, width), min(self.tile_size, height)
        count = max(1, round(texels / (tile_w * tile_h)))
        count = min(count, self._most_tiles(mip, tile_w, tile_h))
        origins = self._next_origins(mip, count, tile_w, tile_h)
        return TileGroup(
            mip,
            origins[:, :1] + np.arange(tile_w),
            origins[:, 1:] + np.arange(tile_h),
            self._alignment(mip, tile_w, tile_h),
        )

    def _alignment(self, mip: int, tile_w: int, tile_h: int) -> tuple[Alignment, Alignment]:
        """Return how the first texels of a mip's tiles are aligned on x and y: to cells, where tiles are whole cells."""
        key = mip, tile_w, tile_h
        if key not in self._alignments:
            # Without wrapping, a tile as long as its axis has one place alone.
            x, y = (
                alignment if tile % alignment.step == 0 and (self.layout.wrap or tile < size) else Alignment()
                for alignment, tile, size in zip(cell_alignment(self.layout, mip), (tile_w, tile_h), self.sizes[mip])
            )
            self._alignments[key] = x, y
        return self._alignments[key]

    def _tiles_per_axis(self, size: int, tile: int) -> int:
        """Tiles that cover an axis whatever their offset; without wrapping, part of one more is needed."""
        return -(-size // tile) + (not self.layout.wrap and tile < size)

    def _most_tiles(self, mip: int, tile_w: int, tile_h: int) -> int:
        """Return how many tiles of a mip a step takes at most: those of a round; always the same."""
        if mip not in self._most:
            self._most[mip] = len(self._partition(mip, 0, tile_w, tile_h))
        return self._most[mip]

    def _next_origins(self, mip: int, count: int, tile_w: int, tile_h: int) -> np.ndarray:
        """Return the next tile origins (x, y) of a mip, int64 [count, 2]; a new round begins where one ends."""
        width, height = self.sizes[mip]
        per_round = self._tiles_per_axis(width, tile_w) * self._tiles_per_axis(height, tile_h)
        parts = []
        while count:
            round_index, position = divmod(self.drawn[mip], per_round)
            if self._rounds.get(mip, (-1, None))[0] != round_index:
                self._rounds[mip] = (round_index, self._partition(mip, round_index, tile_w, tile_h))
            origins = self._rounds[mip][1]
            parts.append(origins[position : position + count])
            self.drawn[mip] += len(parts[-1])
            count -= len(parts[-1])
            if position + len(parts[-1]) >= len(origins):
                # The tiles that were left out come after the others.
                self.drawn[mip] = (round_index + 1) * per_round
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _partition(self, mip: int, round_index: int, tile_w: int, tile_h: int) -> np.ndarray:
        """Return shuffled tile origins (x, y) that cover the mip, or what of it is used, int64 [n, 2]."""
        random = np.random.default_rng((self.seed, 2, mip, round_index))
        width, height = self.sizes[mip]
        along_x, along_y = self._alignment(mip, tile_w, tile_h)
        starts_x, starts_y = self._starts(width, tile_w, along_x, random), self._starts(height, tile_h, along_y, random)
        x, y = np.meshgrid(starts_x, starts_y)
        origins = np.stack([x.reshape(-1), y.reshape(-1)], 1)
        order = random.permutation(len(origins))
        used = self.mip_used(mip)
        if used is not None:
            # Texels beyond a border are wrapped, or clamped: then the tile holds the border's as well.
            mode = "wrap" if self.layout.wrap else "clip"
            rows = [used.take(range(start, start + tile_h), 0, mode=mode).any(0) for start in starts_y]  # type: ignore[call-overload]
            columns = [np.array(rows).take(range(start, start + tile_w), 1, mode=mode).any(1) for start in starts_x]  # type: ignore[call-overload]
            kept = np.stack(columns, 1).reshape(-1)
            n_kept = int(np.count_nonzero(kept))
            kept |= random.random(len(kept)) < IDLE_DRAWS * n_kept / max(len(kept) - n_kept, 1)
            order = order[kept[order]]
        return origins[order]

    def _starts(self, size: int, tile: int, alignment: Alignment, random: np.random.Generator) -> np.ndarray:
        """Return first texels of tiles that cover an axis, at an offset of their own.

        On a clamped axis aligned tiles may reach less than a cell beyond either border; others stay inside.
        """
        step, phase = alignment
        offset = int(random.integers(0, max(tile // step, 1))) * step + phase
        starts = offset + np.arange(self._tiles_per_axis(size, tile)) * tile
        if self.layout.wrap:
            return starts % size
        if step == 1:
            return (starts - tile).clip(0, size - tile)
        last = phase - step * ((phase + tile - size) // step)
        return (starts - tile).clip(phase - step, last)

    def _targets(self, group: TileGroup) -> np.ndarray:
        """Return the rows of `texels` under tiles, the nearest ones' for texels outside of a clamped material."""
        width, height = self.sizes[group.mip]
        if self.layout.wrap:
            x, y = group.x % width, group.y % height
        else:
            x, y = group.x.clip(0, width - 1), group.y.clip(0, height - 1)
        return flat_index(y, x, width).reshape(-1) + self.starts[group.mip]

    def _weights(self, groups: list[TileGroup], targets: list[np.ndarray]) -> np.ndarray | None:
        """Return the texel weights of a batch; `targets` are the rows of the texels of each group."""
        all_inside = self.layout.wrap or all(step == 1 for group in groups for step, _ in group.alignment or ())
        if all_inside and self.used is None:
            return None
        parts = []
        for group, rows in zip(groups, targets):
            width, height = self.sizes[group.mip]
            weights = np.ones((len(group.x), group.y.shape[1] * group.x.shape[1]), np.float32)
            if self.used is not None:
                used = self.used[rows].reshape(weights.shape)
                # Tiles without used texels come seldom enough.
                weights = np.where(used | ~used.any(1, keepdims=True), weights, np.float32(IDLE_WEIGHT))
            if not all_inside:
                x, y = ((texels >= 0) & (texels < size) for texels, size in ((group.x, width), (group.y, height)))
                weights = weights * (y[:, :, None] & x[:, None, :]).reshape(weights.shape)
            parts.append(weights.reshape(-1))
        weights = np.concatenate(parts)[:, None]
        return weights / weights.mean()
