"""Image files as arrays: formats, bit depths, palettes, and one line for what cannot be read."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from images.sources import SourceImage
from utils.errors import UserError, describe_os_error

MAX_SIDE = 16384

_READ_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    OverflowError,
    struct.error,
    zlib.error,
)
_BITS_PER_SAMPLE, _PLANAR_CONFIGURATION, _EXTRA_SAMPLES = 258, 284, 338
"""TIFF tags."""
_pillow_limit = threading.Lock()
# A damaged file is refused in one line; Pillow's warnings would stand before it.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class DecodedImage:
    """The texels of an image file, and what reading left out of them."""

    texels: np.ndarray
    """`[H, W, C]`, C 1 or 3: uint8, uint16, or float32 as stored."""
    notices: list[str] = field(default_factory=list)
    """Sentences, such as that alpha is not used."""


def _open_image(source: SourceImage) -> ImageFile.ImageFile:
    """Open an image of up to `MAX_SIDE` squared texels, for which Pillow's own limit is too low."""
    with _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(source.path if source.data is None else io.BytesIO(source.data))
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    if image.width * image.height > MAX_SIDE**2:
        size = f"{image.width} x {image.height}"
        image.close()
        raise UserError(f"{_shown(source)} is {size}; at most {MAX_SIDE} x {MAX_SIDE} is read, save a smaller copy")
    return image


def _shown(source: SourceImage) -> str:
    """What a message calls an image: its path, or its name and the file that holds it."""
    return str(source.path) if source.data is None else f"{source.name} in {source.path}"


def _unreadable(source: SourceImage, error: Exception) -> UserError:
    """The one line for an image that cannot be read."""
    if isinstance(error, OSError) and error.errno is not None:
        return UserError(describe_os_error(error, source.path))
    cause = "it is damaged, cut short or no image" if "identify" in str(error) else error
    return UserError(f"could not read {_shown(source)} ({cause}); save it again as PNG, or remove it")


def image_size(source: SourceImage) -> tuple[int, int]:
    """Width and height from the header alone."""
    if source.path.suffix.lower() == ".exr":
        with _open_exr(source, header_only=True) as file:
            low, high = file.header()["dataWindow"]
        return int(high[0] - low[0]) + 1, int(high[1] - low[1]) + 1
    try:
        with _open_image(source) as image:
            return image.size
    except _READ_ERRORS as error:
        raise _unreadable(source, error) from error


def read_image(source: SourceImage) -> DecodedImage:
    """Read the colour or grey of an image; raises `UserError` where the file cannot be read."""
    if source.path.suffix.lower() == ".exr":
        return _read_exr(source)
    try:
        with _open_image(source) as image:
            bits = _bits_per_sample(image)
            notices = _left_out(image, source.name)
            if bits == 16 and image.mode in ("RGB", "RGBA", "RGBX", "LA") and not _is_premultiplied(image):
                texels = _read_16bit_colour(source, image)
            else:
                texels = _texels(image)
                if texels.dtype == np.uint8 and bits > 8:
                    notices.append(
                        f"{source.name} is read with 8 of its {bits} bits per sample; "
                        "save it as RGB or grey PNG to keep them"
                    )
    except (*_READ_ERRORS, RuntimeError) as error:
        raise _unreadable(source, error) from error
    return DecodedImage(texels[..., None] if texels.ndim == 2 else texels[..., :3], notices)


def _left_out(image: ImageFile.ImageFile, name: str) -> list[str]:
    """What an opened image holds beside the texels that are read, or that is converted for them."""
    notices = []
    n_frames = getattr(image, "n_frames", 1)
    if n_frames > 1:
        notices.append(f"the first of the {n_frames} pictures in {name} is used")
        image.seek(0)
    if "transparency" in image.info:
        notices.append(f"transparency of {name} is not used")
    alpha = next((band for band in image.getbands() if band in "Aa"), None)
    if alpha:
        opaque = image.getchannel(alpha).getextrema() == (255, 255)
        notices.append(f"alpha of {name} is not used" + (", it is opaque everywhere" if opaque else ""))
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        notices.append(f"{name} is {image.mode}, converted to RGB without its colour profile")
    return notices


def _texels(image: Image.Image) -> np.ndarray:
    """The texels as Pillow reads them: `[H, W]` or `[H, W, C]`."""
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "I":
        # Older Pillow gives 16-bit grey as 32-bit integers.
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("32-bit integers")
        return values.astype(np.uint16)
    if image.mode in ("1", "LA", "La"):
        image = image.convert("L")
    elif image.mode not in ("L", "F", "RGB", "RGBA", "RGBX"):
        image = image.convert("RGB")
    return np.asarray(image)


def _bits_per_sample(image: ImageFile.ImageFile) -> int:
    """Bits of the widest sample of an image that was just opened, as far as its header tells: 8 where it does not."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return max(image.tag_v2.get(_BITS_PER_SAMPLE, (8,)))
    if image.format == "PNG" and image.tile:
        # Pillow's name for the layout of the samples, such as RGB;16B.
        return 16 if "16" in str(image.tile[0][3]) else 8
    return 8


def _is_premultiplied(image: ImageFile.ImageFile) -> bool:
    """Whether colour is stored multiplied by alpha, which Pillow undoes."""
    return isinstance(image, TiffImagePlugin.TiffImageFile) and 1 in image.tag_v2.get(_EXTRA_SAMPLES, ())


def _read_16bit_colour(source: SourceImage, image: ImageFile.ImageFile) -> np.ndarray:
    """Read 16-bit colour, or grey with alpha, of PNG and TIFF as uint16 `[H, W, 3]` or `[H, W]`.

    Pillow would keep the high byte of each sample alone.
    """
    try:
        import imagecodecs
    except ImportError:
        raise UserError(
            f"reading the 16-bit colour of {source.name} needs imagecodecs: pip install -r requirements.txt"
        ) from None
    data = source.path.read_bytes() if source.data is None else source.data
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        texels = imagecodecs.tiff_decode(data)
        if image.tag_v2.get(_PLANAR_CONFIGURATION) == 2:
            texels = np.moveaxis(texels, 0, 2)
    else:
        texels = imagecodecs.png_decode(data)
    return texels[..., 0] if texels.shape[2] == 2 else texels


@contextmanager
def _open_exr(source: SourceImage, header_only: bool = False) -> Iterator[Any]:
    """Open an OpenEXR image; raises `UserError` where it or the OpenEXR package cannot be read."""
    try:
        import OpenEXR
    except ImportError:
        raise UserError(
            f"reading {source.path} needs the OpenEXR package: pip install OpenEXR, or save the image as 16-bit PNG"
        ) from None
    try:
        with OpenEXR.File(str(source.path), header_only=header_only) as file:
            yield file
    except (*_READ_ERRORS, RuntimeError) as error:
        raise _unreadable(source, error) from error


def _read_exr(source: SourceImage) -> DecodedImage:
    """Read an OpenEXR image as float32 `[H, W, 1 or 3]`."""
    with _open_exr(source) as file:
        channels = file.channels()
        name = next((key for key in ("RGB", "RGBA", "Y", "R") if key in channels), next(iter(channels)))
        texels = np.asarray(channels[name].pixels, np.float32)
    notices = [f"channel {key} of {source.name} is not used" for key in channels if key != name]
    if texels.ndim == 2:
        return DecodedImage(texels[..., None], notices)
    if texels.shape[2] == 4:
        notices.append(f"alpha of {source.name} is not used")
    return DecodedImage(texels[..., :3], notices)
