"""Types of manifest.json's values, with the limits that keep a file from asking for much memory."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

MOST_SIDE = 1 << 16
MOST_TEXELS = 1 << 28
"""Largest texture, 16384 x 16384 or as many texels in another shape: no file can ask for more memory than that."""
MOST_GRID_SIDE = 1 << 14
"""Finest level of a grid, texels per side: as large as a texture of any engine."""
MOST_FEATURES = 1 << 10


def _plain(name: str) -> str:
    if name in (".", "..") or not name.isprintable() or any(sign in name for sign in "/\\:"):
        raise ValueError("the name of a file beside the manifest, without a folder")
    return name


def not_null(value: Any) -> Any:
    """Refuse null for a key that may be missing: with one way to leave it out no reader overlooks the other."""
    if value is None:
        raise PydanticCustomError("null", "a value, or no such key")
    return value


Whole = Annotated[int, Field(ge=0, le=1 << 31)]
Count = Annotated[int, Field(ge=1, le=1 << 31)]
Width = Annotated[int, Field(ge=1, le=1 << 14)]
"""Values of one layer, of which a decoder holds some thousand texels' at once."""
Side = Annotated[int, Field(ge=1, le=MOST_SIDE)]
GridSide = Annotated[int, Field(ge=1, le=MOST_GRID_SIDE)]
ByteCount = Annotated[int, Field(ge=0, le=1 << 40)]
FileName = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_plain)]
# Features are float16 numbers at most; more would overflow in the decoder.
Factor = Annotated[float, Field(ge=-65504, le=65504)]
Figure = Annotated[float, Field(ge=-1e6, le=1e6)]
Figures = Annotated[list[Figure | None], Field(max_length=32)]


class Part(BaseModel):
    """An object of the manifest: its known keys are checked, others are allowed."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)
