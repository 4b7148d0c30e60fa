"""Bits per texel before training: what a layout will cost on disk, and grids that cost what the user asked for."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator

from configs import HashGridConfig, ModelConfig
from dds import FORMATS, HEADER_BYTES
from model.layout import GridLayout, ModelLayout, model_layout
from quantize import container_format
from utils.errors import UsageError

NPZ_OVERHEAD_BYTES = 530
"""About what the archive adds to the weights, bytes."""


def finest_level_bytes(grid: GridLayout, storage: str) -> int:
    """Return the bytes of a grid's DDS files as if they held the finest level alone, headers included."""
    texel_bytes = FORMATS[container_format(grid.quantize_bits, storage)].texel_bytes
    files = -(-grid.n_features // 4)
    return files * (HEADER_BYTES + grid.max_resolution ** 2 * texel_bytes)


def estimated_bpp(layout: ModelLayout, storage: str, precision: str) -> float:
    """Return the bits per texel (finest levels and decoder) that an export will have, to a few bytes."""
    weights = layout.n_weights * (2 if precision == "float16" else 4) + NPZ_OVERHEAD_BYTES
    grids = sum(finest_level_bytes(grid, storage) for grid in layout.grids)
    return 8 * (weights + grids) / (layout.width * layout.height)


def _with_grids(model: ModelConfig, grids: list[HashGridConfig]) -> ModelConfig:
    return dataclasses.replace(model, hash_grid_configs=copy.deepcopy(grids))


def _scaled(model: ModelConfig, scale: float, width: int, height: int) -> ModelConfig:
    """Scale every grid's side by about `scale`, to sides that halve at least three times."""
    grids = []
    for grid in model.hash_grid_configs:
        side = math.sqrt(width * height) / grid.texels_per_cell * scale
        step = 8 if side >= 64 else 4 if side >= 16 else 1
        grids.append(dataclasses.replace(grid, max_resolution=max(step, round(side / step) * step), n_levels=0))
    return _with_grids(model, grids)


def splits(model: ModelConfig, preset: str) -> Iterator[ModelConfig]:
    """Yield ways to spread bits over grids for a preset: its own, then those that suit other rates and materials."""
    yield model
    fine = model.hash_grid_configs[0]
    for template in RATE_LADDER.get(preset, ()):
        yield _with_grids(model, [dataclasses.replace(fine, max_resolution=0, n_levels=0, **grid) for grid in template])


def _grid(texels_per_cell: float, save_bits: int, interpolation: str) -> dict[str, object]:
    return {"texels_per_cell": texels_per_cell, "save_bits": save_bits, "interpolation": interpolation,
            "quantize_bits": 4}


RATE_LADDER: dict[str, tuple[tuple[dict[str, object], ...], ...]] = {
    "quality": (
        (_grid(8, 64, "gather"), _grid(16, 32, "bilinear")),
        (_grid(4, 64, "gather"), _grid(8, 32, "bilinear")),
        (_grid(2, 32, "gather"), _grid(4, 32, "bilinear")),
        (_grid(2, 64, "gather"), _grid(4, 32, "bilinear")),
    ),
}
"""Per preset, grid sets from few bits to many."""


def plan_for_bpp(model: ModelConfig, preset: str, width: int, height: int, target_bpp: float, storage: str
                 ) -> ModelConfig:
    """Return `model` with grids whose export costs at most about `target_bpp` on a `width x height` texture.

    Of the preset's grid sets the one nearest in rate is taken, then its sides are fitted. Raises `UsageError`
    where the decoder alone costs more.
    """
    def cost(candidate: ModelConfig) -> float:
        return estimated_bpp(model_layout(candidate, width, height), storage, model.network_precision)
    decoder = cost(model) - 8 * sum(finest_level_bytes(grid, storage)
                                    for grid in model_layout(model, width, height).grids) / (width * height)
    if target_bpp <= decoder * 1.05:
        raise UsageError(f"target_bpp {target_bpp:g} leaves no room for grids: the decoder alone takes {decoder:.2f} "
                         f"bits per texel at {width} x {height}; ask for more, or use fewer n_neurons")
    nearest = min(splits(model, preset), key=lambda candidate: abs(math.log(cost(candidate) / target_bpp)))
    if 0.97 * target_bpp <= cost(nearest) <= 1.002 * target_bpp:
        return nearest
    scale = math.sqrt((target_bpp - decoder) / max(cost(nearest) - decoder, 1e-9))
    candidates = [_scaled(nearest, scale * factor, width, height) for factor in (1.04, 1.02, 1.01, 1, .99, .98, .96, .94, .9, .8)]
    fitting = [candidate for candidate in candidates if cost(candidate) <= 1.002 * target_bpp]
    if not fitting:
        raise UsageError(f"target_bpp {target_bpp:g} is too little for a {width} x {height} texture; ask for more")
    return max(fitting, key=cost)
