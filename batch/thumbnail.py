"""A small picture of a material, for the summary of its batch."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from configs import TEXTURE_CHANNELS
from dataset import TextureSet
from utils.errors import UserError
from utils.files import write_bytes

THUMBNAIL_NAME = "thumbnail.jpg"
SIDE = 72
"""Largest width and height, pixels."""
QUALITY = 80


def thumbnail(texture_set: TextureSet) -> Image.Image:
    """Return the first map that is present, diffuse if there is one, as a small image."""
    first = next(name for name, present in texture_set.present.items() if present)
    names = list(TEXTURE_CHANNELS)
    start = sum(TEXTURE_CHANNELS[name] for name in names[: names.index(first)])
    mip = next((mip for mip in reversed(texture_set.mips) if max(mip.shape[:2]) >= SIDE), texture_set.mips[0])
    texels = mip[..., start : start + TEXTURE_CHANNELS[first]]
    image = Image.fromarray(np.ascontiguousarray(texels if texels.shape[2] == 3 else texels[..., 0]))
    image.thumbnail((SIDE, SIDE))
    return image


def write_thumbnail(folder: Path, texture_set: TextureSet) -> None:
    """Write a group's thumbnail into its folder; without one the summary shows none."""
    buffer = io.BytesIO()
    thumbnail(texture_set).save(buffer, "JPEG", quality=QUALITY)
    with contextlib.suppress(UserError):
        write_bytes(folder / THUMBNAIL_NAME, buffer.getvalue())
