"""Image files of every layout become the texels they hold, and what is left out of them is said."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from dataset import load_texture_set
from images.depth import deep_codes
from tests.images.files import flat, refusal, save
from utils.errors import UserError


def write_png_16bit(path: Path, values: np.ndarray, color_type: int) -> None:
    """A 16-bit PNG by the specification, its rows filtered with Sub and Up in turn."""
    height, width, channels = values.shape
    raw = values.astype(">u2").tobytes()
    stride, bpp = width * channels * 2, channels * 2
    rows = np.frombuffer(raw, np.uint8).reshape(height, stride).astype(int)
    lines = []
    for y in range(height):
        before = np.concatenate([np.zeros(bpp, int), rows[y, :-bpp]]) if y % 2 == 0 else rows[y - 1]
        lines.append(bytes([1 if y % 2 == 0 else 2]) + ((rows[y] - before) % 256).astype(np.uint8).tobytes())

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"".join(lines)))
        + chunk(b"IEND", b"")
    )


def write_tiff_16bit(path: Path, values: np.ndarray, order: str, planar: bool, extra_sample: int = 2) -> None:
    """An uncompressed 16-bit TIFF by the specification, RGB or RGBA, each plane (or all of them) one strip.

    `order` is `<` (II) or `>` (MM); a fourth channel is alpha (`extra_sample` 2), or 1: colour is multiplied by it.
    """
    height, width, channels = values.shape
    strips = np.moveaxis(values, 2, 0) if planar else values[None]
    data = strips.astype(f"{order}u2").tobytes()
    entries = [
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [16] * channels),
        (259, 3, [1]),
        (262, 3, [2]),
        (273, 4, [8 + index * len(data) // len(strips) for index in range(len(strips))]),
        (277, 3, [channels]),
        (278, 4, [height]),
        (279, 4, [len(data) // len(strips)] * len(strips)),
        (284, 3, [2 if planar else 1]),
    ]
    if channels == 4:
        entries.append((338, 3, [extra_sample]))
    start = 8 + len(data)
    table, extra = struct.pack(f"{order}H", len(entries)), b""
    extra_start = start + 2 + 12 * len(entries) + 4
    for tag, kind, numbers in entries:
        packed = struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(packed) > 4:
            field, extra = struct.pack(f"{order}I", extra_start + len(extra)), extra + packed
        else:
            field = packed.ljust(4, b"\0")
        table += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + field
    magic = b"II" if order == "<" else b"MM"
    path.write_bytes(magic + struct.pack(f"{order}HI", 42, start) + data + table + struct.pack(f"{order}I", 0) + extra)


def hard_to_round(height: int, width: int, channels: int) -> np.ndarray:
    """Random 16-bit values, the first ones such that cutting the low byte gives another code than rounding."""
    values = np.random.default_rng(2).integers(0, 65536, (height, width, channels)).astype(np.uint16)
    # 0x00FF is 0.99 of a code and 0x80FF nearly 128: cutting gives 0 and 128 less rounding.
    values[0, 0], values[0, 1], values[0, 2] = 0x00FF, 0x80FF, 0xFFFF
    return values


def rounded(values: np.ndarray) -> np.ndarray:
    return np.floor(values / 65535 * 255 + 0.5).astype(int)


@pytest.mark.parametrize(("color_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_png_is_rounded_to_8_bits_not_cut_and_kept_beside_them(
    tmp_path: Path, color_type: int, channels: int
) -> None:
    values = hard_to_round(9, 6, channels)
    write_png_16bit(tmp_path / "a_albedo.png", values, color_type)
    textures = load_texture_set(tmp_path)
    texels, expected = textures.mips[0][..., :3], rounded(values[..., :3] if channels > 2 else values[..., :1])
    assert expected[0, 0, 0] == 1
    assert np.array_equal(texels, np.broadcast_to(expected, texels.shape))
    deep = deep_codes(texels, textures.fine["diffuse"][0])
    assert textures.depths["diffuse"] == 16
    assert np.array_equal(deep, np.broadcast_to(values[..., :3] if channels > 2 else values[..., :1], deep.shape))
    assert any("alpha of a_albedo.png is not used" in line for line in textures.notices) == (channels in (2, 4))


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_tiff_is_rounded_to_8_bits_not_cut_and_kept_beside_them(
    tmp_path: Path, channels: int, order: str, planar: bool
) -> None:
    values = hard_to_round(9, 6, channels)
    write_tiff_16bit(tmp_path / "a_albedo.tif", values, order, planar)
    textures = load_texture_set(tmp_path)
    assert np.array_equal(textures.mips[0][..., :3], rounded(values[..., :3]))
    assert textures.depths["diffuse"] == 16
    assert np.array_equal(deep_codes(textures.mips[0][..., :3], textures.fine["diffuse"][0]), values[..., :3])


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "lzw", "predictor": True},
        {"compression": "deflate"},
        {"compression": "lzw", "planarconfig": "separate"},
    ],
)
def test_compressed_16_bit_tiff_is_rounded_too(tmp_path: Path, options: dict[str, object]) -> None:
    values = hard_to_round(40, 30, 3)
    planar = options.get("planarconfig") == "separate"
    (tmp_path / "a_albedo.tif").write_bytes(
        imagecodecs.tiff_encode(
            np.ascontiguousarray(np.moveaxis(values, 2, 0)) if planar else values, photometric="rgb", **options
        )
    )
    assert np.array_equal(load_texture_set(tmp_path).mips[0][..., :3], rounded(values))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_truncated_16_bit_colour_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a_albedo.{suffix}"
    values = hard_to_round(64, 64, 3)
    if suffix == "png":
        write_png_16bit(path, values, 2)
    else:
        path.write_bytes(imagecodecs.tiff_encode(values, photometric="rgb", compression="deflate"))
    load_texture_set(tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=path.name):
        load_texture_set(tmp_path)


def test_16_bit_layouts_that_are_read_with_8_bits_say_so(tmp_path: Path) -> None:
    write_tiff_16bit(tmp_path / "a_albedo.tif", np.full((5, 4, 4), 0x4000, np.uint16), "<", False, extra_sample=1)
    notices = load_texture_set(tmp_path).notices
    assert any("with 8 of its 16 bits" in line for line in notices), notices


@pytest.mark.parametrize(("mode", "opaque"), [("RGBA", True), ("RGBA", False), ("LA", False)])
def test_alpha_that_is_dropped_is_said_and_changes_no_colour(tmp_path: Path, mode: str, opaque: bool) -> None:
    image = Image.new(mode, (4, 4), (90, 60, 30, 255) if mode == "RGBA" else (90, 255))
    if not opaque:
        image.putpixel((0, 0), (90, 60, 30, 0) if mode == "RGBA" else (90, 0))
    image.save(tmp_path / "a_albedo.png")
    textures = load_texture_set(tmp_path)
    assert (textures.mips[0][..., :3] == ([90, 60, 30] if mode == "RGBA" else 90)).all()
    (line,) = (line for line in textures.notices if line.startswith("alpha of a_albedo.png is not used"))
    assert ("opaque" in line) == opaque


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_transparency_of_a_palette_or_a_colour_is_said(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGB", (4, 4), (204, 204, 204)).convert(mode)
    image.save(tmp_path / "a_albedo.png", transparency=(204, 204, 204) if mode == "RGB" else 0)
    textures = load_texture_set(tmp_path)
    assert (textures.mips[0][..., :3] == 204).all()
    assert any("of a_albedo.png is not used" in notice for notice in textures.notices)


def test_what_is_converted_or_left_out_of_a_file_is_said(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 4), (10, 20, 30, 40)).save(tmp_path / "a_albedo.jpg")
    pages = [Image.new("L", (4, 4), value) for value in (70, 80)]
    pages[0].save(tmp_path / "a_rough.tif", save_all=True, append_images=pages[1:])
    textures = load_texture_set(tmp_path)
    assert (textures.mips[0][..., 6] == 70).all()
    assert any("a_albedo.jpg is CMYK" in line for line in textures.notices)
    assert "the first of the 2 pictures in a_rough.tif is used" in textures.notices


@pytest.mark.parametrize("suffix", ["png", "jpg", "tga", "bmp"])
def test_truncated_image_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a_albedo.{suffix}", np.random.default_rng(0).integers(0, 256, (64, 64, 3)))
    load_texture_set(tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert path.name in refusal(tmp_path)


def test_file_that_is_no_image_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a_albedo.png").write_bytes(b"")
    assert "a_albedo.png" in refusal(tmp_path)
    (tmp_path / "a_albedo.png").write_bytes(b"<html>not found</html>")
    assert "a_albedo.png" in refusal(tmp_path)


def test_image_beyond_the_size_limit_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    header = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 65535, 65535, 24, 0)
    (tmp_path / "a_albedo.tga").write_bytes(header + bytes(64))
    assert "65535" in refusal(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "tga", "bmp", "tif", "webp"])
def test_lossless_formats_are_read_exactly(tmp_path: Path, suffix: str) -> None:
    values = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)
    save(tmp_path / f"a_albedo.{suffix}", values, **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(load_texture_set(tmp_path).mips[0][..., :3], values)


def test_palette_alpha_grey_and_bilevel_images_are_read(tmp_path: Path) -> None:
    values = np.zeros((4, 4, 3), np.uint8)
    values[:2] = 200, 40, 60
    Image.fromarray(values).quantize(2).save(tmp_path / "a_albedo.png")
    assert Image.open(tmp_path / "a_albedo.png").mode == "P"
    save(tmp_path / "a_normal.png", np.dstack([np.broadcast_to([128, 128, 255], (4, 4, 3)), flat(4, 4, 0)]))
    save(tmp_path / "a_rough.png", np.dstack([flat(4, 4, 50), flat(4, 4, 9)]))
    save(tmp_path / "a_metallic.png", (values[..., 0] > 0) * 255, "1")
    texels = load_texture_set(tmp_path).mips[0]
    assert texels[0, 0].tolist() == [200, 40, 60, 128, 128, 255, 50, 0, 255, 0, 0]
    assert texels[3, 3].tolist() == [0, 0, 0, 128, 128, 255, 50, 0, 0, 0, 0]


def test_cmyk_image_is_read_as_colour(tmp_path: Path) -> None:
    save(tmp_path / "a_albedo.jpg", flat(16, 16, (200, 40, 60)), "CMYK", quality=100)
    assert np.abs(load_texture_set(tmp_path).mips[0][0, 0, :3].astype(int) - [200, 40, 60]).max() <= 4


def test_float_tiff_heights_are_scaled_with_a_notice(tmp_path: Path) -> None:
    Image.fromarray(np.float32([[-2, 0], [2, 6]])).save(tmp_path / "a_height.tif")
    textures = load_texture_set(tmp_path)
    assert textures.mips[0][..., 10].tolist() == [[0, 64], [128, 255]]
    assert any("a_height.tif" in line for line in textures.notices)


def test_float_exr_colour_is_coded_as_srgb(tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR", reason="OpenEXR is not installed")
    pixels = np.full((3, 5, 3), 0.5, np.float32)
    with openexr.File({"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}, {"RGB": pixels}) as file:
        file.write(str(tmp_path / "a_albedo.exr"))
    textures = load_texture_set(tmp_path)
    assert (textures.width, textures.height) == (5, 3)
    assert textures.mips[0][0, 0, :3].tolist() == [188, 188, 188]


def test_damaged_exr_is_refused_by_name(tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR", reason="OpenEXR is not installed")
    path = tmp_path / "a_albedo.exr"
    with openexr.File(
        {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage},
        {"RGB": np.random.default_rng(0).random((64, 64, 3), np.float32)},
    ) as file:
        file.write(str(path))
    load_texture_set(tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "a_albedo.exr" in refusal(tmp_path)
    path.write_bytes(b"no image")
    assert "a_albedo.exr" in refusal(tmp_path)
