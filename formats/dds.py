"""DDS files with a DX10 header: one uncompressed 2D texture with its mips, written plainly and read strictly.

Layout after Microsoft's "DDS_HEADER" and "DDS_HEADER_DXT10" reference pages: magic, 124-byte header, 20-byte
DX10 extension, then the levels, finest first, rows without padding, row 0 first.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.errors import UserError, describe_os_error
from utils.files import write_bytes

R8G8B8A8_UNORM = 28
B4G4R4A4_UNORM = 115
R16G16B16A16_UNORM = 11
R32_UINT = 42
R32G32_UINT = 17
R32G32B32A32_UINT = 3


@dataclass(frozen=True)
class TexelFormat:
    """How the channels of one texel are stored."""

    name: str
    dxgi: int
    texel_bytes: int
    channel_max: int
    """Largest integer of a channel; of UNORM formats the one that 1.0 is stored as."""
    dtype: str
    shape: tuple[int, ...]
    """Trailing shape of a level array: (channels,), or () where one integer packs them all."""
    channels: int = 4


FORMATS = {
    entry.dxgi: entry
    for entry in (
        TexelFormat("R8G8B8A8_UNORM", R8G8B8A8_UNORM, 4, 255, "<u1", (4,)),
        TexelFormat("B4G4R4A4_UNORM", B4G4R4A4_UNORM, 2, 15, "<u2", ()),
        TexelFormat("R16G16B16A16_UNORM", R16G16B16A16_UNORM, 8, 65535, "<u2", (4,)),
        TexelFormat("R32_UINT", R32_UINT, 4, 0xFFFFFFFF, "<u4", (1,), 1),
        TexelFormat("R32G32_UINT", R32G32_UINT, 8, 0xFFFFFFFF, "<u4", (2,), 2),
        TexelFormat("R32G32B32A32_UINT", R32G32B32A32_UINT, 16, 0xFFFFFFFF, "<u4", (4,), 4),
    )
}
"""The known formats by DXGI number."""
FORMATS_BY_NAME = {entry.name: entry for entry in FORMATS.values()}

HEADER_BYTES = 4 + 124 + 20
_HEADER = struct.Struct("<4s 7I 44x 2I 4s 5I 5I 5I")
_MAX_SIDE = 1 << 16
_FLAG_CAPS, _FLAG_HEIGHT, _FLAG_WIDTH, _FLAG_PITCH = 0x1, 0x2, 0x4, 0x8
_FLAG_PIXEL_FORMAT, _FLAG_MIP_COUNT, _FLAG_LINEAR_SIZE = 0x1000, 0x20000, 0x80000
_PIXEL_FOURCC = 0x4
_CAPS_COMPLEX, _CAPS_TEXTURE, _CAPS_MIPMAP = 0x8, 0x1000, 0x400000
_CAPS2_CUBE_OR_VOLUME = 0x200 | 0xFC00 | 0x200000
_DIMENSION_2D = 3
_MISC_CUBE = 0x4


@dataclass(frozen=True)
class DdsHeader:
    """What a DDS file says about itself."""

    width: int
    height: int
    mip_count: int
    format: TexelFormat

    def level_size(self, mip: int) -> tuple[int, int]:
        """Width and height of a mip in texels."""
        return max(self.width >> mip, 1), max(self.height >> mip, 1)

    def level_bytes(self, mip: int) -> int:
        """Bytes of one mip."""
        return math.prod(self.level_size(mip)) * self.format.texel_bytes

    @property
    def file_bytes(self) -> int:
        """Bytes of the whole file, headers included."""
        return HEADER_BYTES + sum(self.level_bytes(mip) for mip in range(self.mip_count))


def pack_channels(channels: np.ndarray, dxgi_format: int) -> np.ndarray:
    """Turn integer channels `[h, w, C]` (R, G, B, A) into the level array that a format stores.

    `[h, w, C]` unsigned integers; for B4G4R4A4 `[h, w]` uint16 with B in bits 0-3, G 4-7, R 8-11, A 12-15.
    Raises `ValueError` where a channel does not fit or their number is not the format's.
    """
    entry = FORMATS[dxgi_format]
    if channels.shape[-1] != entry.channels:
        raise ValueError(f"{channels.shape[-1]} channels do not fit {entry.name}, which has {entry.channels}")
    if channels.size and (channels.min() < 0 or channels.max() > entry.channel_max):
        raise ValueError(f"channels outside 0..{entry.channel_max} do not fit {entry.name}")
    if entry.shape:
        return channels.astype(entry.dtype, copy=False)
    channels = channels.astype(np.uint16)
    red, green, blue, alpha = np.moveaxis(channels, -1, 0)
    return (blue | green << 4 | red << 8 | alpha << 12).astype(entry.dtype)


def unpack_channels(level: np.ndarray, dxgi_format: int) -> np.ndarray:
    """Turn a level array as `read_dds` returns it into integer channels `[h, w, C]` (R, G, B, A)."""
    if FORMATS[dxgi_format].shape:
        return level
    return np.stack([level >> shift & 15 for shift in (8, 4, 0, 12)], axis=-1)


def write_dds(
    path: str | os.PathLike, levels: Sequence[bytes | np.ndarray], width: int, height: int, dxgi_format: int
) -> None:
    """Write a 2D texture, whole or not at all.

    `levels`, finest first, are bytes or the arrays of `pack_channels`; each must have the size of its mip.
    Raises `ValueError` for levels that do not fit, `UserError` where the file cannot be written.
    """
    header = DdsHeader(width, height, len(levels), FORMATS[dxgi_format])
    if not 1 <= len(levels) <= max(width, height).bit_length():
        raise ValueError(f"{len(levels)} levels do not fit a {width} x {height} texture")
    payload = [
        np.ascontiguousarray(level, header.format.dtype).tobytes() if isinstance(level, np.ndarray) else bytes(level)
        for level in levels
    ]
    for mip, data in enumerate(payload):
        if len(data) != header.level_bytes(mip):
            raise ValueError(f"level {mip} has {len(data)} bytes, expected {header.level_bytes(mip)}")
    start = header_bytes(width, height, len(levels), dxgi_format, width * header.format.texel_bytes)
    write_bytes(path, b"".join([start, *payload]))


def header_bytes(
    width: int, height: int, mip_count: int, dxgi_format: int, pitch: int, is_compressed: bool = False
) -> bytes:
    """Return magic, header and DX10 extension of a 2D texture in any DXGI format.

    `pitch` is the bytes of a row, or, where the format stores blocks of texels, of the whole finest level.
    """
    flags = _FLAG_CAPS | _FLAG_HEIGHT | _FLAG_WIDTH | _FLAG_PIXEL_FORMAT
    flags |= _FLAG_LINEAR_SIZE if is_compressed else _FLAG_PITCH
    caps = _CAPS_TEXTURE
    if mip_count > 1:
        flags |= _FLAG_MIP_COUNT
        caps |= _CAPS_COMPLEX | _CAPS_MIPMAP
    return _HEADER.pack(
        b"DDS ",
        124,
        flags,
        height,
        width,
        pitch,
        0,
        mip_count,
        32,
        _PIXEL_FOURCC,
        b"DX10",
        0,
        0,
        0,
        0,
        0,
        caps,
        0,
        0,
        0,
        0,
        dxgi_format,
        _DIMENSION_2D,
        0,
        1,
        0,
    )


def _parse_header(data: bytes, path: Path) -> DdsHeader:
    if len(data) < HEADER_BYTES or data[:4] != b"DDS ":
        raise UserError(f"{path} is not a DDS file with a DX10 header; export it again")
    (
        _,
        size,
        _,
        height,
        width,
        _,
        _,
        mip_count,
        pixel_size,
        pixel_flags,
        four_cc,
        _,
        _,
        _,
        _,
        _,
        _,
        caps2,
        _,
        _,
        _,
        dxgi_format,
        dimension,
        misc,
        array_size,
        _,
    ) = _HEADER.unpack_from(data)
    if size != 124 or pixel_size != 32:
        raise UserError(
            f"{path} has a corrupt DDS header (sizes {size} and {pixel_size}, expected 124 and 32); export it again"
        )
    if not pixel_flags & _PIXEL_FOURCC or four_cc != b"DX10":
        raise UserError(
            f"{path} has no DX10 header; only DX10 files in "
            f"{', '.join(entry.name for entry in FORMATS.values())} can be read"
        )
    if dxgi_format not in FORMATS:
        known = ", ".join(f"{entry.name} ({entry.dxgi})" for entry in FORMATS.values())
        raise UserError(f"{path} has DXGI format {dxgi_format}, expected one of {known}; convert or export it again")
    if dimension != _DIMENSION_2D or array_size != 1 or misc & _MISC_CUBE or caps2 & _CAPS2_CUBE_OR_VOLUME:
        raise UserError(f"{path} is not a single 2D texture (a cube map, volume or array); export it again")
    mip_count = max(mip_count, 1)
    if not (1 <= width <= _MAX_SIDE and 1 <= height <= _MAX_SIDE and mip_count <= max(width, height).bit_length()):
        raise UserError(
            f"{path} has a corrupt DDS header ({width} x {height} texels, {mip_count} mips); export it again"
        )
    return DdsHeader(width, height, mip_count, FORMATS[dxgi_format])


def read_dds(
    path: str | os.PathLike, accept: Callable[[DdsHeader], None] | None = None
) -> tuple[DdsHeader, list[np.ndarray]]:
    """Read a file as `write_dds` writes it: its header and its level arrays, finest first.

    `accept` is shown the header before anything else is read, and may raise. Nothing is read or allocated beyond what a
    sound header promises. Raises `UserError` where the file is missing, corrupt, truncated, over-long or of another
    format.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            header = _parse_header(file.read(HEADER_BYTES), path)
            if accept:
                accept(header)
            size = os.fstat(file.fileno()).st_size
            if size != header.file_bytes:
                fault = "is truncated" if size < header.file_bytes else "has data past its end"
                raise UserError(f"{path} {fault}: {size} bytes, expected {header.file_bytes}; copy or export it again")
            payload = [file.read(header.level_bytes(mip)) for mip in range(header.mip_count)]
    except OSError as error:
        raise UserError(describe_os_error(error, path)) from error
    levels = []
    for mip, data in enumerate(payload):
        if len(data) != header.level_bytes(mip):
            raise UserError(f"{path} is truncated while it is read; copy or export it again")
        columns, rows = header.level_size(mip)
        levels.append(np.frombuffer(data, header.format.dtype).reshape(rows, columns, *header.format.shape))
    return header, levels
