"""DDS files as Godot 4's loader takes them, by the rules of its releases: which headers, which sizes."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np


def read_godot_dds(path: Path) -> list[np.ndarray]:
    """Return uint8 `[H, W, 4]` levels of an RGBA8 file; fails where a release of Godot 4 would refuse it.

    The loader counts mips by rounding halves up, its Image by rounding them down and to a single texel, so only full
    chains of powers of two fit both; the format is told by masks.
    """
    data = path.read_bytes()
    magic, size, flags, height, width, _, _, mips = struct.unpack_from("<4s7I", data)
    format_flags, _, bits, *masks = struct.unpack_from("<IIIIIII", data, 80)
    assert (magic, size) == (b"DDS ", 124)
    assert format_flags & 0x41 == 0x41 and bits == 32 and masks == [0xFF, 0xFF00, 0xFF0000, 0xFF000000]
    mips = mips if flags & 0x20000 else 1
    by_loader = [(width, height)]
    by_image = [(width, height)]
    for _ in range(1, mips):
        by_loader.append(tuple((side + 1) >> 1 for side in by_loader[-1]))
        by_image.append(tuple(max(side >> 1, 1) for side in by_image[-1]))
    assert by_loader == by_image
    assert mips == 1 or by_image[-1] == (1, 1)
    levels, at = [], 128
    for columns, rows in by_image:
        count = 4 * columns * rows
        levels.append(np.frombuffer(data, np.uint8, count, at).reshape(rows, columns, 4))
        at += count
    assert at == len(data)
    return levels
