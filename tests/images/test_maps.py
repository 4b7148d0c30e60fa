"""What is done to a map's values on the way: channels, factors, inversion, conventions, two components, opacity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from configs import ImageConfig
from dataset import get_texture_config, load_texture_set
from images.colour import linear_to_srgb, srgb_to_linear
from images.maps import map_texels
from images.options import with_convention, with_opacity
from images.sources import MapSource, MaterialMaps, SourceImage
from tests.images.files import flat, save
from utils.errors import UserError

TYPES = {texture.name: texture for texture in get_texture_config()}
FILE = MapSource(SourceImage(Path("a.png")))
RANDOM = np.random.default_rng(7)


def vectors(side: int = 16) -> np.ndarray:
    """Unit vectors of a bumpy surface: float64 `[side, side, 3]`."""
    angle = RANDOM.random((side, side)) * 2 * np.pi
    slope = RANDOM.random((side, side)) * 0.7
    return np.stack([slope * np.cos(angle), slope * np.sin(angle), np.sqrt(1 - slope**2)], 2)


def coded(values: np.ndarray, most: int = 255) -> np.ndarray:
    return np.rint((values / 2 + 0.5) * most).astype(np.uint8 if most == 255 else np.uint16)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_channel_3_of_a_file_is_its_alpha(dtype: type) -> None:
    image = (RANDOM.random((4, 4, 4)) * (1 if dtype == np.float32 else 200)).astype(dtype)
    found = map_texels(image, TYPES["roughness"], replace(FILE, channel=3))
    assert found.texels.dtype == dtype and np.array_equal(found.texels[..., 0], image[..., 3])
    found = map_texels(image[..., 2:], TYPES["roughness"], replace(FILE, channel=3))
    assert np.array_equal(found.texels[..., 0], image[..., 3])
    for channels in (1, 3):
        with pytest.raises(UserError, match="no alpha"):
            map_texels(image[..., :channels], TYPES["roughness"], replace(FILE, channel=3))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_inverted_maps_are_1_minus_their_values_with_a_line(dtype: type) -> None:
    most = 1 if dtype == np.float32 else np.iinfo(dtype).max
    image = (RANDOM.random((4, 4, 1)) * most).astype(dtype)
    found = map_texels(image, TYPES["roughness"], replace(FILE, inverted=True))
    assert np.array_equal(found.texels, most - image)
    assert found.notices == ["roughness: a.png is inverted, to 1 minus its values"]


def test_an_inverted_map_of_heights_beyond_1_says_which_heights_it_stands_for() -> None:
    depths = np.float32([[[2], [4], [10]]])
    found = map_texels(depths, TYPES["displacement"], replace(FILE, inverted=True))
    low, high = found.range or (0, 0)
    assert (low + (high - low) * found.texels[..., 0]).tolist() == [[-2, -4, -10]]


def test_factors_multiply_data_before_it_is_inverted() -> None:
    image = np.full((2, 2, 1), 100, np.uint8)
    assert map_texels(image, TYPES["metallic"], replace(FILE, factor=(0.5,))).texels.max() == 50
    glossy = map_texels(image, TYPES["roughness"], replace(FILE, factor=(0.5,), inverted=True))
    assert glossy.texels.max() == 205 and len(glossy.notices) == 2


@pytest.mark.parametrize("most", [255, 65535])
def test_factors_of_colour_count_in_linear_light(most: int) -> None:
    image = (RANDOM.random((4, 4, 3)) * most).astype(np.uint8 if most == 255 else np.uint16)
    found = map_texels(image, TYPES["diffuse"], replace(FILE, factor=(0.25, 1.0, 2.0)))
    expected = linear_to_srgb(np.minimum(srgb_to_linear(image / most) * [0.25, 1, 2], 1))
    assert np.abs(found.texels / most - expected).max() <= 0.51 / most + 1e-6
    assert found.notices == ["diffuse: a.png is multiplied by 0.25, 1, 2"]


def test_factors_of_normals_scale_vectors_that_stay_at_length_1() -> None:
    found = map_texels(coded(np.array([[[0.6, 0, 0.8]]]), 65535), TYPES["normal"], replace(FILE, factor=(0.5, 0.5, 1)))
    expected = np.array([0.3, 0, 0.8]) / np.hypot(0.3, 0.8)
    assert np.abs(found.texels / 65535 * 2 - 1 - expected).max() < 1e-4


@pytest.mark.parametrize("most", [255, 65535])
@pytest.mark.parametrize("layout", ["LA", "RG0", "RG1", "AG", "AG grey"])
def test_two_channel_normals_are_completed(layout: str, most: int) -> None:
    normals = vectors()
    whole = coded(normals, most)
    x, y = whole[..., 0], whole[..., 1]
    nothing, full = np.zeros_like(x), np.full_like(x, most)
    image = {
        "LA": [x, y],
        "RG0": [x, y, nothing],
        "RG1": [x, y, full],
        "AG": [full, y, full, x],
        "AG grey": [y, y, y, x],
    }[layout]
    found = map_texels(np.stack(image, 2), TYPES["normal"], FILE)
    assert found.texels.dtype == whole.dtype
    # The rounding of x and y is felt most where z is small: here it is above 0.7.
    assert np.abs(found.texels.astype(int) - whole.astype(int)).max() <= 2
    assert len(found.notices) == 1 and "z = sqrt(1 - x^2 - y^2)" in found.notices[0]
    assert found.uses_alpha == (layout not in ("RG0", "RG1"))


def test_complete_and_flat_normals_are_left_alone() -> None:
    whole = coded(vectors())
    blank = np.broadcast_to(np.uint8([128, 128, 255]), (8, 8, 3))
    height_in_alpha = np.dstack([whole, RANDOM.integers(0, 256, whole.shape[:2], np.uint8)])
    for image in (whole, blank, height_in_alpha):
        found = map_texels(image, TYPES["normal"], FILE)
        assert np.array_equal(found.texels, image[..., :3]) and found.notices == []


def test_float_normals_are_read_as_vectors_or_as_codes() -> None:
    normals = vectors().astype(np.float32)
    for image, said in ((normals, True), (normals / 2 + 0.5, False)):
        found = map_texels(image, TYPES["normal"], FILE)
        assert np.allclose(found.texels, normals / 2 + 0.5, atol=1e-6)
        assert any("holds vectors" in line for line in found.notices) == said


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("file_is", ["opengl", "directx"])
@pytest.mark.parametrize("asked", ["keep", "opengl", "directx"])
def test_normal_convention_turns_green_over_where_it_has_to(
    tmp_path: Path, asked: str, file_is: str, bits: int
) -> None:
    values = coded(vectors(), 255 if bits == 8 else 65535)
    name = "a_normal.png" if file_is == "opengl" else "a_nor_dx.png"
    (tmp_path / name).write_bytes(imagecodecs.png_encode(values))
    textures = load_texture_set(tmp_path, images=ImageConfig(normal_convention=asked))
    turned = asked not in ("keep", file_is)
    assert textures.normal_convention == (file_is if asked == "keep" else asked)
    expected = values.copy()
    if turned:
        expected[..., 1] = (255 if bits == 8 else 65535) - values[..., 1]
    found = textures.mips[0][..., 3:6] if bits == 8 else textures.codes_16bit("normal", 0)
    assert np.array_equal(found, expected)
    assert any("turned over" in line for line in textures.notices) == turned
    assert any("kept as it is" in line for line in textures.notices) == (file_is == "directx" and not turned)


def test_a_convention_without_a_normal_map_changes_nothing(tmp_path: Path) -> None:
    maps = MaterialMaps("wall", {"diffuse": FILE})
    assert with_convention(maps, "directx") == (maps, False)


def material(folder: Path, alpha: bool = True) -> np.ndarray:
    """A diffuse map, with alpha or without; returns the alpha."""
    values = RANDOM.integers(0, 256, (8, 8, 4), np.uint8)
    Image.fromarray(values if alpha else values[..., :3].copy()).save(folder / "a_albedo.png")
    return values[..., 3]


@pytest.mark.parametrize("place", ["roughness", "occlusion", "metallic", "specular", "displacement"])
def test_alpha_of_diffuse_is_trained_as_opacity_where_asked(tmp_path: Path, place: str) -> None:
    alpha = material(tmp_path)
    textures = load_texture_set(tmp_path, images=ImageConfig(opacity_as=place))
    assert [name for name, there in textures.present.items() if there] == ["diffuse", place]
    assert np.array_equal(textures.mips[0][..., TYPES[place].first], alpha)
    assert textures.holds == {place: "opacity"} and textures.files[place] == "a_albedo.png"
    assert textures.map_facts[place] == {"depth": 8, "holds": "opacity"}
    assert f"{place} holds opacity, read from channel A of a_albedo.png" in textures.notices
    assert not any("alpha" in line and "not used" in line for line in textures.notices)


def test_an_opacity_file_comes_before_alpha(tmp_path: Path) -> None:
    maps = MaterialMaps("wall", {"diffuse": FILE}, {"a_emissive.png": "emissive", "a_opacity.png": "opacity"})
    found = with_opacity(maps, "specular", tmp_path)
    assert found.sources["specular"].file.path == tmp_path / "a_opacity.png"
    assert found.sources["specular"].channel is None and found.others == {"a_emissive.png": "emissive"}
    assert list(found.sources) == ["diffuse", "specular"]


def test_opacity_is_refused_in_one_line_where_it_cannot_be(tmp_path: Path) -> None:
    material(tmp_path, alpha=False)
    with pytest.raises(UserError, match="a_albedo.png has no alpha"):
        load_texture_set(tmp_path, images=ImageConfig(opacity_as="specular"))
    save(tmp_path / "a_specular.png", flat(8, 8, 9))
    with pytest.raises(UserError, match="--opacity_as specular would take the place of a_specular.png"):
        load_texture_set(tmp_path, images=ImageConfig(opacity_as="specular"))
    (tmp_path / "a_albedo.png").unlink()
    with pytest.raises(UserError, match="no opacity file"):
        load_texture_set(tmp_path, images=ImageConfig(opacity_as="metallic"))
