"""The schema of a manifest's decoder: its layers and the linear decoder beside them, as parts of one flat array."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from configs import ACTIVATION_NAMES, N_CHANNELS
from formats.schema_types import ByteCount, FileName, Part, Width, not_null
from utils.invalid_values import shortened

MOST_WEIGHTS = 1 << 25
"""Largest decoder: a small file that is packed to claim more cannot ask for the memory."""

MOST_LINEAR_ORDER = 7
"""Greatest order of the linear decoder's Legendre polynomials."""


def _known_activation(name: str) -> str:
    if name not in ACTIVATION_NAMES:
        raise ValueError(f"one of {', '.join(ACTIVATION_NAMES)}")
    return name


Activation = Annotated[str, AfterValidator(_known_activation)]


class LayerEntry(Part):
    """One matrix among the stored weights."""

    rows: Width
    cols: Width
    offset: ByteCount
    bias_offset: ByteCount | None
    scale_offset: ByteCount | None = None
    activation: Activation


class Linear(Part):
    """The linear decoder's matrix among the stored weights: a row for each of `outputs`."""

    outputs: Annotated[list[Annotated[int, Field(ge=0, le=N_CHANNELS - 1)]], Field(min_length=1, max_length=N_CHANNELS)]
    order: Annotated[int, Field(ge=0, le=MOST_LINEAR_ORDER)]
    cols: Annotated[int, Field(ge=1, le=MOST_WEIGHTS)]
    offset: ByteCount
    scale_offset: ByteCount | None = None

    @model_validator(mode="after")
    def _outputs_rise(self) -> Linear:
        if any(a >= b for a, b in pairwise(self.outputs)):
            raise ValueError(f"outputs is {shortened(str(self.outputs))}, expected channels in rising order")
        return self


class Network(Part):
    """The decoder's weights."""

    file: FileName
    array: Annotated[str, Field(min_length=1, max_length=64)]
    inputs: Width
    outputs: Width
    precision: Literal["float32", "float16", "int8"]
    macs_per_texel: ByteCount
    macs_as_run: ByteCount | None = None
    layers: Annotated[list[LayerEntry], Field(min_length=1, max_length=256)]
    linear: Annotated[Linear | None, AfterValidator(not_null)] = None

    @model_validator(mode="after")
    def _layers_follow_each_other(self) -> Network:
        width = -(-self.inputs // 16) * 16
        for number, layer in enumerate(self.layers):
            if layer.cols != width:
                before = f"{self.inputs} inputs" if number == 0 else f"layer {number - 1}'s rows"
                raise ValueError(f"cols of layer {number} is {layer.cols}, expected {width} for {before}")
            if self.precision == "int8" and layer.scale_offset is None:
                raise ValueError(f"the key scale_offset of layer {number} is missing")
            width = layer.rows
        weights = sum(layer.rows * layer.cols for layer in self.layers)
        if self.linear is not None:
            weights += len(self.linear.outputs) * self.linear.cols
        if weights > MOST_WEIGHTS:
            raise ValueError(f"the layers have {weights} weights, expected at most {MOST_WEIGHTS}")
        if width < N_CHANNELS:
            raise ValueError(f"rows of the last layer is {width}, expected at least {N_CHANNELS}")
        return self
