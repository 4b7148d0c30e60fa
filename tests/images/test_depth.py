"""Maps deeper than 8 bits keep their depth: in values and mips, from files of real encoders."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from dataset import TextureSet, load_texture_set
from images.colour import linear_to_srgb
from images.depth import FINE_STEP, coarse_codes, deep_codes, deep_values, fine_part
from tests.images.files import flat, save


def ramp(height: int = 24, width: int = 16) -> np.ndarray:
    """Values in [0, 1] that no 8-bit code holds: float64 `[height, width]`."""
    y, x = np.mgrid[:height, :width]
    return 0.3 + (x + width * y) / (height * width) * 0.4


def write_exr(path: Path, channels: dict[str, np.ndarray]) -> None:
    openexr = pytest.importorskip("OpenEXR", reason="OpenEXR is not installed")
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    with openexr.File(header, channels) as file:
        file.write(str(path))


def assert_holds(textures: TextureSet, name: str, values: np.ndarray, depth: int, tolerance: float) -> None:
    assert textures.depths[name] == depth
    assert np.abs(textures.map_values(name, 0).squeeze() - values).max() <= tolerance
    assert np.array_equal(textures.mips[0][..., textures.channel_mask].squeeze(), coarse_codes(values))


def test_every_16_bit_value_comes_back_and_floats_to_23_bits() -> None:
    every = np.arange(65536, dtype=np.uint16)
    code = coarse_codes(every)
    assert np.array_equal(deep_codes(code, fine_part(every, code)), every)
    floats = np.random.default_rng(0).random(100000, np.float32)
    floats[:3] = 0, 1, 0.5 / 255
    code = coarse_codes(floats)
    fine = fine_part(floats, code)
    assert fine.dtype == np.int16 and np.abs(deep_values(code, fine) - floats).max() <= FINE_STEP
    # Half a code is the most that 8 bits leave out.
    assert np.abs(fine.astype(int)).max() * FINE_STEP <= 0.5 / 255 + FINE_STEP


def png(values: np.ndarray) -> bytes:
    return imagecodecs.png_encode(values)


def tiff(values: np.ndarray) -> bytes:
    return imagecodecs.tiff_encode(values, compression="deflate")


@pytest.mark.parametrize(("suffix", "encode"), [("png", png), ("tif", tiff)])
def test_16_bit_displacement_is_kept_exactly(tmp_path: Path, suffix: str, encode) -> None:
    values = np.rint(ramp() * 65535).astype(np.uint16)
    (tmp_path / f"a_height.{suffix}").write_bytes(encode(values))
    textures = load_texture_set(tmp_path)
    assert_holds(textures, "displacement", values / 65535, 16, FINE_STEP)
    assert np.array_equal(textures.codes_16bit("displacement", 0)[..., 0], values)
    assert textures.notices == []


def test_pillow_16_bit_grey_is_kept_exactly(tmp_path: Path) -> None:
    values = np.rint(ramp() * 65535).astype(np.uint16)
    for name in ("a_height.png", "a_rough.tif"):
        Image.fromarray(values).save(tmp_path / name)
    textures = load_texture_set(tmp_path)
    for name in ("displacement", "roughness"):
        assert np.array_equal(textures.codes_16bit(name, 0)[..., 0], values)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("suffix", ["tif", "exr"])
def test_floating_point_displacement_is_kept(tmp_path: Path, suffix: str, dtype: type) -> None:
    values = ramp().astype(dtype)
    if suffix == "exr":
        write_exr(tmp_path / "a_height.exr", {"Y": values})
    else:
        (tmp_path / "a_height.tif").write_bytes(imagecodecs.tiff_encode(values))
    assert_holds(load_texture_set(tmp_path), "displacement", values.astype(np.float32), 32, FINE_STEP)


def test_radiance_hdr_colour_is_linear_and_kept_beyond_8_bits(tmp_path: Path) -> None:
    linear = np.stack([ramp(), ramp() * 0.5, ramp() * 0.9], 2).astype(np.float32)
    (tmp_path / "a_albedo.hdr").write_bytes(imagecodecs.rgbe_encode(linear))
    stored = imagecodecs.rgbe_decode((tmp_path / "a_albedo.hdr").read_bytes())
    textures = load_texture_set(tmp_path)
    assert (textures.width, textures.height) == (16, 24)
    assert_holds(textures, "diffuse", linear_to_srgb(stored), 32, 2 * FINE_STEP)
    assert any("linear light coded as sRGB" in line for line in textures.notices)


def test_float_heights_beyond_0_to_1_are_scaled_and_the_range_undoes_it(tmp_path: Path) -> None:
    heights = (ramp() * 50 - 12).astype(np.float32)
    write_exr(tmp_path / "a_height.exr", {"Y": heights})
    textures = load_texture_set(tmp_path)
    low, high = textures.ranges["displacement"]
    assert (low, high) == (float(heights.min()), float(heights.max()))
    values = textures.map_values("displacement", 0)[..., 0]
    assert np.abs(low + (high - low) * values - heights).max() < 1e-5 * (high - low)
    assert textures.map_facts["displacement"] == {"depth": 32, "range": [low, high]}
    assert any("scaled to 0 .. 1" in line for line in textures.notices)


def test_8_bit_values_in_a_16_bit_file_cost_nothing(tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(0, 256, (9, 7), np.uint8)
    (tmp_path / "a_height.png").write_bytes(png(values.astype(np.uint16) * 257))
    textures = load_texture_set(tmp_path)
    assert textures.depths == {"displacement": 8} and textures.fine == {}
    assert np.array_equal(textures.mips[0][..., 10], values)
    assert any("8-bit values" in line for line in textures.notices)


def test_an_8_bit_material_has_nothing_beside_its_mips(tmp_path: Path) -> None:
    save(tmp_path / "a_albedo.png", np.random.default_rng(0).integers(0, 256, (8, 8, 3)))
    textures = load_texture_set(tmp_path)
    assert textures.depths == {"diffuse": 8} and textures.fine == {}
    assert textures.map_facts == {"diffuse": {"depth": 8}}


def test_mips_of_deep_maps_are_the_averages_of_deep_values(tmp_path: Path) -> None:
    values = np.rint(ramp(32, 32) * 65535).astype(np.uint16)
    (tmp_path / "a_height.png").write_bytes(png(values))
    textures = load_texture_set(tmp_path)
    expected = values / 65535
    for mip in range(len(textures.mips)):
        if mip:
            side = len(expected) // 2
            expected = expected.reshape(side, 2, side, 2).mean((1, 3))
        assert np.abs(textures.map_values("displacement", mip)[..., 0] - expected).max() <= 2 * FINE_STEP
        assert np.array_equal(textures.mips[mip][..., 10], coarse_codes(expected))


def test_mips_of_deep_colour_are_averaged_in_linear_light(tmp_path: Path) -> None:
    values = np.zeros((2, 2, 3), np.uint16)
    values[0] = 65535
    values[1] = 257 * 17 + 3
    (tmp_path / "a_albedo.png").write_bytes(png(values))
    linear = ((values[1, 0, 0] / 65535 + 0.055) / 1.055) ** 2.4
    mip = load_texture_set(tmp_path).map_values("diffuse", 1)
    assert mip[0, 0] == pytest.approx(np.full(3, linear_to_srgb((1 + linear) / 2)), abs=1e-6)


def test_deep_normals_stay_of_length_1_in_their_mips(tmp_path: Path) -> None:
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False).reshape(8, 8)
    vectors = np.stack([0.6 * np.cos(angle), 0.6 * np.sin(angle), np.full((8, 8), 0.8)], 2)
    (tmp_path / "a_normal.png").write_bytes(png(np.rint((vectors / 2 + 0.5) * 65535).astype(np.uint16)))
    textures = load_texture_set(tmp_path)
    for mip in range(1, 4):
        length = np.linalg.norm(textures.map_values("normal", mip) * 2 - 1, axis=2)
        assert np.abs(length - 1).max() < 1e-5


def test_resized_deep_maps_stay_deep(tmp_path: Path) -> None:
    save(tmp_path / "a_albedo.png", flat(8, 8, (9, 8, 7)))
    (tmp_path / "a_height.png").write_bytes(png(np.rint(ramp(16, 16) * 65535).astype(np.uint16)))
    (tmp_path / "a_rough.png").write_bytes(png(np.rint(ramp(4, 4) * 65535).astype(np.uint16)))
    textures = load_texture_set(tmp_path)
    expected = ramp(16, 16).reshape(8, 2, 8, 2).mean((1, 3))
    assert np.abs(textures.map_values("displacement", 0)[..., 0] - expected).max() < 1e-5
    assert textures.depths == {"diffuse": 8, "roughness": 16, "displacement": 16}
    assert len(np.unique(textures.map_values("roughness", 0))) > 40


def test_fingerprints_differ_where_only_the_low_bits_do(tmp_path: Path) -> None:
    values = np.rint(ramp() * 65535).astype(np.uint16)
    prints = set()
    for shift in (0, 1):
        (tmp_path / "a_height.png").write_bytes(png(values // 257 * 257 + 4 + shift))
        textures = load_texture_set(tmp_path)
        prints.add(textures.fingerprint)
    assert len(prints) == 2
