"""Latents to start from: the principal components of the texels that a grid texel stands for.

Coarse grids first; a finer one gets the components of what the coarser ones leave. So the decoder starts from
inputs that already tell the texels apart. The components are those of the finest mip for every mip, because one
decoder serves them all. One scale serves all components of a grid: scaled to equal deviation, the small ones would be
noise to unlearn.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from model.grids.layout import FeatureLayout
from model.transform import cut_blocks, resized
from quantize import clamp_range

FIRST_DEVIATION = 0.2
"""Standard deviation of the first component, as a share of the features' greatest value."""
_MOST_SAMPLES = 1 << 15
_MOST_PER_BLOCK = 8


def _block_side(image: torch.Tensor, resolution: int) -> int:
    """Texels per side of the block that a grid texel stands for."""
    return max(1, min(_MOST_PER_BLOCK, round((image.shape[0] * image.shape[1]) ** 0.5 / resolution)))


def principal_components(
    blocks: torch.Tensor, count: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return mean [K], the first `count` components [K, n] (n <= count) and their standard deviations [n].

    Worked out on the host, so that they are the same on every device.
    """
    device = blocks.device
    if len(blocks) > _MOST_SAMPLES:
        chosen = torch.randint(0, len(blocks), (_MOST_SAMPLES,), generator=generator)
        blocks = blocks[chosen.to(device)]
    blocks = blocks.cpu()
    mean = blocks.mean(0)
    centred = blocks - mean
    covariance = centred.t() @ centred / len(centred)
    try:
        values, vectors = torch.linalg.eigh(covariance)
    except torch.linalg.LinAlgError:
        values = vectors = torch.full_like(covariance, torch.nan)
    if not (values.isfinite().all() and vectors.isfinite().all()):
        # Constant maps beside noise give many equal values, on which single precision may not converge.
        values, vectors = (part.float() for part in torch.linalg.eigh(covariance.double()))
    order = torch.arange(len(values) - 1, max(len(values) - 1 - count, -1), -1)
    return mean.to(device), vectors[:, order].to(device), values[order].clamp(min=0).sqrt().to(device)


def initial_grids(
    layout: FeatureLayout, mips: Iterable[torch.Tensor], generator: torch.Generator
) -> list[list[torch.Tensor]]:
    """Return starting master values [r, r, F] of every grid level, float32 on the mips' device.

    `mips` are uint8 [H, W, C], the present channels alone. A level starts from the finest mip that reads it.
    """
    grids: list[dict[int, torch.Tensor]] = [{} for _ in layout.grids]
    bases: dict[int, tuple] = {}
    coarse_first = sorted(range(len(layout.grids)), key=lambda g: layout.grids[g].max_resolution)
    for mip, reference in enumerate(mips):
        todo = [index for index in coarse_first if layout.grids[index].level_of_mip(mip) not in grids[index]]
        if not todo:
            continue
        image = reference.float() / 255
        for index in todo:
            grid = layout.grids[index]
            level = grid.level_of_mip(mip)
            resolution = grid.resolution(level)
            if index not in bases:
                side = _block_side(image, resolution)
                blocks = cut_blocks(image, resolution, side)
                bases[index] = (side, *principal_components(blocks, grid.n_features, generator))
            side, mean, vectors, deviations = bases[index]
            blocks = cut_blocks(image, resolution, side)
            scores = (blocks - mean) @ vectors
            limit = clamp_range(grid.quantize_bits)[1]
            latents = torch.zeros(len(blocks), grid.n_features, device=blocks.device)
            latents[:, : scores.shape[1]] = scores * (FIRST_DEVIATION * limit / deviations[0].clamp(min=1e-6))
            grids[index][level] = latents.clamp_(-limit, limit).view(resolution, resolution, -1)
            if index != todo[-1]:
                image = image - _unblock(scores @ vectors.t() + mean, resolution, image.shape)
    # A texture with fewer mips than a grid has levels never reads the coarsest ones.
    for grid, levels in zip(layout.grids, grids):
        for level in range(grid.n_levels - layout.mips):
            levels[level] = torch.zeros(
                grid.resolution(level), grid.resolution(level), grid.n_features, device=levels[grid.n_levels - 1].device
            )
    return [[levels[level] for level in sorted(levels)] for levels in grids]


def _unblock(blocks: torch.Tensor, resolution: int, shape: torch.Size) -> torch.Tensor:
    """Put blocks [r * r, K] back together as an image of `shape` [H, W, C]."""
    side = round((blocks.shape[1] // shape[2]) ** 0.5)
    image = blocks.view(resolution, resolution, side, side, shape[2]).permute(0, 2, 1, 3, 4)
    image = image.reshape(resolution * side, resolution * side, shape[2])
    return image if image.shape == shape else resized(image, shape[0], shape[1])
