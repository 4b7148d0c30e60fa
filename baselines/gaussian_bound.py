"""The Gaussian rate-distortion bound of a material: what no code could beat if its blocks were Gaussian.

Of all sources with one covariance the Gaussian is the hardest to code. At a rate `R` its least mean squared error is
given by reverse water-filling over the eigenvalues `v_i` of the covariance (Cover and Thomas, "Elements of Information
Theory", 2006, theorem 10.3.3):

    D(t) = mean of min(v_i, t),    R(t) = sum over i of max(0, log2(v_i / t) / 2)

Here the vectors are blocks of all present channels, so the bound knows what channels have in common and what neighbours
have, up to the block's side. A real material may beat it: its blocks are no Gaussian vectors, and larger patterns than a
block repeat. No error is asked to be below the rounding to 8 bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from baselines.block_statistics import BlockStatistics, block_statistics
from reporting.metrics import psnr_of_mse

if TYPE_CHECKING:
    from dataset import TextureSet

SIDES = (8, 4, 2, 1)
"""Sides of blocks, texels; the largest that the material has enough blocks of is taken."""
BLOCKS_PER_DIMENSION = 5
"""Blocks that there must be for each number of a block's vector.

A covariance of `N` samples of `D` numbers seems to know `D / (4 N)` nats a number that it does not: with 5, the bound
lies at most 0.4 dB too high, and 0.1 for 9 channels of 1024 x 1024 texels.
"""


@dataclass(frozen=True)
class GaussianBound:
    """The spectrum of a material's blocks and what follows from it."""

    variances: np.ndarray
    """[K] float64, the eigenvalues that are not 0, largest first, 8-bit steps squared"""
    dimensions: int
    """Numbers of a block's vector, D."""
    side: int
    """Texels along a block's side."""

    def mse(self, bpp: float) -> float:
        """Return the least mean squared error over all channels, 8-bit steps squared, at so many bits per texel."""
        if not len(self.variances):
            return 0.0
        log2 = np.log2(self.variances)
        # The water level where exactly the first k components get bits, log2 of it.
        levels = (np.cumsum(log2) - 2 * bpp * self.side**2) / np.arange(1, len(log2) + 1)
        level = 2 ** levels[np.nonzero(log2 >= levels)[0][-1]] if bpp > 0 else math.inf
        return float(np.minimum(self.variances, level).sum() / self.dimensions)

    def psnr_db(self, bpp: float) -> float:
        """Return the overall PSNR of the bound at so many bits per texel; `inf` where all texels are one colour.

        >>> GaussianBound(np.full(4, 100.0), 4, 2).psnr_db(1) - GaussianBound(np.full(4, 100.0), 4, 2).psnr_db(0)
        6.020599913279625
        """
        return psnr_of_mse(self.mse(bpp))

    def bpp(self, psnr_db: float) -> float:
        """Return the least bits per texel for an overall PSNR."""
        wanted = 255.0**2 / 10 ** (psnr_db / 10) * self.dimensions
        # Components from the smallest to the largest that would be left out whole, and what these leave over.
        rising = self.variances[::-1]
        left_out = np.concatenate([[0.0], np.cumsum(rising)])
        for index, variance in enumerate(rising):
            level = (wanted - left_out[index]) / (len(rising) - index)
            if level <= variance:
                return float(np.log2(rising[index:] / level).sum() / 2 / self.side**2)
        return 0.0


def bound_side(width: int, height: int, channels: int) -> int:
    """Return the side of the blocks that a bound of so many texels and channels is taken from.

    >>> bound_side(1024, 1024, 9), bound_side(256, 256, 9), bound_side(16, 16, 9)
    (8, 4, 1)
    """
    for side in SIDES:
        if (width // side) * (height // side) >= BLOCKS_PER_DIMENSION * side * side * channels:
            return side
    return SIDES[-1]


def bound_of_statistics(statistics: BlockStatistics) -> GaussianBound:
    """Return the bound of blocks with a mean and covariance."""
    variances = np.linalg.eigvalsh(statistics.covariance)[::-1]
    # Below this an eigenvalue is the rounding of the largest.
    least = max(float(variances[0]), 0.0) * len(variances) * np.finfo(np.float64).eps
    return GaussianBound(variances[variances > least], len(variances), statistics.side)


def gaussian_bound(textures: TextureSet, mip: int = 0) -> GaussianBound:
    """Return the bound of a mip of a material, over all channels that are present, in file coding.

    Blocks begin at the first texel; those cut off by the border do not count.
    """
    image = textures.mips[mip]
    channels = np.flatnonzero(textures.channel_mask)
    side = bound_side(image.shape[1], image.shape[0], len(channels))
    return bound_of_statistics(block_statistics(image, channels.tolist(), side, pad=False))
