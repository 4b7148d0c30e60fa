"""Image files as arrays: formats, bit depths, palettes, and one line for what cannot be read."""

from __future__ import annotations

import io
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from images.colour_profiles import coding_notices, converted_to_srgb
from images.float_files import FLOAT_SUFFIXES, float_size, read_float, read_tiff, tiff_size
from images.quiet import quiet_libraries
from images.sources import SourceImage
from utils.errors import UserError, describe_os_error

MAX_PIXELS = 16384**2
"""Most texels of an image that is read, unless another limit is asked for."""

MAX_SIDE = 1 << 16
"""Longest side of an image; manifests have no longer ones."""
ANY_SIZE = MAX_SIDE**2
"""Texels, where another reading of the same file refuses it by the limit that the user sets."""
_MOST_PICTURES = 100
"""Pictures of one file that are counted."""
_MOST_SCANS = 200
"""Scans of one JPEG file, those of pictures in its metadata too."""
_FORMATS = ("PNG", "JPEG", "TIFF", "TGA", "BMP", "WEBP")
"""What Pillow may read, whatever the suffix says; among its others are some that run programs."""

_READ_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
)
_BITS_PER_SAMPLE, _PLANAR_CONFIGURATION, _EXTRA_SAMPLES = 258, 284, 338
"""TIFF tags."""
_pillow_limit = threading.Lock()
# A damaged file is refused in one line; the libraries' own warnings would stand before it.
warnings.filterwarnings("ignore", module=r"PIL\.")
for _library in ("PIL", "imagecodecs"):
    logging.getLogger(_library).setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class DecodedImage:
    """The texels of an image file, and what reading left out of them."""

    texels: np.ndarray
    """`[H, W, C]`, C 1 to 4, grey or colour, then alpha where the file has it: uint8, uint16, or float32 as stored."""
    notices: list[str] = field(default_factory=list)
    """Sentences, such as that the first of several pictures is used."""

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha."""
        return self.texels.shape[2] in (2, 4)


@contextmanager
def _one_line(source: SourceImage) -> Iterator[None]:
    """Raise what goes wrong in reading an image as one line."""
    try:
        with quiet_libraries():
            yield
    except _READ_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(describe_os_error(error, source.path)) from error
        damaged = isinstance(error, UnidentifiedImageError) or not str(error)
        cause = "it is damaged, cut short or no image" if damaged else " ".join(str(error).split())
        raise UserError(f"could not read {_shown(source)} ({cause}); save it again as PNG, or remove it") from error


def _open_image(source: SourceImage) -> ImageFile.ImageFile:
    """Open an image of any size, for which Pillow's own limit is too low."""
    with _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(source.path if source.data is None else io.BytesIO(source.data), formats=_FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _shown(source: SourceImage) -> str:
    """What a message calls an image: its path, or its name and the file that holds it."""
    return str(source.path) if source.data is None else f"{source.name} in {source.path}"


def _refuse_large(source: SourceImage, size: tuple[int, int], max_pixels: int) -> None:
    """Raise `UserError` for an image of none or too many texels, by its header, before it is decoded."""
    if min(size) < 1:
        raise UserError(
            f"could not read {_shown(source)} (its header says {size[0]} x {size[1]}); save it again as PNG"
        )
    if max(size) > MAX_SIDE:
        raise UserError(f"{_shown(source)} is {size[0]} x {size[1]}, sides of {MAX_SIDE} are read at most; cut it")
    if size[0] * size[1] > max_pixels:
        raise UserError(
            f"{_shown(source)} is {size[0]} x {size[1]}, more than the {max_pixels} pixels that are read; "
            "save a smaller copy, or raise --max_pixels"
        )


def image_size(source: SourceImage, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height from the header alone; raises `UserError` where the image has more than `max_pixels` texels."""
    with _one_line(source):
        if source.suffix in FLOAT_SUFFIXES:
            size = float_size(source)
        else:
            try:
                with _open_image(source) as image:
                    size = image.size
            except UnidentifiedImageError:
                size = tiff_size(source)
    _refuse_large(source, size, max_pixels)
    return size


def image_bands(source: SourceImage) -> tuple[str, ...]:
    """Names of the channels of an image that Pillow opens, by its header: L and A, or R, G, B and A; P of a palette."""
    with _one_line(source), _open_image(source) as image:
        return ("P", "A") if image.mode == "P" and "transparency" in image.info else image.getbands()


def read_image(source: SourceImage, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Read the colour or grey of an image, and its alpha, at the file's own depth.

    Raises `UserError` where the file cannot be read or has more than `max_pixels` texels.
    """
    _refuse_large(source, image_size(source, max_pixels), max_pixels)
    with _one_line(source):
        if source.suffix in FLOAT_SUFFIXES:
            return DecodedImage(*read_float(source))
        try:
            with _open_image(source) as image:
                return _read_opened(source, image)
        except UnidentifiedImageError:
            # Floating point colour, which Pillow does not know.
            return DecodedImage(*read_tiff(source))


def _read_opened(source: SourceImage, image: ImageFile.ImageFile) -> DecodedImage:
    """Read an image that Pillow opened: by itself, or 16-bit colour by imagecodecs."""
    _refuse_many_scans(source, image)
    bits = _bits_per_sample(image)
    notices = _left_out(image, source.name)
    notices += coding_notices(image, source.name)
    if bits == 16 and image.mode in ("RGB", "RGBA", "RGBX", "LA") and not _is_premultiplied(image):
        texels = _read_16bit_colour(source, image)
    else:
        texels = _texels(image, source.name, notices)
        if texels.dtype == np.uint8 and bits > 8:
            notices.append(
                f"{source.name} is read with 8 of its {bits} bits per sample; save it as RGB or grey PNG to keep them"
            )
    return DecodedImage(texels[..., None] if texels.ndim == 2 else texels[..., :4], notices)


def _left_out(image: ImageFile.ImageFile, name: str) -> list[str]:
    """What an opened image holds beside the texels that are read."""
    notices = []
    n_frames = _n_pictures(image)
    if n_frames > 1:
        more = " or more" if n_frames == _MOST_PICTURES else ""
        notices.append(f"the first of the {n_frames}{more} pictures in {name} is used")
    if "transparency" in image.info and image.mode != "P":
        notices.append(f"transparency of {name} is not used")
    return notices


def _n_pictures(image: ImageFile.ImageFile) -> int:
    """How many pictures a file holds, counted up to `_MOST_PICTURES`; the first is the current one afterwards."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        found = min(getattr(image, "n_frames", 1), _MOST_PICTURES)
    else:
        # Pillow would go through all of them, and a small file can hold a million.
        found = 1
        while found < _MOST_PICTURES:
            try:
                image.seek(found)
            except EOFError:
                break
            found += 1
    if found > 1:
        image.seek(0)
    return found


def _refuse_many_scans(source: SourceImage, image: ImageFile.ImageFile) -> None:
    """Raise `ValueError` for a JPEG that goes over its texels without end; encoders make some ten scans."""
    if image.format in ("JPEG", "MPO") and source.content().count(b"\xff\xda") > _MOST_SCANS:
        raise ValueError(f"a JPEG of more than {_MOST_SCANS} scans")


def _texels(image: Image.Image, name: str, notices: list[str]) -> np.ndarray:
    """The texels as Pillow reads them: `[H, W]` or `[H, W, C]`."""
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "I":
        # Older Pillow gives 16-bit grey as 32-bit integers.
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("32-bit integers")
        return values.astype(np.uint16)
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode == "La":
        image = image.convert("LA")
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        image = converted_to_srgb(image, name, notices)
    elif image.mode == "RGBX" or image.mode not in ("L", "LA", "F", "RGB", "RGBA"):
        image = image.convert("RGBA" if image.mode in ("RGBa", "PA") else "RGB")
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
    """Read 16-bit colour, or grey with alpha, of PNG and TIFF as uint16 `[H, W, C]`.

    Pillow would keep the high byte of each sample alone.
    """
    import imagecodecs

    data = source.content()
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        texels = imagecodecs.tiff_decode(data)
        if image.tag_v2.get(_PLANAR_CONFIGURATION) == 2:
            texels = np.moveaxis(texels, 0, 2)
        # A fourth sample that is not said to be alpha is none.
        return texels[..., :3] if image.mode == "RGBX" else texels
    return imagecodecs.png_decode(data)
