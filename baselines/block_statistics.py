"""Texels of all maps in square blocks as vectors, and the mean and covariance of these, a few rows of blocks at a time.

The vector of a block holds its texels row by row and of each texel the channels: `D = side * side * C` numbers. Large
materials are read in strips, so that their blocks never exist all at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_STRIP_BLOCKS = 4096
"""Blocks that are held at once, at least one row of them."""


@dataclass(frozen=True)
class BlockStatistics:
    """Mean and covariance of the blocks of one material."""

    side: int
    """Texels along a block's side."""
    mean: np.ndarray
    """[D] float64, 8-bit steps"""
    covariance: np.ndarray
    """[D, D] float64, 8-bit steps squared"""

    @property
    def channels(self) -> int:
        """Channels of a texel."""
        return len(self.mean) // self.side**2


def block_strips(
    image: np.ndarray, channels: Sequence[int], side: int, *, pad: bool
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows of texels and their blocks as vectors, `[N, D]` in the image's type, blocks of a row from left to right.

    `image` is `[H, W, C]`, of which `channels` are taken. Blocks that reach over the border are completed by repeating
    the last row and column where `pad`, else left out.
    """
    height, width = image.shape[:2]
    across, down = (-(-size // side) if pad else size // side for size in (width, height))
    if not across or not down:
        return
    rows_at_once = max(1, _STRIP_BLOCKS // across)
    for first in range(0, down, rows_at_once):
        count = min(rows_at_once, down - first)
        rows = slice(first * side, min((first + count) * side, height))
        strip = image[rows, : across * side, channels]
        if pad:
            missing = (count * side - strip.shape[0], across * side - strip.shape[1])
            strip = np.pad(strip, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        blocks = strip.reshape(count, side, across, side, -1).transpose(0, 2, 1, 3, 4)
        yield rows, blocks.reshape(count * across, -1)


def texels_of_blocks(blocks: np.ndarray, side: int, across: int) -> np.ndarray:
    """Return vectors `[N, D]` of whole rows of `across` blocks as texels `[H, W, C]`."""
    count = len(blocks) // across
    texels = blocks.reshape(count, across, side, side, -1).transpose(0, 2, 1, 3, 4)
    return texels.reshape(count * side, across * side, -1)


def block_statistics(image: np.ndarray, channels: Sequence[int], side: int, *, pad: bool) -> BlockStatistics:
    """Return mean and covariance of the blocks of `block_strips`; raises `ValueError` where there is no whole block.

    Sums are taken in double precision: components of a thousandth of an 8-bit step matter beside others of a hundred.
    """
    size = side * side * len(channels)
    total, products, count = np.zeros(size), np.zeros((size, size)), 0
    for _, blocks in block_strips(image, channels, side, pad=pad):
        # Around mid grey, so that the difference below is not one of large numbers.
        centred = blocks.astype(np.float64) - 127.5
        total += centred.sum(0)
        products += centred.T @ centred
        count += len(blocks)
    if not count:
        raise ValueError(f"an image of {image.shape[1]} x {image.shape[0]} texels has no block of {side} x {side}")
    mean = total / count
    return BlockStatistics(side, mean + 127.5, products / count - np.outer(mean, mean))
