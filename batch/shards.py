"""A part of a batch for each of several commands, as the tasks of a Slurm array have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def shard_of(items: Sequence[Item], shard: str | None) -> list[Item]:
    """Return the items of part K of N parts ("K/N", K from 1), None: all; every N-th, so that no two parts share one.

    >>> shard_of(["a", "b", "c", "d", "e"], "2/3"), shard_of(["a"], "2/3")
    (['b', 'e'], [])
    """
    if not shard:
        return list(items)
    part, parts = map(int, shard.split("/"))
    return list(items[part - 1 :: parts])


def summary_stem(shard: str | None) -> str:
    """Return how the summary's files are called: each part has its own, since parts end side by side.

    >>> summary_stem(None), summary_stem("3/16")
    ('summary', 'summary-3-of-16')
    """
    return f"summary-{shard.replace('/', '-of-')}" if shard else "summary"
