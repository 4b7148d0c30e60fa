"""Images in floating point: OpenEXR, Radiance HDR, and the TIFF files that Pillow does not know."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import TiffImagePlugin, UnidentifiedImageError

from images.sources import SourceImage
from utils.errors import UserError

FLOAT_SUFFIXES = (".exr", ".hdr")
_HDR_HEADER_BYTES = 1 << 16
"""Longest header of a Radiance HDR file that is searched for its size."""
_WIDTH, _HEIGHT, _PLANAR_CONFIGURATION = 256, 257, 284
"""TIFF tags."""

Texels = tuple[np.ndarray, list[str]]
"""float32 `[H, W, C]`, and notices."""


def float_size(source: SourceImage) -> tuple[int, int]:
    """Width and height of an EXR or HDR file, from its header."""
    if source.suffix == ".hdr":
        return _hdr_size(source)
    with _open_exr(source, header_only=True) as file:
        low, high = file.header()["dataWindow"]
    return int(high[0]) - int(low[0]) + 1, int(high[1]) - int(low[1]) + 1


def read_float(source: SourceImage) -> Texels:
    """Read an EXR or HDR file as stored: linear light where it is colour."""
    if source.suffix == ".hdr":
        import imagecodecs

        return imagecodecs.rgbe_decode(source.content()), []
    return _read_exr(source)


def _hdr_size(source: SourceImage) -> tuple[int, int]:
    """Width and height of a Radiance HDR file, whose header is lines of text."""
    header = source.content(_HDR_HEADER_BYTES)
    found = re.search(rb"\n([-+][XY]) (\d{1,9}) ([-+][XY]) (\d{1,9})\r?\n", header)
    if not header.startswith(b"#?") or not found:
        raise UnidentifiedImageError
    if (found[1], found[3]) != (b"-Y", b"+X"):
        raise ValueError(f"its rows run {found[1].decode()} {found[3].decode()}, read is -Y +X alone")
    return int(found[4]), int(found[2])


@contextmanager
def _open_exr(source: SourceImage, header_only: bool = False) -> Iterator[Any]:
    """Open an OpenEXR image; raises `UserError` where the OpenEXR package is missing."""
    try:
        import OpenEXR
    except ImportError:
        raise UserError(
            f"reading {source.path} needs the OpenEXR package: pip install -r requirements.txt, or save the image as "
            "16-bit PNG"
        ) from None
    # Opened by Python first, whose error says what is wrong with the path.
    source.content(1)
    with OpenEXR.File(str(source.path), header_only=header_only) as file:
        yield file


def _read_exr(source: SourceImage) -> Texels:
    """Read an OpenEXR image."""
    with _open_exr(source) as file:
        channels = file.channels()
        name = next((key for key in ("RGB", "RGBA", "Y", "R") if key in channels), next(iter(channels)))
        texels = np.asarray(channels[name].pixels, np.float32)
        alpha = np.asarray(channels["A"].pixels, np.float32) if "A" in channels and name != "A" else None
    notices = [f"channel {key} of {source.name} is not used" for key in channels if key not in (name, "A")]
    texels = texels[..., None] if texels.ndim == 2 else texels[..., :4]
    if alpha is not None and alpha.shape == texels.shape[:2] and texels.shape[2] in (1, 3):
        texels = np.concatenate([texels, alpha[..., None]], 2)
    return texels, notices


def tiff_size(source: SourceImage) -> tuple[int, int]:
    """Width and height of a TIFF file that Pillow does not know; raises `UnidentifiedImageError` where it is none."""
    tags = _tiff_tags(source)
    return int(tags[_WIDTH]), int(tags[_HEIGHT])


def read_tiff(source: SourceImage) -> Texels:
    """Read a TIFF file that Pillow does not know: floating point in colour, or of 16 or 64 bits."""
    import imagecodecs

    tags = _tiff_tags(source)
    texels = imagecodecs.tiff_decode(source.content())
    if texels.dtype.kind != "f" or texels.ndim not in (2, 3):
        raise ValueError(f"a TIFF of {texels.ndim - 1} axes of {texels.dtype}")
    if texels.ndim == 2:
        texels = texels[..., None]
    elif tags.get(_PLANAR_CONFIGURATION) == 2:
        texels = np.moveaxis(texels, 0, 2)
    return texels[..., :4].astype(np.float32), []


def _tiff_tags(source: SourceImage) -> TiffImagePlugin.ImageFileDirectory_v2:
    """The tags of the first picture in a TIFF file."""
    file = io.BytesIO(source.content())
    header = file.read(8)
    if header[:4] not in (b"II*\0", b"MM\0*"):
        raise UnidentifiedImageError
    tags = TiffImagePlugin.ImageFileDirectory_v2(header)
    file.seek(tags.next)
    tags.load(file)
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise UnidentifiedImageError
    return tags
