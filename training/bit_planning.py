"""Which bits the features of a material get: `texel_bits` of the grids, shared out by its own block transform."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence

import numpy as np
import torch

from configs import FeatureBits, ModelConfig
from dataset import TextureSet
from formats.fields import WORD_BITS
from model.grids.layout import grid_layout
from model.transform import MOST_BITS, block_transform, component_errors, cut_blocks, share_bits
from training.loss import present_channels, srgb_to_linear

_COMPONENTS_PER_BIT = 0.7
"""Components that are looked at for each bit of a grid texel: a feature seldom has less than one and a half."""


def fill_words(bits: Sequence[int], n_bits: int) -> list[int]:
    """Return the bits of features in an order in which they fill words of 32 bits without a gap, `n_bits` in all.

    Where they cannot, the last ones are left out and others get their bits.

    >>> fill_words([8, 6, 6, 6, 6], 32)
    [8, 6, 6, 6, 6]
    >>> fill_words([5, 5, 5, 5, 5, 5, 2], 16)
    [6, 5, 5]
    """
    sizes = [min(WORD_BITS, n_bits - first) for first in range(0, n_bits, WORD_BITS)]
    words: list[list[int]] = [[] for _ in sizes]
    for count in sorted((count for count in bits if count), reverse=True):
        fitting = [word for word, size in zip(words, sizes) if sum(word) + count <= size]
        if fitting:
            fitting[0].append(count)
    for word, size in zip(words, sizes):
        while sum(word) < size:
            raised = next((place for place, count in enumerate(word) if count < MOST_BITS), None)
            if raised is None:
                word.append(min(size - sum(word), MOST_BITS))
            else:
                word[raised] += 1
    return [count for word in words for count in word]


def _material_errors(
    texture_set: TextureSet, model: ModelConfig, resolution: int, side: int, n_bits: int
) -> np.ndarray:
    """Return the error of the first components of the finest mip by their bits, [n, 1 + MOST_BITS]."""
    channels = present_channels(texture_set.present)
    image = torch.from_numpy(np.ascontiguousarray(texture_set.mips[0][..., channels])).float() / 255
    if model.diffuse_space == "linear" and channels[0] == 0:
        image[..., :3] = srgb_to_linear(image[..., :3])
    generator = torch.Generator().manual_seed(0)
    blocks = cut_blocks(image - image.mean((0, 1)), resolution, side)
    transform = block_transform(blocks, side, generator)
    most = min(transform.vectors.shape[1], 8 + round(_COMPONENTS_PER_BIT * n_bits))
    errors = component_errors(blocks @ transform.vectors[:, :most], generator)
    return errors


def share_texel_bits(model: ModelConfig, texture_set: TextureSet) -> ModelConfig:
    """Return a model whose grids have their `texel_bits` shared out; grids of one resolution share one transform."""
    grids = list(model.hash_grid_configs)
    if not any(grid.texel_bits and not grid.feature_bits for grid in grids):
        return model
    sides = [grid_layout(grid, texture_set.width, texture_set.height).max_resolution for grid in grids]
    for resolution in sorted(set(sides)):
        alike = [
            index
            for index, side in enumerate(sides)
            if side == resolution and grids[index].texel_bits and not grids[index].feature_bits
        ]
        if not alike:
            continue
        gathered = grids[alike[0]].interpolation == "gather"
        block = (model.linear_order or 0) + 1 if gathered else 1
        totals = [grids[index].texel_bits or 0 for index in alike]
        errors = _material_errors(texture_set, model, resolution, block, sum(totals))
        bits = share_bits(errors, sum(totals))
        for index, part in zip(alike, _parted(bits, totals)):
            own = fill_words(part, grids[index].texel_bits or 0)
            grids[index] = dataclasses.replace(grids[index], feature_bits=typing.cast("list[FeatureBits]", own))
    return dataclasses.replace(model, hash_grid_configs=grids)


def _parted(bits: Sequence[int], totals: Sequence[int]) -> list[list[int]]:
    """Share features out among grids of so many bits each, the largest first, wherever most room is left."""
    parts: list[list[int]] = [[] for _ in totals]
    for count in sorted((count for count in bits if count), reverse=True):
        room = [total - sum(part) for total, part in zip(totals, parts)]
        parts[int(np.argmax(room))].append(count)
    return parts
