"""Any exported grid as 32-bit words, which every GPU can read: what shaders that unpack features are fed with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from formats.fields import BitField, lay_out_fields, pack_fields, padded_words
from formats.reader import NeuralTextureReader
from formats.storage import require_level_values


class GridWords(NamedTuple):
    """A grid's features as bit fields."""

    levels: list[np.ndarray]
    """The stored levels, finest first: uint32 `[r, r, W]`; W is 1, 2, 4 or a multiple of 4."""
    fields: list[BitField]
    """Where each feature lies, in feature order; it is `(k - (2^bits - 1) / 2) / 2^bits` of the field's code k, or where
    the grid has curves what the feature's curve makes of that."""


def grid_words(reader: NeuralTextureReader, g: int) -> GridWords:
    """Return grid `g` of an export as words: as they are stored where it is packed, else packed here.

    The codes are the same however the grid is stored; raises `UserError` where a value in its files is no code, or
    where its `scale` and `offset` are not those of its bits.
    """
    grid = reader.grid(g)
    if grid.storage.fields is None:
        require_level_values(grid.entry, grid.path)
        fields = lay_out_fields(grid.storage.bits)
        levels = [pack_fields(codes, fields) for codes in grid.codes()]
    else:
        fields = list(grid.storage.fields)
        levels = [_padded(grid.storage.words(level), padded_words(fields)) for level in grid.levels]
    return GridWords([np.ascontiguousarray(level, np.uint32) for level in levels[::-1]], fields)


def _padded(words: np.ndarray, count: int) -> np.ndarray:
    """Append zero words: three words of RGBA8 textures fill no texture of words."""
    return np.pad(words, ((0, 0), (0, 0), (0, max(count - words.shape[-1], 0))))[..., :count]
