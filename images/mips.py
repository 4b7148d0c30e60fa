"""Sizes of a mip chain."""

from __future__ import annotations


def mip_count(width: int, height: int) -> int:
    """Number of mips of a `width x height` texture: floor(log2(min(W, H))) + 1.

    >>> mip_count(1024, 512), mip_count(1, 7)
    (10, 1)
    """
    return min(width, height).bit_length()


def mip_size(width: int, height: int, mip: int) -> tuple[int, int]:
    """Width and height of a mip: halved and floored, at least 1."""
    return max(width >> mip, 1), max(height >> mip, 1)
