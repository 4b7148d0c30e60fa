"""Bits per texel before training: what a layout will cost on disk, and grids that cost what the user asked for."""

from __future__ import annotations

import copy
import dataclasses
import math
import typing
from collections.abc import Collection, Iterator

from configs import GRID_FLAGS, N_CHANNELS, HashGridConfig, ModelConfig
from formats.export_folder import fetched_bytes
from formats.storage import GridStorage, grid_storage
from model.decoder.stored_weights import stored_bytes
from model.layout import GridLayout, ModelLayout, model_layout
from utils.errors import UsageError

SIDE_FACTORS = (1.04, 1.02, 1.01, 1.0, 0.99, 0.98, 0.96, 0.94, 0.9, 0.8, 0.65, 0.5, 0.35)
"""Tried around the side that should meet a rate, because sides come in steps."""
NEAR = (0.9, 1.035)
"""A grid set whose rate is within these factors of what was asked is taken as it is."""
WHOLE_CELLS = (0.72, 1.002)
"""The same where cells should stay whole texels, for the linear decoder's sake."""
NPZ_OVERHEAD_BYTES = 530
"""About what the archive adds to the weights, bytes."""


def layout_storage(grid: GridLayout, storage: str) -> GridStorage:
    """Return how a grid of a layout is stored."""
    return grid_storage(grid.bits, storage)


def finest_level_bytes(grid: GridLayout, storage: str) -> int:
    """Return the bytes of a grid's DDS files as if they held the finest level alone, headers included."""
    return layout_storage(grid, storage).finest_bytes(grid.max_resolution)


def bytes_fetched(layout: ModelLayout, storage: str) -> int:
    """Return the bytes that one decoded texel touches: four taps of every texture of every grid, as they are stored."""
    return fetched_bytes([layout_storage(grid, storage) for grid in layout.grids])


def estimated_bpp(layout: ModelLayout, storage: str, n_outputs: int = N_CHANNELS) -> float:
    """Return the bits per texel (finest levels and decoder) that an export will have, to a few bytes.

    `n_outputs` channels are present; of a linear decoder the others are not stored.
    """
    weights = stored_bytes(layout, n_outputs) + NPZ_OVERHEAD_BYTES
    grids = sum(finest_level_bytes(grid, storage) for grid in layout.grids)
    return 8 * (weights + grids) / (layout.width * layout.height)


def decoder_bpp(model: ModelConfig, width: int, height: int, storage: str, n_outputs: int = N_CHANNELS) -> float:
    """Return the bits per texel that the decoder alone takes."""
    layout = model_layout(model, width, height)
    grids = sum(finest_level_bytes(grid, storage) for grid in layout.grids)
    return estimated_bpp(layout, storage, n_outputs) - 8 * grids / (width * height)


def _with_grids(model: ModelConfig, grids: list[HashGridConfig]) -> ModelConfig:
    return dataclasses.replace(model, hash_grid_configs=copy.deepcopy(grids))


def _scaled(model: ModelConfig, scale: float, width: int, height: int) -> ModelConfig:
    """Scale every grid's side by about `scale`, to sides that halve exactly at least twice, or n_levels - 1 times."""
    grids = []
    for grid, laid in zip(model.hash_grid_configs, model_layout(model, width, height).grids, strict=True):
        side = laid.max_resolution * scale
        step = 1 << (grid.n_levels - 1) if grid.n_levels else 8 if side >= 64 else 4 if side >= 16 else 1
        grids.append(dataclasses.replace(grid, max_resolution=max(step, round(side / step) * step)))
    return _with_grids(model, grids)


def decoders(model: ModelConfig, given: Collection[str] = ()) -> list[ModelConfig]:
    """Return a model with its own decoder, then with ever smaller ones, for rates at which that is too large a share.

    Beside a linear decoder the network can do without weights that depend on the place, and then with one narrow layer.
    What was `given` by hand stays; other models have their own decoder alone.
    """
    if model.linear_order is None:
        return [model]
    smaller = [model]
    steps: list[dict[str, typing.Any]] = [
        {"position_order": 0},
        {"n_hidden_layers": 1, "n_neurons": 32},
        {"n_neurons": 16},
    ]
    for fields in steps:
        last = smaller[-1]
        free = {name: value for name, value in fields.items() if name not in given and value < getattr(last, name)}
        if free:
            smaller.append(dataclasses.replace(last, **free))
    return smaller


def splits(model: ModelConfig, preset: str, given: Collection[str] = ()) -> Iterator[ModelConfig]:
    """Yield ways to spread bits over grids for a preset: its own, then those of its ladder.

    What was `given` by hand (names of flags) holds in all of them: one field of every grid, or the grids themselves.
    """
    yield model
    if "hash_grid_configs" in given:
        return
    held = {field: getattr(model.hash_grid_configs[0], field) for flag, field in GRID_FLAGS.items() if flag in given}
    for grids in RATE_LADDER.get(preset, ()):
        yield _with_grids(model, [grid.with_fields(held) for grid in grids])


def _mixed(*cells_and_bits: tuple[float, int]) -> list[HashGridConfig]:
    """Return grids whose bits follow the material: gathered ones with cells of 4 texels, blended ones with larger cells;
    (texels per cell, bits per grid texel) each.
    """
    return [
        HashGridConfig(
            texels_per_cell=cells,
            texel_bits=bits,
            learning_rate=NEWTON_SHARE,
            interpolation="gather" if cells == GATHERED_CELL else "bilinear",
        )
        for cells, bits in cells_and_bits
    ]


GATHERED_CELL = 4
"""Texels of a cell for which a linear order of 3 is a decoder of its own for every place."""
NEWTON_SHARE = 2.0
"""Learning rate of grids beside a linear decoder."""
_REALTIME_LADDER = tuple(
    _mixed(*((GATHERED_CELL, bits) for bits in parts))
    for parts in ((16,), (32,), (64,), (64, 32), (128,), (128, 32), (128, 64), (128, 128), (128, 128, 128))
)
"""1, 2, 4, 6, 8, 10, 12, 16 and 24 bits per texel: whole textures of 1, 2 and 4 words."""
_QUALITY_LADDER = tuple(grids for fine in _REALTIME_LADDER for grids in (fine, [*fine, *_mixed((8, 32))]))
"""The same, and each with half a bit more in a grid of smooth features."""
RATE_LADDER: dict[str, tuple[list[HashGridConfig], ...]] = {
    "quality": _QUALITY_LADDER,
    "fast": _QUALITY_LADDER,
    "realtime": _REALTIME_LADDER,
}
"""Per preset, grid sets from few bits to many. Cells are whole texels where they can be: others are
slower to train and give less (`python -m benchmarks.ablation`, "cells of 3.9 texels")."""


def plan_for_bpp(
    model: ModelConfig,
    preset: str,
    width: int,
    height: int,
    target_bpp: float,
    storage: str,
    given: Collection[str] = (),
    n_outputs: int = N_CHANNELS,
) -> ModelConfig:
    """Return `model` with grids whose export costs at most about `target_bpp` on a `width x height` texture.

    Of the preset's grid sets (`splits`) the one nearest in rate is taken; where it is not `NEAR` (with a linear decoder:
    within `WHOLE_CELLS`), its sides are fitted. `n_outputs` channels are present.
    Raises `UsageError` where the decoder alone costs more, or the flags that were `given` leave no grids that fit.
    """

    def cost(candidate: ModelConfig) -> float:
        return estimated_bpp(model_layout(candidate, width, height), storage, n_outputs)

    def distance(candidate: ModelConfig) -> float:
        return abs(math.log(cost(candidate) / target_bpp))

    least, most = (factor * target_bpp for factor in (NEAR if model.linear_order is None else WHOLE_CELLS))
    candidates = [list(splits(smaller, preset, given)) for smaller in decoders(model, given)]
    # The first two decoders are weighed against grids; smaller ones are for textures that those take too much of.
    for group in (sum(candidates[:2], []), *candidates[2:]):
        under = [candidate for candidate in group if least <= cost(candidate) <= most]
        if under:
            return min(under, key=distance)
    for group in candidates:
        shares = {index: decoder_bpp(each, width, height, storage, n_outputs) for index, each in enumerate(group)}
        roomy = [group[index] for index, share in shares.items() if target_bpp > 1.05 * share]
        if roomy:
            nearest = min(roomy, key=distance)
            break
    else:
        raise UsageError(
            f"target_bpp {target_bpp:g} leaves no room for grids: the decoder alone takes {min(shares.values()):.2f} "
            f"bits per texel at {width} x {height}; ask for more, or use fewer n_neurons"
        )
    decoder = decoder_bpp(nearest, width, height, storage, n_outputs)
    scale = math.sqrt(max(target_bpp - decoder, 0) / max(cost(nearest) - decoder, 1e-9))
    fitted = [_scaled(nearest, scale * factor, width, height) for factor in SIDE_FACTORS]
    fitting = [candidate for candidate in fitted if cost(candidate) <= 1.002 * target_bpp]
    if not fitting:
        held = [f"--{flag}" for flag in (*GRID_FLAGS, "hash_grid_configs") if flag in given]
        raise UsageError(
            f"target_bpp {target_bpp:g} is too little for a {width} x {height} texture"
            + (f" with {', '.join(held)}" if held else "")
            + "; ask for more"
            + (", or leave them out" if held else "")
        )
    return max(fitting, key=cost)
