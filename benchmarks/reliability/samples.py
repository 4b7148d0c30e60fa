"""Small valid files of every format that the toolkit reads as an image, which the damaged ones are made from."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 24, 16


def texels(channels: int = 3, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """Return a smooth image with some noise, `[HEIGHT, WIDTH, channels]`, over the type's whole range."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = [0.5 + 0.4 * np.sin(0.3 * (c + 1) * x + 0.2 * y) for c in range(channels)]
    values = np.clip(np.stack(waves, -1) + rng.uniform(-0.1, 0.1, (HEIGHT, WIDTH, channels)), 0, 1)
    return values.astype(dtype) if dtype.startswith("float") else (values * np.iinfo(dtype).max).astype(dtype)


def _saved(image: Image.Image, name: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def _image(mode: str) -> Image.Image:
    return Image.fromarray(texels()).convert(mode)


def _png8() -> list[bytes]:
    frames = [Image.fromarray(texels(seed=seed)) for seed in range(3)]
    return [
        *(_saved(_image(mode), "PNG") for mode in ("RGB", "RGBA", "L", "LA", "P", "1")),
        _saved(_image("P"), "PNG", transparency=3),
        _saved(_image("RGB"), "PNG", icc_profile=b"profile" * 40, dpi=(72, 72), exif=_exif()),
        _saved(frames[0], "PNG", save_all=True, append_images=frames[1:]),
    ]


def _png16() -> list[bytes]:
    import imagecodecs

    found = [imagecodecs.png_encode(texels(channels, "uint16")) for channels in (2, 3, 4)]
    return [*found, _saved(Image.fromarray(texels(1, "uint16")[..., 0]), "PNG")]


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    return exif.tobytes()


def _jpeg() -> list[bytes]:
    return [
        *(_saved(_image(mode), "JPEG", quality=80) for mode in ("RGB", "L", "CMYK")),
        _saved(_image("RGB"), "JPEG", progressive=True, subsampling=0),
        _saved(_image("RGB"), "JPEG", exif=_exif(), icc_profile=b"profile" * 40, restart_marker_rows=1),
        _saved(_image("RGB"), "MPO", save_all=True, append_images=[_image("RGB")]),
    ]


def _tiff() -> list[bytes]:
    compressions = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    found = [_saved(_image("RGB"), "TIFF", compression=compression) for compression in compressions]
    found += [_saved(_image(mode), "TIFF") for mode in ("L", "P", "RGBA", "CMYK", "1", "F", "I", "LAB")]
    found.append(_saved(_image("1"), "TIFF", compression="group4"))
    found.append(_saved(Image.fromarray(texels(1, "uint16")[..., 0]), "TIFF", compression="tiff_lzw"))
    found.append(_saved(_image("RGB"), "TIFF", save_all=True, append_images=[_image("L")]))
    return found + [tiff16(order, planar) for order in "<>" for planar in (1, 2)]


def tiff16(order: str = "<", planar: int = 1) -> bytes:
    """Return 16-bit RGB in an uncompressed TIFF, of either byte order, by texels (1) or by channels (2)."""
    values = texels(3, "uint16")
    data = (np.moveaxis(values, 2, 0) if planar == 2 else values).astype(order + "u2").tobytes()
    n_strips = 3 if planar == 2 else 1
    extra = 8 + 2 + 12 * 11 + 4
    bits, offsets, counts, start = extra, extra + 6, extra + 6 + 4 * n_strips, extra + 6 + 8 * n_strips
    length = len(data) // n_strips
    entries = [
        (256, 3, 1, WIDTH),
        (257, 3, 1, HEIGHT),
        (258, 3, 3, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, n_strips, offsets if n_strips > 1 else start),
        (277, 3, 1, 3),
        (278, 3, 1, HEIGHT),
        (279, 4, n_strips, counts if n_strips > 1 else length),
        (284, 3, 1, planar),
        (339, 3, 1, 1),
    ]
    parts = [b"II*\0" if order == "<" else b"MM\0*", struct.pack(order + "IH", 8, len(entries))]
    for tag, kind, count, value in entries:
        parts.append(struct.pack(order + "HHI", tag, kind, count))
        short = kind == 3 and count == 1
        parts.append(struct.pack(order + ("HH" if short else "I"), *((value, 0) if short else (value,))))
    parts += [b"\0" * 4, struct.pack(order + "3H", 16, 16, 16)]
    parts.append(struct.pack(f"{order}{n_strips}I", *(start + length * strip for strip in range(n_strips))))
    parts.append(struct.pack(f"{order}{n_strips}I", *[length] * n_strips))
    return b"".join(parts) + data


def _tga() -> list[bytes]:
    found = [
        _saved(_image(mode), "TGA", **options) for mode in ("RGB", "RGBA", "L", "P") for options in ({}, {"rle": 1})
    ]
    return [data if isinstance(data, bytes) else bytes(data) for data in found]


def _bmp() -> list[bytes]:
    return [_saved(_image(mode), "BMP") for mode in ("RGB", "RGBA", "L", "P", "1")] + [_bmp_rle()]


def _bmp_rle() -> bytes:
    palette = b"".join(struct.pack("<4B", index, index, index, 0) for index in range(256))
    rows = b"".join(bytes((WIDTH, row * 8, 0, 0)) for row in range(HEIGHT)) + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 8, 1, len(rows), 0, 0, 256, 0)
    start = 14 + len(header) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start) + header + palette + rows


def _webp() -> list[bytes]:
    frames = [Image.fromarray(texels(seed=seed)) for seed in range(3)]
    return [
        _saved(_image("RGB"), "WEBP"),
        _saved(_image("RGB"), "WEBP", lossless=True),
        _saved(_image("RGBA"), "WEBP"),
        _saved(_image("RGB"), "WEBP", exif=_exif(), icc_profile=b"profile" * 40),
        _saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
    ]


def _exr(folder: Path) -> list[bytes]:
    import OpenEXR

    path, found = folder / "sample.exr", []
    header = {"type": OpenEXR.scanlineimage}
    for compression in (
        OpenEXR.NO_COMPRESSION,
        OpenEXR.ZIP_COMPRESSION,
        OpenEXR.PIZ_COMPRESSION,
        OpenEXR.RLE_COMPRESSION,
    ):
        for channels, dtype in ((3, "float16"), (4, "float32"), (1, "float32")):
            values = texels(channels, dtype)
            name = {1: "Y", 3: "RGB", 4: "RGBA"}[channels]
            pixels = {name: values[..., 0] if channels == 1 else values}
            OpenEXR.File({**header, "compression": compression}, pixels).write(str(path))
            found.append(path.read_bytes())
    for extra in ({"dataWindow": (np.array((2, 3), np.int32), np.array((25, 18), np.int32))}, {"comments": "text"}):
        OpenEXR.File({**header, **extra}, {"RGB": texels(3, "float16")}).write(str(path))
        found.append(path.read_bytes())
    path.unlink()
    return found


def hdr(width: int = WIDTH, height: int = HEIGHT, packed: bool = True) -> bytes:
    """Return a Radiance picture, its rows packed by runs or plain."""
    head = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\nEXPOSURE=1.0\n\n-Y {height} +X {width}\n".encode()
    values = np.concatenate([texels(), np.full((HEIGHT, WIDTH, 1), 128, np.uint8)], -1)
    if not packed:
        return head + values.tobytes()
    rows = []
    for row in values:
        rows.append(struct.pack(">BBH", 2, 2, WIDTH))
        rows += [bytes((WIDTH,)) + row[:, channel].tobytes() for channel in range(3)]
        rows.append(bytes((128 + WIDTH, 128)))
    return head + b"".join(rows)


IMAGES: dict[str, Callable[[Path], list[bytes]]] = {
    "png": lambda folder: _png8(),
    "png16": lambda folder: _png16(),
    "jpg": lambda folder: _jpeg(),
    "tif": lambda folder: _tiff(),
    "tga": lambda folder: _tga(),
    "bmp": lambda folder: _bmp(),
    "webp": lambda folder: _webp(),
    "exr": _exr,
    "hdr": lambda folder: [hdr(), hdr(packed=False)],
}
"""By the name of the format: its samples, written by well-known encoders where one writes them."""


def write_samples(folder: Path) -> None:
    """Write every sample into a folder of its format below `folder`."""
    for name, make in IMAGES.items():
        place = folder / name
        place.mkdir(parents=True)
        for number, data in enumerate(make(place)):
            (place / f"{number:02}").write_bytes(data)
