"""DDS files with block-compressed levels."""

from __future__ import annotations

import os
from collections.abc import Sequence

from formats.dds import header_bytes
from runtime.bake.blocks import BlockFormat
from utils.files import write_bytes


def write_block_dds(
    path: str | os.PathLike, levels: Sequence[bytes], width: int, height: int, block_format: BlockFormat
) -> None:
    """Write the compressed levels of a `width x height` texture, finest first, whole or not at all.

    Raises `ValueError` for levels that do not fit, `UserError` where the file cannot be written.
    """
    block_format.check_levels(levels, width, height)
    start = header_bytes(width, height, len(levels), block_format.dxgi, len(levels[0]), is_compressed=True)
    write_bytes(path, b"".join([start, *levels]))
