"""A closed-form coder of materials: what a linear transform of blocks knows, found in seconds and without training.

A block of all present channels is a vector `x` (`block_statistics`). The Karhunen-Loeve transform, the eigenvectors `E`
of the covariance, makes uncorrelated components of it, `y = E^T (x - m)`; each component gets a whole number of bits,
the same in all blocks, by greedy water-filling: the next bit goes where it takes most from the squared error. `b` bits
are `2^b` evenly spaced levels around 0, whose step suits the values of the component. Decoding is linear,
`x = m + E y`, and rounded to 8 bits. All blocks have one length, so that any block is found and decoded by itself.
"""

from __future__ import annotations

import heapq
import math
import time
from dataclasses import dataclass, field

import numpy as np

from baselines.block_statistics import block_statistics, block_strips, texels_of_blocks

MOST_BITS = 12
"""Bits of one component."""
WORD_BITS = 128
"""Bits of the widest texel of a texture: so many come with one fetch."""
_LOOK_AHEAD = 3
_BINS = 1 << 14
"""Bins of the histogram of a component: four or more to a step."""
_COARSE = 0.75 ** np.arange(14)
_FINE = np.array([0.84, 0.92, 1.0, 1.09, 1.18])
"""Steps that are tried, in parts of the one that spans all values, and then in parts of the best of these.

Even values ask for the whole span, Gaussian ones for about half of it, rare large values for a small part.
"""


@dataclass
class BlockTransform:
    """The transform of one material's blocks, and how the values of its components are distributed."""

    side: int
    mean: np.ndarray
    """[D] float32"""
    basis: np.ndarray
    """[D, D] float32, a column for each component, rounded to float16, as it is stored"""
    spans: np.ndarray
    """[D] float32, the largest absolute value of each component"""
    counts: np.ndarray
    """[D, bins] int32, how many values of each component lie where between -span and span"""
    _choices: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict)

    def quantiser(self, component: int, bits: int) -> tuple[float, float]:
        """Return the step of `2^bits` levels for a component, and the mean squared error that it leaves."""
        if (component, bits) not in self._choices:
            self._choices[component, bits] = self._best_step(component, bits)
        return self._choices[component, bits]

    def _best_step(self, component: int, bits: int) -> tuple[float, float]:
        bins, span = np.flatnonzero(self.counts[component]), float(self.spans[component])
        values = ((bins + 0.5) * (2 / _BINS) - 1) * span
        weights = self.counts[component, bins] / self.counts[component].sum()
        if bits == 0 or span == 0:
            return 0.0, float(weights @ np.square(values))
        best, least = 2 * span / (1 << bits), math.inf
        for ratios in (_COARSE, _FINE):
            for step in best * ratios:
                rounded = _dequantise(_quantise(values, step, 1 << bits), step, 1 << bits)
                error = float(weights @ np.square(values - rounded))
                if error < least:
                    best, least = float(step), error
        return best, least


@dataclass(frozen=True)
class CodedBlocks:
    """A material as blocks of one length, and what a decoder needs beside them."""

    payload: np.ndarray
    """[blocks, bytes] uint8; the last bits of a row may be unused"""
    bits: np.ndarray
    """[D] of each component"""
    steps: np.ndarray
    """[D] float32"""
    decoded: np.ndarray
    """uint8 `[H, W, C]`"""
    encode_time_s: float

    @property
    def block_bits(self) -> int:
        """Bits of a block."""
        return int(self.bits.sum())

    @property
    def components(self) -> int:
        """Components that have bits: so many columns the basis needs, and multiply-adds a decoded number."""
        return int(np.count_nonzero(self.bits))

    @property
    def size_bytes(self) -> int:
        """Bytes of all blocks, one after another."""
        return math.ceil(len(self.payload) * self.block_bits / 8)

    @property
    def table_bytes(self) -> int:
        """Bytes of basis (float16), mean and steps (float32) and bits (a byte each)."""
        return self.components * (2 * len(self.bits) + 4) + 5 * len(self.bits)

    @property
    def fetches(self) -> int:
        """Fetches of 128 bits that bring one block."""
        return math.ceil(self.block_bits / WORD_BITS)


def _quantise(values: np.ndarray, step: np.ndarray | float, levels: np.ndarray | int) -> np.ndarray:
    """Return the codes 0 .. levels - 1 of values, as floats."""
    return np.clip(np.floor(values / step + np.float32(0.5) * levels), 0, levels - 1)


def _dequantise(codes: np.ndarray, step: np.ndarray | float, levels: np.ndarray | int) -> np.ndarray:
    """Return the levels that codes stand for, evenly spaced around 0."""
    return (codes - np.float32(0.5) * (levels - 1)) * step


def fit_transform(image: np.ndarray, channels: list[int], side: int) -> BlockTransform:
    """Return the transform of the blocks of `[H, W, C]` uint8; blocks at the border are completed by repeating texels."""
    statistics = block_statistics(image, channels, side, pad=True)
    _, vectors = np.linalg.eigh(statistics.covariance)
    basis = vectors[:, ::-1].astype(np.float16).astype(np.float32)
    mean = statistics.mean.astype(np.float32)
    spans = np.zeros(len(mean), np.float32)
    for _, blocks in block_strips(image, channels, side, pad=True):
        np.maximum(spans, np.abs((blocks.astype(np.float32) - mean) @ basis).max(0), out=spans)
    # Of all blocks, not of a sample: one block in thousands may hold the values that cost most.
    counts = np.zeros((len(mean), _BINS), np.int32)
    first = np.arange(len(mean)) * _BINS
    scale = _BINS / np.maximum(2 * spans, np.float32(1e-20))
    for _, blocks in block_strips(image, channels, side, pad=True):
        place = ((blocks.astype(np.float32) - mean) @ basis + spans) * scale
        flat = (np.clip(place.astype(np.int32), 0, _BINS - 1) + first).ravel()
        counts += np.bincount(flat, minlength=counts.size).reshape(counts.shape).astype(np.int32)
    return BlockTransform(side, mean, basis, spans, counts)


def allocate_bits(transform: BlockTransform, block_bits: int) -> np.ndarray:
    """Return the bits [D] of each component, at most `block_bits` together, where each lowers the error most.

    Up to `_LOOK_AHEAD` bits are given at once: where most values are alike and a few are far away, one bit more gains
    next to nothing and two gain much.
    """
    bits = np.zeros(transform.basis.shape[1], np.int64)
    left = block_bits

    def best_gain(component: int) -> tuple[float, int, int] | None:
        """The error that is left a bit less, negative, the component, and for how many bits."""
        now = int(bits[component])
        error = transform.quantiser(component, now)[1]
        options = [
            ((transform.quantiser(component, now + more)[1] - error) / more, component, more)
            for more in range(1, min(_LOOK_AHEAD, left, MOST_BITS - now) + 1)
        ]
        best = min(options, default=None)
        return best if best and best[0] < 0 else None

    queue = [gain for component in range(len(bits)) if (gain := best_gain(component))]
    heapq.heapify(queue)
    while queue:
        _, component, more = heapq.heappop(queue)
        if more <= left:
            bits[component] += more
            left -= more
        gain = best_gain(component)
        if gain:
            heapq.heappush(queue, gain)
    return bits


def pack_codes(codes: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Pack codes `[N, K]` of `bits` [K] each, most significant bit first, to `[N, bytes]` uint8."""
    component, place = _bit_places(bits)
    return np.packbits((codes[:, component] >> place & 1).astype(np.uint8), axis=1)


def unpack_codes(payload: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Undo `pack_codes`: `[N, K]` int32."""
    component, place = _bit_places(bits)
    planes = np.unpackbits(payload, axis=1, count=len(component)).astype(np.int32) << place
    starts = np.concatenate([[0], np.cumsum(bits)[:-1]])
    return np.add.reduceat(planes, starts, axis=1) if len(component) else np.zeros((len(payload), 0), np.int32)


def _bit_places(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the component and the significance of every bit of a block."""
    component = np.repeat(np.arange(len(bits)), bits)
    first = np.repeat(np.cumsum(bits) - bits, bits)
    return component, (bits[component] - 1 - (np.arange(len(component)) - first)).astype(np.int32)


def encode_blocks(image: np.ndarray, channels: list[int], transform: BlockTransform, bpp: float) -> CodedBlocks:
    """Encode `[H, W, C]` uint8 with at most `bpp` bits per texel of whole blocks, and decode it again from the bits."""
    start = time.perf_counter()
    side = transform.side
    # A tolerance, because rates such as 4.1 are no binary fractions.
    bits = allocate_bits(transform, int(bpp * side * side + 1e-9))
    used = np.flatnonzero(bits)
    steps = np.zeros(len(bits), np.float32)
    steps[used] = [transform.quantiser(int(component), int(bits[component]))[0] for component in used]
    basis, levels = transform.basis[:, used], (1 << bits[used]).astype(np.float32)
    height, width = image.shape[:2]
    payload, encode_s = [], time.perf_counter() - start
    decoded = np.empty((height, width, len(channels)), np.uint8)
    for rows, blocks in block_strips(image, channels, side, pad=True):
        start = time.perf_counter()
        values = (blocks.astype(np.float32) - transform.mean) @ basis
        packed = pack_codes(_quantise(values, steps[used], levels).astype(np.int32), bits[used])
        encode_s += time.perf_counter() - start
        payload.append(packed)
        read = _dequantise(unpack_codes(packed, bits[used]).astype(np.float32), steps[used], levels)
        rounded = np.floor(np.clip(read @ basis.T + transform.mean, 0, 255) + np.float32(0.5)).astype(np.uint8)
        texels = texels_of_blocks(rounded, side, -(-width // side))
        decoded[rows] = texels[: rows.stop - rows.start, :width]
    return CodedBlocks(np.concatenate(payload), bits, steps, decoded, encode_s)
