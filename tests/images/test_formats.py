"""Colour models, profiles, alpha and sizes of image files, as encoders write them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from configs import ImageConfig
from dataset import load_texture_set
from images.reading import image_size, read_image
from images.sources import SourceImage
from tests.images.files import flat, refusal, save
from utils.errors import UserError

RANDOM = np.random.default_rng(5)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P"])
@pytest.mark.parametrize("suffix", ["png", "tga", "bmp", "webp", "tif"])
def test_every_format_gives_the_same_texels_in_every_mode_it_has(tmp_path: Path, suffix: str, mode: str) -> None:
    values = RANDOM.integers(0, 4, (6, 5, 3)).astype(np.uint8) * 80
    if mode in ("L", "LA"):
        values[...] = values[..., :1]
    image = Image.fromarray(values)
    image = image.quantize(64) if mode == "P" else image.convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(RANDOM.integers(0, 256, (6, 5), np.uint8)))
    expected = np.asarray(image.convert("RGB"))
    path = tmp_path / f"a_albedo.{suffix}"
    try:
        # exact: colours under alpha 0 are kept as they are.
        image.save(path, **({"lossless": True, "exact": True} if suffix == "webp" else {}))
    except OSError:
        pytest.skip(f"{suffix} has no mode {mode}")
    textures = load_texture_set(tmp_path)
    assert np.array_equal(textures.mips[0][..., :3], expected)
    assert textures.depths == {"diffuse": 8}


def test_colours_under_alpha_0_are_left_as_they_are(tmp_path: Path) -> None:
    values = np.dstack([RANDOM.integers(1, 256, (4, 4, 3)), np.zeros((4, 4), int)]).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "a_albedo.png")
    textures = load_texture_set(tmp_path)
    assert np.array_equal(textures.mips[0][..., :3], values[..., :3])
    assert "alpha of a_albedo.png is not used" in textures.notices


def cmyk_profile() -> bytes:
    """A printer's profile: any ink at all gives one dark brown, so that its use cannot be missed."""
    identity = bytes(range(256))
    paper, brown = bytes([255, 128, 128]), bytes([90, 148, 148])
    curve = struct.pack(">9i", *(65536 * (row == column) for row in range(3) for column in range(3)))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + curve + identity * 4 + paper + brown * 15 + identity * 3
    text = b"Test ink"
    tags = {
        b"A2B0": lut,
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + bytes(1 + 8 + 3 + 67),
        b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061),
        b"cprt": b"text" + bytes(4) + b"none\0",
    }
    start, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        data = data.ljust(-(-len(data) // 4) * 4, b"\0")
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    header = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + body


def test_cmyk_without_a_profile_is_converted_and_says_so(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a_albedo.tif")
    textures = load_texture_set(tmp_path)
    assert textures.mips[0][0, 0, :3].tolist() == [255, 0, 0]
    assert any("is CMYK, converted to RGB without a colour profile" in line for line in textures.notices)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_is_converted_by_its_profile(tmp_path: Path, suffix: str) -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    image.save(
        tmp_path / f"a_albedo.{suffix}", icc_profile=cmyk_profile(), **({"quality": 100} if suffix == "jpg" else {})
    )
    textures = load_texture_set(tmp_path)
    # L 35, a 20, b 20 is this brown in sRGB.
    assert np.abs(textures.mips[0][0, 0, :3].astype(int) - [120, 71, 52]).max() <= 12
    assert f"a_albedo.{suffix} is CMYK, converted to sRGB by its profile Test ink" in textures.notices


def test_lab_is_converted_to_srgb(tmp_path: Path) -> None:
    lab = ImageCms.profileToProfile(
        Image.new("RGB", (4, 4), (180, 60, 40)), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )  # fmt: skip
    lab.save(tmp_path / "a_albedo.tif")
    textures = load_texture_set(tmp_path)
    assert np.abs(textures.mips[0][0, 0, :3].astype(int) - [180, 60, 40]).max() <= 3
    assert any("is LAB" in line for line in textures.notices)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_chunks(path: Path, *chunks: bytes) -> None:
    """Put chunks behind a PNG's header, which ends at byte 33."""
    data = path.read_bytes()
    path.write_bytes(data[:33] + b"".join(chunks) + data[33:])


def gamma(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(value * 100000)))


def primaries(*values: float) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 100000) for value in values)))


SRGB = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
P3 = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([gamma(0.45455)], None),
        ([gamma(0.45455), primaries(*SRGB)], None),
        ([chunk(b"sRGB", b"\0"), gamma(0.45455)], None),
        ([gamma(1.0)], "gamma 1 (linear light)"),
        ([gamma(0.55556)], "gamma 0.55556"),
        ([gamma(0.45455), primaries(*P3)], "primaries of its own"),
    ],
)
def test_png_tags_that_are_not_srgb_are_named_and_texels_stay(
    tmp_path: Path, chunks: list[bytes], said: str | None
) -> None:
    values = RANDOM.integers(0, 256, (4, 4, 3), np.uint8)
    with_chunks(save(tmp_path / "a_albedo.png", values), *chunks)
    textures = load_texture_set(tmp_path)
    assert np.array_equal(textures.mips[0][..., :3], values)
    assert len(textures.notices) == (said is not None)
    assert said is None or (said in textures.notices[0] and "taken as they are coded" in textures.notices[0])


def test_icc_profiles_that_are_not_srgb_are_named(tmp_path: Path) -> None:
    values = flat(4, 4, (200, 90, 40))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    save(tmp_path / "a_albedo.png", values, icc_profile=srgb)
    assert load_texture_set(tmp_path).notices == []
    # The built-in profile under another name, as a wide one would have it.
    start = srgb.index("sRGB built-in".encode("utf-16-be"))
    renamed = srgb[:start] + "Wide built-in".encode("utf-16-be") + srgb[start + 26 :]
    save(tmp_path / "a_albedo.png", values, icc_profile=renamed)
    textures = load_texture_set(tmp_path)
    assert "a_albedo.png has the colour profile Wide built-in, not sRGB; its texels are taken as they are coded" in (
        textures.notices
    )
    assert textures.mips[0][0, 0, :3].tolist() == [200, 90, 40]
    save(tmp_path / "a_albedo.png", values, icc_profile=b"no profile")
    assert any("cannot be read" in line for line in load_texture_set(tmp_path).notices)


def tga_header(path: Path, width: int, height: int) -> None:
    path.write_bytes(struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, width, height, 24, 0) + bytes(64))


def png_header(path: Path, width: int, height: int) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(4096)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""))


def tiff_header(path: Path, width: int, height: int) -> None:
    save(path, flat(2, 2, 7))
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    for entry in range(struct.unpack_from("<H", data, start)[0]):
        place = start + 2 + 12 * entry
        tag = struct.unpack_from("<H", data, place)[0]
        if tag in (256, 257):
            struct.pack_into("<HHII", data, place, tag, 4, 1, width if tag == 256 else height)
    path.write_bytes(bytes(data))


def hdr_header(path: Path, width: int, height: int) -> None:
    path.write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n" + f"-Y {height} +X {width}\n".encode() + bytes(64))


def exr_header(path: Path, width: int, height: int) -> None:
    openexr = pytest.importorskip("OpenEXR", reason="OpenEXR is not installed")
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    with openexr.File(header, {"RGB": np.zeros((4, 4, 3), np.float32)}) as file:
        file.write(str(path))
    data = path.read_bytes()
    window = struct.pack("<4i", 0, 0, 3, 3)
    path.write_bytes(data.replace(window, struct.pack("<4i", 0, 0, width - 1, height - 1)))


def webp_of(path: Path, width: int, height: int) -> None:
    Image.new("RGB", (width, height)).save(path, quality=1, method=0)


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        ("tga", tga_header),
        ("png", png_header),
        ("tif", tiff_header),
        ("hdr", hdr_header),
        ("exr", exr_header),
        ("webp", webp_of),
    ],
)
def test_bombs_are_refused_by_their_header(tmp_path: Path, suffix: str, write) -> None:
    # WebP's sides end at 16383, so its limit is tried at a smaller one.
    width, height, limit = (600, 500, 600 * 500 - 1) if suffix == "webp" else (20000, 19999, ImageConfig.max_pixels)
    path = tmp_path / f"a_albedo.{suffix}"
    write(path, width, height)
    for call in (image_size, read_image):
        with pytest.raises(UserError, match="--max_pixels") as error:
            call(SourceImage(path), limit)
        assert f"{width} x {height}" in str(error.value) and str(limit) in str(error.value)
    if suffix == "webp":
        assert image_size(SourceImage(path), limit + 1) == (width, height)


def test_max_pixels_counts_for_every_map(tmp_path: Path) -> None:
    save(tmp_path / "a_albedo.png", flat(8, 8, (1, 2, 3)))
    save(tmp_path / "a_rough.png", flat(9, 9, 3))
    load_texture_set(tmp_path, images=ImageConfig(max_pixels=81))
    with pytest.raises(UserError, match="a_rough.png is 9 x 9"):
        load_texture_set(tmp_path, images=ImageConfig(max_pixels=64))


@pytest.mark.parametrize("content", [b"", b"#?RADIANCE\n", b"#?RADIANCE\n\n-Y 4 +X 4\n", b"\x00" * 400])
def test_damaged_hdr_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a_albedo.hdr").write_bytes(content)
    assert "a_albedo.hdr" in refusal(tmp_path)


def test_hdr_cut_short_or_turned_is_refused(tmp_path: Path) -> None:
    data = imagecodecs.rgbe_encode(RANDOM.random((32, 32, 3), np.float32))
    (tmp_path / "a_albedo.hdr").write_bytes(data[: len(data) // 2])
    assert "a_albedo.hdr" in refusal(tmp_path)
    (tmp_path / "a_albedo.hdr").write_bytes(data.replace(b"-Y 32 +X 32", b"+Y 32 +X 32"))
    assert "+Y" in refusal(tmp_path)


def test_text_of_a_png_is_no_bomb(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * (1 << 21), zip=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "a_albedo.png", pnginfo=info)
    assert "a_albedo.png" in refusal(tmp_path)
