"""Training targets beyond 8 bits: what the 8-bit texels leave out of the maps that are deeper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from configs import N_CHANNELS, TEXTURE_CHANNELS
from dataset import TextureSet, channel_slice
from images.depth import FINE_STEP


@dataclass(frozen=True)
class FineTexels:
    """The fine parts of all mips' texels (`images.depth`), for the channels that have them."""

    values: torch.Tensor
    """int16 [N, D], two bytes for each value of a deep map; rows as those of the 8-bit texels."""
    columns: torch.Tensor
    """int64 [D]: the column of the 8-bit texels that each belongs to."""

    def targets(self, texels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return some rows of the 8-bit `texels` [N, C] with their fine parts: float32 [n, C] in [0, 1]."""
        values = texels.index_select(0, rows).float().mul_(1 / 255)
        return values.index_add_(1, self.columns, self.values.index_select(0, rows).float(), alpha=FINE_STEP)


def fine_texels(texture_set: TextureSet, channels: list[int], device: torch.device) -> FineTexels | None:
    """Gather what the 8-bit texels of the channels that are present leave out; None where no map is deeper."""
    deep = [name for name in TEXTURE_CHANNELS if name in texture_set.fine]
    if not deep:
        return None
    columns = [channels.index(channel) for name in deep for channel in range(N_CHANNELS)[channel_slice(name)]]
    sizes = [mip.shape[0] * mip.shape[1] for mip in texture_set.mips]
    values, start = np.empty((sum(sizes), len(columns)), np.int16), 0
    for mip, size in enumerate(sizes):
        first = 0
        for name in deep:
            count = TEXTURE_CHANNELS[name]
            values[start : start + size, first : first + count] = texture_set.fine[name][mip].reshape(size, count)
            first += count
        start += size
    return FineTexels(torch.from_numpy(values).to(device), torch.tensor(columns, device=device))
