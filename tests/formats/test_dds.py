"""DDS files: other readers agree, bit patterns worked by hand, damaged files are refused."""

from __future__ import annotations

import struct

import imageio.v3
import numpy as np
import pytest
from PIL import Image

from formats.dds import (
    B4G4R4A4_UNORM,
    FORMATS,
    R8G8B8A8_UNORM,
    R16G16B16A16_UNORM,
    R32_UINT,
    R32G32_UINT,
    R32G32B32A32_UINT,
    pack_channels,
    read_dds,
    unpack_channels,
    write_dds,
)
from utils.errors import UserError


def random_levels(width, height, mips, dxgi_format, seed=0):
    rng = np.random.default_rng(seed)
    channels = [
        rng.integers(
            0,
            FORMATS[dxgi_format].channel_max + 1,
            (max(height >> mip, 1), max(width >> mip, 1), FORMATS[dxgi_format].channels),
        )
        for mip in range(mips)
    ]
    return [pack_channels(level, dxgi_format) for level in channels], channels


@pytest.fixture
def valid_file(tmp_path):
    path = tmp_path / "grid.dds"
    write_dds(path, random_levels(8, 8, 3, R8G8B8A8_UNORM)[0], 8, 8, R8G8B8A8_UNORM)
    read_dds(path)
    return path


@pytest.mark.parametrize("mips", [1, 3])
def test_pillow_and_imageio_read_the_same_texels(tmp_path, mips):
    path = tmp_path / "grid.dds"
    levels, _ = random_levels(12, 8, mips, R8G8B8A8_UNORM)
    write_dds(path, levels, 12, 8, R8G8B8A8_UNORM)
    with Image.open(path) as image:
        assert image.mode == "RGBA"
        assert (np.asarray(image) == levels[0]).all()
    assert (imageio.v3.imread(path) == levels[0]).all()


def test_the_header_holds_what_the_format_prescribes(tmp_path):
    path = tmp_path / "grid.dds"
    write_dds(path, random_levels(16, 8, 2, R16G16B16A16_UNORM)[0], 16, 8, R16G16B16A16_UNORM)
    data = path.read_bytes()
    assert data[:4] == b"DDS "
    words = struct.unpack("<31I", data[4:128])
    assert words[0] == 124
    assert words[1] == 0x1 | 0x2 | 0x4 | 0x8 | 0x1000 | 0x20000
    assert words[2:4] == (8, 16)
    assert words[4] == 16 * 8
    assert words[6] == 2
    assert words[18] == 32 and words[19] == 4 and data[84:88] == b"DX10"
    assert words[26] == 0x8 | 0x1000 | 0x400000
    assert struct.unpack("<5I", data[128:148]) == (11, 3, 0, 1, 0)
    assert len(data) == 148 + 16 * 8 * 8 + 8 * 4 * 8


def test_a_single_level_claims_no_mips(tmp_path):
    path = tmp_path / "grid.dds"
    write_dds(path, random_levels(4, 4, 1, R8G8B8A8_UNORM)[0], 4, 4, R8G8B8A8_UNORM)
    words = struct.unpack("<31I", path.read_bytes()[4:128])
    assert not words[1] & 0x20000
    assert words[26] == 0x1000


def test_four_bit_channels_are_packed_as_blue_green_red_alpha_from_the_low_bits(tmp_path):
    path = tmp_path / "grid.dds"
    texel = pack_channels(np.array([[[0x1, 0x2, 0x3, 0x4]]]), B4G4R4A4_UNORM)
    assert texel.tolist() == [[0x4123]]
    write_dds(path, [texel], 1, 1, B4G4R4A4_UNORM)
    assert path.read_bytes()[148:] == bytes([0x23, 0x41])


def test_sixteen_bit_channels_are_little_endian_in_rgba_order(tmp_path):
    path = tmp_path / "grid.dds"
    write_dds(
        path, [pack_channels(np.array([[[1, 0x203, 0x405, 0xFFFE]]]), R16G16B16A16_UNORM)], 1, 1, R16G16B16A16_UNORM
    )
    assert path.read_bytes()[148:] == bytes([1, 0, 3, 2, 5, 4, 0xFE, 0xFF])


@pytest.mark.parametrize(
    "dxgi_format,words,number", [(R32_UINT, 1, 42), (R32G32_UINT, 2, 17), (R32G32B32A32_UINT, 4, 3)]
)
def test_words_are_little_endian_and_the_pitch_counts_all_of_a_row(tmp_path, dxgi_format, words, number):
    path = tmp_path / "grid.dds"
    level = pack_channels(np.arange(0x01020304, 0x01020304 + 3 * 2 * words).reshape(2, 3, words), dxgi_format)
    write_dds(path, [level], 3, 2, dxgi_format)
    data = path.read_bytes()
    assert struct.unpack("<I", data[20:24]) == (3 * 4 * words,)
    assert struct.unpack("<5I", data[128:148]) == (number, 3, 0, 1, 0)
    assert data[148:152] == bytes([4, 3, 2, 1]) and len(data) == 148 + 3 * 2 * 4 * words
    assert struct.unpack(f"<{6 * words}I", data[148:]) == tuple(range(0x01020304, 0x01020304 + 6 * words))
    with pytest.raises(ValueError, match="channels do not fit"):
        pack_channels(np.zeros((1, 1, 3), int), dxgi_format)
    with pytest.raises(ValueError, match="do not fit"):
        pack_channels(np.full((1, 1, words), 1 << 32), dxgi_format)


@pytest.mark.parametrize("dxgi_format", sorted(FORMATS))
@pytest.mark.parametrize("width,height,mips", [(1, 1, 1), (16, 16, 5), (12, 6, 3), (7, 5, 2)])
def test_levels_come_back_as_written(tmp_path, dxgi_format, width, height, mips):
    path = tmp_path / "grid.dds"
    levels, channels = random_levels(width, height, mips, dxgi_format)
    write_dds(path, levels, width, height, dxgi_format)
    header, found = read_dds(path)
    assert (header.width, header.height, header.mip_count) == (width, height, mips)
    assert header.format.dxgi == dxgi_format
    assert len(found) == mips
    for level, expected in zip(found, channels):
        assert (unpack_channels(level, dxgi_format) == expected).all()


def test_bytes_and_arrays_give_the_same_file(tmp_path):
    levels, _ = random_levels(8, 8, 2, B4G4R4A4_UNORM)
    write_dds(tmp_path / "a.dds", levels, 8, 8, B4G4R4A4_UNORM)
    write_dds(tmp_path / "b.dds", [level.tobytes() for level in levels], 8, 8, B4G4R4A4_UNORM)
    assert (tmp_path / "a.dds").read_bytes() == (tmp_path / "b.dds").read_bytes()


def test_levels_of_a_wrong_size_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="level 1"):
        write_dds(tmp_path / "a.dds", [bytes(8 * 8 * 4), bytes(4 * 4 * 3)], 8, 8, R8G8B8A8_UNORM)
    with pytest.raises(ValueError, match="levels do not fit"):
        write_dds(tmp_path / "a.dds", [bytes(4)] * 2, 1, 1, R8G8B8A8_UNORM)
    assert list(tmp_path.iterdir()) == []


def test_channels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        pack_channels(np.full((1, 1, 4), 16), B4G4R4A4_UNORM)


@pytest.mark.parametrize("kept", [0, 3, 100, 147, 148, 200, -1])
def test_a_truncated_file_is_refused_in_one_line_that_names_it(valid_file, kept):
    valid_file.write_bytes(valid_file.read_bytes()[:kept])
    with pytest.raises(UserError, match="grid.dds") as caught:
        read_dds(valid_file)
    assert "\n" not in str(caught.value)


def test_data_past_the_end_is_refused(valid_file):
    valid_file.write_bytes(valid_file.read_bytes() + b"\0")
    with pytest.raises(UserError, match="past its end"):
        read_dds(valid_file)


@pytest.mark.parametrize(
    "offset,value,cause",
    [
        (0, 0x21534444, "not a DDS file"),
        (4, 123, "corrupt"),
        (76, 31, "corrupt"),
        (84, 0x31545844, "no DX10 header"),
        (12, 0, "corrupt"),
        (16, 1 << 30, "corrupt"),
        (28, 5, "corrupt"),
        (12, 16, "truncated"),
        (28, 1, "past its end"),
        (128, 98, "DXGI format 98"),
        (132, 4, "single 2D"),
        (136, 4, "single 2D"),
        (140, 6, "single 2D"),
        (112, 0xFE00, "single 2D"),
    ],
)
def test_a_corrupt_header_is_refused_with_its_cause(valid_file, offset, value, cause):
    data = bytearray(valid_file.read_bytes())
    data[offset : offset + 4] = struct.pack("<I", value)
    valid_file.write_bytes(data)
    with pytest.raises(UserError, match=cause) as caught:
        read_dds(valid_file)
    assert "grid.dds" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="nowhere.dds"):
        read_dds(tmp_path / "nowhere.dds")
