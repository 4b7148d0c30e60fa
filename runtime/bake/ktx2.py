"""KTX2 files with block-compressed levels, after the KTX File Format Specification, version 2.

Header, index of the levels, data format descriptor, key/value data, then the levels, smallest first, each aligned to
its blocks.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from configs import VERSION
from runtime.bake.blocks import BLOCK, BlockFormat
from utils.files import write_bytes

IDENTIFIER = b"\xabKTX 20\xbb\r\n\x1a\n"
_HEADER = struct.Struct("<12s 9I 4I 2Q")
_LEVEL = struct.Struct("<3Q")
# Khronos Data Format Specification: colour models, primaries, transfer functions.
_MODELS = {"BC4_UNORM": 131, "BC5_UNORM": 132, "BC7_UNORM": 134, "BC7_UNORM_SRGB": 134}
_PRIMARIES_UNSPECIFIED, _PRIMARIES_BT709 = 0, 1
_TRANSFER_LINEAR, _TRANSFER_SRGB = 1, 2
_DESCRIPTOR_VERSION = 2


def _data_format_descriptor(block_format: BlockFormat) -> bytes:
    """Return the basic descriptor block with its total size: what the blocks mean and how large they are."""
    # BC5 holds two blocks of a channel each.
    samples = 2 if block_format.name.startswith("BC5") else 1
    bits = 8 * block_format.block_bytes // samples
    body = b"".join(
        struct.pack("<HBB4B2I", bits * channel, bits - 1, channel, 0, 0, 0, 0, 0, 0xFFFFFFFF)
        for channel in range(samples)
    )
    block = struct.pack(
        "<IHH 4B 4B 8B",
        0,
        _DESCRIPTOR_VERSION,
        24 + len(body),
        _MODELS[block_format.name],
        _PRIMARIES_BT709 if block_format.is_srgb else _PRIMARIES_UNSPECIFIED,
        _TRANSFER_SRGB if block_format.is_srgb else _TRANSFER_LINEAR,
        0,
        BLOCK - 1,
        BLOCK - 1,
        0,
        0,
        block_format.block_bytes,
        *[0] * 7,
    )
    return struct.pack("<I", 4 + len(block) + len(body)) + block + body


def _padded(data: bytes, alignment: int) -> bytes:
    return data + b"\0" * (-len(data) % alignment)


def _key_values(entries: dict[str, str]) -> bytes:
    pairs = [f"{key}\0{value}\0".encode() for key, value in sorted(entries.items())]
    return b"".join(_padded(struct.pack("<I", len(pair)) + pair, 4) for pair in pairs)


def ktx2_bytes(levels: Sequence[bytes], width: int, height: int, block_format: BlockFormat) -> bytes:
    """Return a KTX2 file of the compressed levels of a `width x height` texture, finest first.

    Raises `ValueError` for levels that do not fit.
    """
    block_format.check_levels(levels, width, height)
    descriptor = _data_format_descriptor(block_format)
    entries = _key_values({"KTXorientation": "rd", "KTXwriter": f"neural-texture {VERSION}"})
    descriptor_start = _HEADER.size + _LEVEL.size * len(levels)
    entries_start = descriptor_start + len(descriptor)
    data = bytearray(b"\0" * entries_start + entries)
    index = []
    for level in reversed(levels):
        data += b"\0" * (-len(data) % block_format.block_bytes)
        index.append(_LEVEL.pack(len(data), len(level), len(level)))
        data += level
    head = _HEADER.pack(
        IDENTIFIER,
        block_format.vulkan,
        1,
        width,
        height,
        0,
        0,
        1,
        len(levels),
        0,
        descriptor_start,
        len(descriptor),
        entries_start,
        len(entries),
        0,
        0,
    )
    data[:entries_start] = b"".join([head, *reversed(index), descriptor])
    return bytes(data)


def write_ktx2(
    path: str | os.PathLike, levels: Sequence[bytes], width: int, height: int, block_format: BlockFormat
) -> None:
    """Write `ktx2_bytes`, whole or not at all; raises `UserError` where the file cannot be written."""
    write_bytes(path, ktx2_bytes(levels, width, height, block_format))
