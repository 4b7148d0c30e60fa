"""Whether what a checkpoint holds fits together: its model to its settings, and the state that training goes on from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import ConfigDict, ValidationError, create_model

from configs import TEXTURE_CHANNELS, config_from_dict
from model.layout import ModelLayout, model_layout
from training.schedule import Schedule
from utils.errors import UsageError
from utils.invalid_values import error_message

if TYPE_CHECKING:
    from training.checkpoint import Checkpoint

_STRICT: ConfigDict = {"extra": "forbid", "strict": True, "allow_inf_nan": False}
_SCHEDULE: dict[str, Any] = {
    entry.name: (Literal["iterations", "seconds"] if entry.name == "unit" else float, ...)
    for entry in dataclasses.fields(Schedule)
}
_Schedule: Any = create_model("schedule", __config__=_STRICT, **_SCHEDULE)
_Sampler: Any = create_model(
    "sampler", __config__={**_STRICT, "extra": "ignore"}, drawn=(list[int], ...), steps=(int, ...)
)

_MapFacts: Any = create_model(
    "map_facts", __config__=_STRICT, depth=(int, ...), range=(list[float], []), holds=(str, "")
)


def content_problem(saved: Checkpoint) -> str | None:
    """Return what is wrong with the values of a checkpoint whose entries have the right types; None where nothing is.

    The state of the optimisers is left to who restores it.
    """
    return next(_problems(saved), None)


def _problems(saved: Checkpoint) -> Iterator[str]:
    for name, allowed in (
        ("backend", ("torch", "tcnn")),
        ("precision", ("float32", "bfloat16")),
        ("normal_convention", ("opengl", "directx")),
    ):
        if getattr(saved, name) not in allowed:
            yield f"{name} is {getattr(saved, name)!r}, none of {', '.join(allowed)}"
    if list(saved.present) != list(TEXTURE_CHANNELS) or not any(saved.present.values()):
        yield f"present names the maps {', '.join(saved.present)}, not {', '.join(TEXTURE_CHANNELS)}"
    if min(saved.width, saved.height) < 1 or saved.iteration < 0:
        yield f"{saved.width} x {saved.height} texels after {saved.iteration} iterations cannot be"
    try:
        layout = model_layout(config_from_dict(saved.config).model, saved.width, saved.height)
    except UsageError as error:
        yield str(error)
        return
    yield from _model_problems(saved, layout)
    parts: list[tuple[tuple[str, ...], dict[str, Any], Any]] = [
        (("map_facts", name), facts, _MapFacts) for name, facts in saved.map_facts.items()
    ]
    parts.append((("sampler",), saved.sampler, _Sampler))
    # Version 1 has no schedule.
    if saved.schedule:
        parts.append((("schedule",), saved.schedule, _Schedule))
    for path, values, model in parts:
        try:
            model.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            yield error_message({**first, "loc": (*path, *first["loc"])})
            return
    if saved.schedule and not saved.schedule["end"] > saved.schedule["start"]:
        yield "schedule: its end is not after its start"
    if len(saved.sampler["drawn"]) != layout.mips:  # type: ignore[arg-type]
        yield f"sampler.drawn is not of {layout.mips} mips"
    for entry in saved.history:
        for name in ("iteration", "psnr_db"):
            if name not in entry:
                yield f"history: an evaluation without {name}"


def _model_problems(saved: Checkpoint, layout: ModelLayout) -> Iterator[str]:
    """Yield where grids and network are not of the shapes that the settings give them."""
    if len(saved.grids) != len(layout.grids):
        yield f"it has {len(saved.grids)} grids, its settings {len(layout.grids)}"
    for index, (levels, grid) in enumerate(zip(saved.grids, layout.grids)):
        if len(levels) != grid.n_levels:
            yield f"grid {index} has {len(levels)} levels, {grid.n_levels} in its settings"
        for level, values in enumerate(levels):
            side = grid.resolution(level)
            yield from _tensor_problem(f"level {level} of grid {index}", values, (side, side, grid.n_features))
    yield from _tensor_problem("network", saved.network, (layout.n_weights,))


def _tensor_problem(name: str, values: torch.Tensor, shape: tuple[int, ...]) -> Iterator[str]:
    if tuple(values.shape) != shape or values.dtype != torch.float32:
        found = " x ".join(map(str, values.shape)) or "a single value"
        yield (
            f"{name} is {found} of {str(values.dtype).removeprefix('torch.')}, its settings ask for "
            f"{' x '.join(map(str, shape))} of float32"
        )
