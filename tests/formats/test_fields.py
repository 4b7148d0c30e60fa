"""Bit fields: where they lie, worked by hand, and that codes survive them in every storage."""

from __future__ import annotations

import numpy as np
import pytest

from configs import QUANTIZE_BITS, STORAGES
from formats.fields import FIELD_BITS, BitField, field_values, lay_out_fields, pack_fields, unpack_fields, word_count
from formats.storage import grid_storage, stored_as
from quantize import level_values
from utils.errors import UsageError


def random_codes(bits, side=8, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.stack([rng.integers(0, 1 << b, (side, side)) for b in bits], axis=-1)
    # The greatest code of all features in one texel, the least in another.
    codes[0, 0], codes[0, 1] = [(1 << b) - 1 for b in bits], 0
    return codes


def test_eight_features_of_four_bits_fill_one_word_from_the_lowest_bit():
    fields = lay_out_fields([4] * 8)
    assert fields == [BitField(0, 4 * f, 4) for f in range(8)]
    assert pack_fields(np.array([[[1, 2, 3, 4, 5, 6, 7, 8]]]), fields).tolist() == [[[0x87654321]]]


def test_a_field_that_does_not_fit_starts_the_next_word():
    fields = lay_out_fields([7, 7, 7, 7, 7, 16, 8, 8, 1])
    assert fields[4:] == [
        BitField(1, 0, 7),
        BitField(1, 7, 16),
        BitField(1, 23, 8),
        BitField(2, 0, 8),
        BitField(2, 8, 1),
    ]


@pytest.mark.parametrize("seed", range(30))
def test_fields_of_any_bits_lie_within_words_and_apart_in_feature_order(seed):
    rng = np.random.default_rng(seed)
    bits = rng.choice(FIELD_BITS, rng.integers(1, 40)).tolist()
    fields = lay_out_fields(bits)
    assert [field.bits for field in fields] == bits
    starts = [32 * field.word + field.shift for field in fields]
    assert all(field.shift + field.bits <= 32 for field in fields)
    assert all(start + b <= after for start, b, after in zip(starts, bits, starts[1:]))
    codes = random_codes(bits)
    assert (unpack_fields(pack_fields(codes, fields), fields) == codes).all()


@pytest.mark.parametrize("bits", [0, 9, 12, 17, 32, -1])
def test_other_bits_are_no_field(bits):
    with pytest.raises(ValueError, match=f"{bits} bits"):
        lay_out_fields([bits])


def test_a_code_that_does_not_fit_is_not_packed_over_its_neighbour():
    for code in (16, -1):
        with pytest.raises(ValueError, match="feature 0 do not fit 4 bits"):
            pack_fields(np.full((1, 1, 2), code), lay_out_fields([4, 4]))


def test_values_are_the_levels_that_training_rounds_to():
    for bits in QUANTIZE_BITS:
        assert (field_values(bits) == level_values(bits)).all()
    assert field_values(1).tolist() == [-0.25, 0.25] and field_values(3)[[0, 7]].tolist() == [-0.4375, 0.4375]


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("n_features", [1, 2, 3, 4, 5, 8, 9, 16, 33])
@pytest.mark.parametrize("bits", QUANTIZE_BITS)
def test_every_storage_gives_the_codes_back(storage, n_features, bits):
    stored = grid_storage([bits] * n_features, storage)
    codes = random_codes([bits] * n_features)
    levels = stored.pack(codes)
    assert len(levels) == stored.n_files
    assert sum(level.nbytes for level in levels) == 64 * stored.texel_bytes
    assert all(level.dtype == stored.format.dtype for level in levels)
    assert (stored.unpack(levels) == codes).all()
    entry = {**stored.entry(), "files": ["x"] * stored.n_files}
    assert stored_as(entry) == stored


@pytest.mark.parametrize(
    "bits,name,n_files,rgba8_files",
    [
        ([4] * 8, "R32_UINT", 1, 1),
        ([4] * 9, "R32G32_UINT", 1, 2),
        ([8] * 12, "R32G32B32A32_UINT", 1, 3),
        ([16] * 8, "R32G32B32A32_UINT", 1, 4),
        ([16] * 9, "R32G32B32A32_UINT", 2, 5),
        ([1], "R32_UINT", 1, 1),
    ],
)
def test_words_lie_in_the_smallest_texture_that_holds_them(bits, name, n_files, rgba8_files):
    packed, rgba8 = grid_storage(bits, "packed"), grid_storage(bits, "packed_rgba8")
    assert (packed.format.name, packed.n_files) == (name, n_files)
    assert (rgba8.format.name, rgba8.n_files) == ("R8G8B8A8_UNORM", rgba8_files)
    assert packed.fields == rgba8.fields and word_count(packed.fields) == rgba8_files


def test_red_is_the_lowest_byte_of_a_word_stored_as_rgba8():
    (level,) = grid_storage([8, 8, 8, 8], "packed_rgba8").pack(np.array([[[1, 2, 3, 4]]]))
    assert level.tolist() == [[[1, 2, 3, 4]]]


def test_features_that_differ_in_bits_need_fields():
    for storage in ("rgba8", "true_rate"):
        with pytest.raises(UsageError, match="4, 8 bits.*packed"):
            grid_storage([8, 4], storage)
    entry = grid_storage([8, 3], "packed").entry()
    assert entry["feature_bits"] == [8, 3] and entry["quantize_bits"] == 8
    assert (entry["scale"], entry["offset"]) == (0.99609375, -0.498046875)
    with pytest.raises(UsageError, match="packed_rgba8"):
        grid_storage([8], "zip")
