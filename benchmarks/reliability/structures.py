"""Where the parts of image formats and of containers lie: numbers in headers, chunks, and sums that readers check."""

from __future__ import annotations

import struct
import zlib

from benchmarks.reliability.damage import Structure


def _table(text: str) -> list[tuple[int, str]]:
    """Offsets of fields that follow each other, from letters of `struct` with its byte order first."""
    order, offset, fields = text[0], 0, []
    for word in text[1:].split():
        if word.endswith("x"):
            offset += int(word[:-1] or 1)
            continue
        fields.append((offset, order + word))
        offset += struct.calcsize(order + word)
    return fields


def _png_chunks(data: bytes) -> list[tuple[int, int]]:
    chunks, place = [], 8
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        end = min(place + 12 + length, len(data))
        chunks.append((place, end))
        place = end
    return chunks


def _png_fields(data: bytes) -> list[tuple[int, str]]:
    header = [(16, ">I"), (20, ">I"), *((offset, ">B") for offset in range(24, 29))]
    return header * 3 + [(start, ">I") for start, _ in _png_chunks(data)]


def _png_repaired(data: bytes) -> bytes:
    changed = bytearray(data)
    for start, end in _png_chunks(data):
        (length,) = struct.unpack_from(">I", data, start)
        if start + 12 + length == end:
            struct.pack_into(">I", changed, end - 4, zlib.crc32(data[start + 4 : end - 4]))
    return bytes(changed)


def _jpeg_chunks(data: bytes) -> list[tuple[int, int]]:
    chunks, place = [], 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        (length,) = struct.unpack_from(">H", data, place + 2)
        end = min(place + 2 + length, len(data))
        if data[place + 1] == 0xDA:
            chunks.append((place, len(data) - 2))
            break
        chunks.append((place, end))
        place = max(end, place + 4)
    return chunks


def _jpeg_fields(data: bytes) -> list[tuple[int, str]]:
    fields = []
    for start, end in _jpeg_chunks(data):
        fields.append((start + 2, ">H"))
        if data[start + 1] in (0xC0, 0xC1, 0xC2):
            fields += [(start + 4, ">B"), (start + 5, ">H"), (start + 7, ">H"), (start + 5, ">H"), (start + 7, ">H")]
        if data[start + 1] in (0xC0, 0xC1, 0xC2, 0xDA, 0xDD, 0xDB, 0xC4):
            fields += [(offset, ">B") for offset in range(start + 9, min(end, start + 24))]
    return fields


def _tiff_order(data: bytes) -> str:
    return ">" if data[:2] == b"MM" else "<"


def _tiff_entries(data: bytes) -> list[int]:
    """Starts of the entries of the first directories."""
    order, entries = _tiff_order(data), []
    try:
        (place,) = struct.unpack_from(order + "I", data, 4)
        for _ in range(3):
            (count,) = struct.unpack_from(order + "H", data, place)
            entries += [place + 2 + 12 * index for index in range(min(count, 64))]
            (place,) = struct.unpack_from(order + "I", data, place + 2 + 12 * count)
            if not place:
                break
    except struct.error:
        pass
    return [start for start in entries if start + 12 <= len(data)]


def _tiff_fields(data: bytes) -> list[tuple[int, str]]:
    order, fields = _tiff_order(data), [(2, "H"), (4, "I")]
    for start in _tiff_entries(data):
        # Values more often than tags and types.
        fields += [(start, "H"), (start + 2, "H"), (start + 4, "I"), *[(start + 8, "I"), (start + 8, "H")] * 2]
    return [(offset, order + letter) for offset, letter in fields]


def _riff_chunks(data: bytes) -> list[tuple[int, int]]:
    chunks, place = [], 12
    while place + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, place + 4)
        end = min(place + 8 + length + (length & 1), len(data))
        chunks.append((place, end))
        place = end
    return chunks


def _riff_fields(data: bytes) -> list[tuple[int, str]]:
    fields = [(4, "<I")]
    for start, _ in _riff_chunks(data):
        fields += [(start + 4, "<I"), *((start + 8 + offset, "<H") for offset in range(0, 18, 2))]
    return fields


def _riff_repaired(data: bytes) -> bytes:
    return data[:4] + struct.pack("<I", max(len(data) - 8, 0)) + data[8:] if len(data) >= 12 else data


def _exr_attributes(data: bytes) -> list[tuple[int, int, int]]:
    """Starts, starts of the values and ends of the header's attributes."""
    found, place = [], 8
    while place < len(data) and data[place]:
        try:
            name_end = data.index(b"\0", place)
            type_end = data.index(b"\0", name_end + 1)
            (size,) = struct.unpack_from("<i", data, type_end + 1)
        except (ValueError, struct.error):
            break
        if size < 0:
            break
        found.append((place, type_end + 5, min(type_end + 5 + size, len(data))))
        place = type_end + 5 + size
    return found


def _exr_fields(data: bytes) -> list[tuple[int, str]]:
    fields = [(4, "<I")]
    attributes = _exr_attributes(data)
    for _, value, end in attributes:
        fields.append((value - 4, "<i"))
        fields += [(offset, "<i") for offset in range(value, min(end - 3, value + 32), 4)]
    if attributes:
        # The table of where the rows begin.
        table = attributes[-1][2] + 1
        fields += [(offset, "<Q") for offset in range(table, min(table + 64, len(data) - 8), 8)]
    return fields


def _glb_chunks(data: bytes) -> list[tuple[int, int]]:
    chunks, place = [], 12
    while place + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, place)
        end = min(place + 8 + length, len(data))
        chunks.append((place, end))
        place = end
    return chunks


def _zip_fields(data: bytes) -> list[tuple[int, str]]:
    """Numbers of the local entries, of the directory and of its end."""
    fields = []
    for mark, letters in (
        (b"PK\3\4", "<4x H H H H H I I I H H"),
        (b"PK\1\2", "<4x H H H H H H I I I H H H H H I I"),
        (b"PK\5\6", "<4x H H H H I I H"),
    ):
        start = data.find(mark)
        while start >= 0:
            fields += [(start + offset, layout) for offset, layout in _table(letters)]
            start = data.find(mark, start + 4)
    return fields


def _zip_chunks(data: bytes) -> list[tuple[int, int]]:
    starts = sorted(start for mark in (b"PK\3\4", b"PK\1\2", b"PK\5\6") for start in _places(data, mark))
    return list(zip(starts, [*starts[1:], len(data)]))


def _places(data: bytes, mark: bytes) -> list[int]:
    found, start = [], data.find(mark)
    while start >= 0:
        found.append(start)
        start = data.find(mark, start + 1)
    return found


TGA = Structure(lambda data: _table("<B B B H H B H H H H B B"))
BMP = Structure(lambda data: _table("<2x I H H I I i i H H I I i i I I I I I I"))
DDS = Structure(lambda data: _table("<I I I I I I I I 44x I I I I I I I I I I I I I I I I I I"))
HDR = Structure(chunks=lambda data: [(start, start + 1) for start in _places(data[:256], b"\n")])
PNG = Structure(_png_fields, _png_chunks, _png_repaired)
JPEG = Structure(_jpeg_fields, _jpeg_chunks)
TIFF = Structure(_tiff_fields, lambda data: [(start, start + 12) for start in _tiff_entries(data)])
WEBP = Structure(_riff_fields, _riff_chunks, _riff_repaired)
EXR = Structure(_exr_fields, lambda data: [(start, end) for start, _, end in _exr_attributes(data)])
GLB = Structure(
    lambda data: [
        (0, "<I"),
        (4, "<I"),
        (8, "<I"),
        *((start + at, "<I") for start, _ in _glb_chunks(data) for at in (0, 4)),
    ],
    _glb_chunks,
    lambda data: data[:8] + struct.pack("<I", len(data)) + data[12:] if len(data) >= 12 else data,
)
ZIP = Structure(_zip_fields, _zip_chunks)
