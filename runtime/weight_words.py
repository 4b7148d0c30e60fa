"""The 16-byte words of `weights.bin` as it grows: rows of matrices in whole words, matrices on 64 bytes."""

from __future__ import annotations

import numpy as np

WORD_BYTES = 16
WORD_WEIGHTS = {"float32": 4, "float16": 8, "int8": 16}
"""Weights in a word."""
_MATRIX_WORDS = 4
"""Matrices start on multiples of so many words, as cooperative vectors ask for."""
_DTYPES = {"float32": "<f4", "float16": "<f2", "int8": "<i1"}


def row_words(columns: int, precision: str) -> int:
    """Return the words that a row of so many weights takes.

    >>> row_words(20, "float16")
    3
    """
    return -(-columns // WORD_WEIGHTS[precision])


def padded_rows(matrix: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return an array with zeros appended along an axis up to a multiple of 4."""
    widths = [(0, 0)] * matrix.ndim
    widths[axis] = (0, -matrix.shape[axis] % 4)
    return np.pad(matrix, widths)


class Words:
    """Words of the file as it grows."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._words = 0

    def joined(self) -> bytes:
        """Return the whole file."""
        return b"".join(self._parts)

    def _add(self, data: bytes, align: int) -> int:
        """Append bytes at a multiple of `align` words; returns the first word."""
        gap = -self._words % align
        tail = -len(data) % WORD_BYTES
        first = self._words + gap
        self._parts += [bytes(gap * WORD_BYTES), data, bytes(tail)]
        self._words = first + (len(data) + tail) // WORD_BYTES
        return first

    def add_matrices(self, matrices: np.ndarray, precision: str) -> int:
        """Append matrices `[..., rows, columns]`, rows a multiple of 4, one after another; returns the first word."""
        tail = -matrices.shape[-1] % WORD_WEIGHTS[precision]
        padded = np.pad(matrices, [(0, 0)] * (matrices.ndim - 1) + [(0, tail)])
        return self._add(padded.astype(_DTYPES[precision]).tobytes(), _MATRIX_WORDS)

    def add_floats(self, values: np.ndarray) -> int:
        """Append float32 numbers, four to a word; returns the first word."""
        return self._add(np.asarray(values, "<f4").tobytes(), 1)
