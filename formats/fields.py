"""Bit fields of 32-bit words: where each feature of a texel lies, and codes packed so and unpacked again.

Features follow each other from the lowest bit of word 0; one that does not fit what is left of a word starts the next,
so that a shader takes it with one shift and one mask. A texel's words lie in one texture of 1, 2 or 4 of them where
that is enough, else in as many textures of four as it takes; words are counted across these files. As RGBA8, every word
is a texture of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

WORD_BITS = 32
FIELD_BITS = (1, 2, 3, 4, 5, 6, 7, 8, 16)
"""Bits that a field can have."""
TEXTURE_WORDS = (1, 2, 4)
"""Words of a texel that one texture can hold."""
WORD_FORMATS = {"R8G8B8A8_UNORM": 1, "R32_UINT": 1, "R32G32_UINT": 2, "R32G32B32A32_UINT": 4}
"""Texture formats that hold words, and how many a texel; of R8G8B8A8 R is the lowest byte."""


class BitField(NamedTuple):
    """Where a feature's code lies in a texel: bits `shift .. shift + bits - 1` of a word, bit 0 the lowest."""

    word: int
    shift: int
    bits: int


def lay_out_fields(bits: Sequence[int]) -> list[BitField]:
    """Return the fields of features with so many bits each, in feature order.

    >>> lay_out_fields([16, 8, 4, 8])
    [BitField(word=0, shift=0, bits=16), BitField(word=0, shift=16, bits=8), BitField(word=0, shift=24, bits=4), \
BitField(word=1, shift=0, bits=8)]
    """
    fields, word, shift = [], 0, 0
    for count in bits:
        if count not in FIELD_BITS:
            raise ValueError(f"a field of {count} bits; a feature has 1 to 8 bits, or 16")
        if shift + count > WORD_BITS:
            word, shift = word + 1, 0
        fields.append(BitField(word, shift, count))
        shift += count
    return fields


def word_count(fields: Sequence[BitField]) -> int:
    """Return the words of a texel that fields lie in."""
    return 1 + max(field.word for field in fields)


def texture_words(n_words: int) -> int:
    """Return how many words of a texel one texture holds, where there are so many: 1, 2 or 4.

    >>> [texture_words(n) for n in (1, 2, 3, 4, 9)]
    [1, 2, 4, 4, 4]
    """
    return next((count for count in TEXTURE_WORDS if count >= n_words), TEXTURE_WORDS[-1])


def padded_words(fields: Sequence[BitField]) -> int:
    """Return the words of the whole textures that fields lie in: 1, 2, 4 or a multiple of 4."""
    n_words = word_count(fields)
    held = texture_words(n_words)
    return -(-n_words // held) * held


def pack_fields(codes: np.ndarray, fields: Sequence[BitField]) -> np.ndarray:
    """Pack codes `[r, r, F]` into words, uint32 `[r, r, W]`, `W` being `padded_words`.

    Raises `ValueError` where a code does not fit its field.
    """
    words = np.zeros((*codes.shape[:-1], padded_words(fields)), np.uint32)
    for feature, (word, shift, bits) in enumerate(fields):
        part = codes[..., feature]
        if part.size and (part.min() < 0 or part.max() >= 1 << bits):
            raise ValueError(f"codes of feature {feature} do not fit {bits} bits")
        words[..., word] |= part.astype(np.uint32) << np.uint32(shift)
    return words


def unpack_field(words: np.ndarray, field: BitField) -> np.ndarray:
    """Return one feature's codes, uint32 `[...]`, from words `[..., W]`."""
    return words[..., field.word] >> np.uint32(field.shift) & np.uint32((1 << field.bits) - 1)


def unpack_fields(words: np.ndarray, fields: Sequence[BitField]) -> np.ndarray:
    """Undo `pack_fields`: int32 codes `[r, r, F]`."""
    return np.stack([unpack_field(words, field) for field in fields], axis=-1).astype(np.int32)


def words_to_level(words: np.ndarray, as_bytes: bool) -> np.ndarray:
    """Return a texture's level array of words `[r, r, n]`: themselves, or one word's bytes, lowest first, `[r, r, 4]`."""
    words = np.ascontiguousarray(words, "<u4")
    return words.view(np.uint8) if as_bytes else words


def level_to_words(level: np.ndarray) -> np.ndarray:
    """Undo `words_to_level`."""
    return np.ascontiguousarray(level).view("<u4") if level.dtype == np.uint8 else level


def level_scale(bits: int) -> tuple[float, float]:
    """Return the scale and offset that bring a code's stored value, 0 to 1, to its feature.

    >>> level_scale(2)
    (0.75, -0.375)
    """
    steps = 1 << bits
    return (steps - 1) / steps, -(steps - 1) / 2 / steps


def is_level_scale(bits: int, scale: float, offset: float) -> bool:
    """Return whether a grid's scale and offset are those of `level_scale`."""
    expected = level_scale(bits)
    return max(abs(scale - expected[0]), abs(offset - expected[1])) <= 1e-6


def field_values(bits: int) -> np.ndarray:
    """Return the feature of every code of a field: float32 `[2^bits]`, exact.

    >>> field_values(2)
    array([-0.375, -0.125,  0.125,  0.375], dtype=float32)
    """
    steps = 1 << bits
    return ((np.arange(steps) - (steps - 1) / 2) / steps).astype(np.float32)
