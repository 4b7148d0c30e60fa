"""Image files as arrays: formats, bit depths, palettes, and one line for what cannot be read."""

from __future__ import annotations

import struct
import threading
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from utils.errors import UserError, describe_os_error

MAX_SIDE = 16384

_READ_ERRORS = (OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, OverflowError, struct.error,
                zlib.error)
_pillow_limit = threading.Lock()


def _open_image(path: Path) -> Image.Image:
    """Open an image of up to `MAX_SIDE` squared texels, for which Pillow's own limit is too low."""
    with _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    if image.width * image.height > MAX_SIDE ** 2:
        size = f"{image.width} x {image.height}"
        image.close()
        raise UserError(f"{path} is {size}; at most {MAX_SIDE} x {MAX_SIDE} is read, save a smaller copy")
    return image


def _unreadable(path: Path, error: Exception) -> UserError:
    """The one line for an image that cannot be read."""
    if isinstance(error, OSError) and error.errno is not None:
        return UserError(describe_os_error(error, path))
    cause = "it is damaged, cut short or no image" if "identify" in str(error) else error
    return UserError(f"could not read {path} ({cause}); save it again as PNG, or remove it")


def image_size(path: Path) -> tuple[int, int]:
    """Width and height from the header alone."""
    if path.suffix.lower() == ".exr":
        height, width = _read_exr(path).shape[:2]
        return width, height
    try:
        with _open_image(path) as image:
            return image.size
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from error


def read_image(path: Path) -> np.ndarray:
    """Read an image as `[H, W, C]`, C 1 or 3 (alpha is dropped): uint8, uint16, or float32 as stored."""
    if path.suffix.lower() == ".exr":
        return _read_exr(path)
    try:
        with _open_image(path) as image:
            rawmode = _rawmode(image)
            if image.format == "PNG" and rawmode in ("RGB;16B", "RGBA;16B"):
                return _read_png_16bit(path, image, rawmode)
            if image.mode in ("1", "LA", "La"):
                image = image.convert("L")
            elif image.mode.startswith("I;16"):
                return np.asarray(image).astype(np.uint16)[..., None]
            elif image.mode == "I":
                # Older Pillow gives 16-bit grey as 32-bit integers.
                values = np.asarray(image)
                if values.min() < 0 or values.max() > 65535:
                    raise ValueError("32-bit integers")
                return values.astype(np.uint16)[..., None]
            elif image.mode not in ("L", "F", "RGB", "RGBA", "RGBX"):
                image = image.convert("RGB")
            texels = np.asarray(image)
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from error
    return texels[..., None] if texels.ndim == 2 else texels[..., :3]


def _rawmode(image: Image.Image) -> str:
    """Pillow's name for the layout of the file's pixels, empty where it has none."""
    args = image.tile[0][3] if getattr(image, "tile", None) else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def _read_png_16bit(path: Path, image: Image.Image, rawmode: str) -> np.ndarray:
    """Read 16-bit colour as uint16 `[H, W, 3]`.

    Pillow keeps one byte of each sample: the high one, or, told that the file is little-endian, the low one.
    """
    high = np.asarray(image)[..., :3].astype(np.uint16)
    with _open_image(path) as again:
        codec, extents, offset, args = again.tile[0]
        swapped = rawmode.replace("16B", "16L")
        again.tile = [(codec, extents, offset, (swapped, *args[1:]) if isinstance(args, tuple) else swapped)]
        low = np.asarray(again)[..., :3]
    return (high << 8) | low


def _read_exr(path: Path) -> np.ndarray:
    """Read an OpenEXR image as float32 `[H, W, 1 or 3]`; needs the OpenEXR package."""
    try:
        import OpenEXR
    except ImportError:
        raise UserError(f"reading {path} needs the OpenEXR package: pip install OpenEXR, or save the image as "
                        "16-bit PNG") from None
    try:
        with OpenEXR.File(str(path)) as file:
            channels = file.channels()
            name = next((key for key in ("RGB", "RGBA", "Y", "R") if key in channels), next(iter(channels)))
            texels = np.asarray(channels[name].pixels, np.float32)
    except (*_READ_ERRORS, RuntimeError) as error:
        raise _unreadable(path, error) from error
    return texels[..., None] if texels.ndim == 2 else texels[..., :3]
