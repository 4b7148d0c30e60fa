"""What names leave open is decided by pixels and called a guess; what is said stands, and is contradicted in words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from configs import ImageConfig
from dataset import TextureSet, load_texture_set
from tests.images.surfaces import as_jpeg, coded, heights, normals, write


def grey(low: int, high: int, side: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (side, side)).astype(np.uint8)


def lines(textures: TextureSet, *words: str) -> list[str]:
    return [line for line in textures.notices if all(word in line for word in words)]


def loaded(folder: Path, **options: object) -> TextureSet:
    return load_texture_set(folder, images=ImageConfig(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("directx", [False, True])
@pytest.mark.parametrize("with_height", [False, True])
def test_a_convention_that_is_not_named_is_guessed_from_pixels(
    tmp_path: Path, directx: bool, with_height: bool
) -> None:
    height = heights()
    write(tmp_path / "a_normal.png", coded(normals(height, directx=directx)))
    if with_height:
        write(tmp_path / "a_height.png", coded(height))
    textures = load_texture_set(tmp_path)
    assert textures.normal_convention == ("directx" if directx else "opengl")
    (line,) = lines(textures, "taken for", "a guess")
    assert ("DirectX" if directx else "OpenGL") in line and ("a_height.png" in line) == with_height
    assert textures.sources["normal"].guess


def test_a_guessed_convention_is_turned_over_where_another_is_asked_for(tmp_path: Path) -> None:
    texels = coded(normals(heights(), directx=True))
    write(tmp_path / "a_normal.png", texels)
    textures = loaded(tmp_path, normal_convention="opengl")
    assert textures.normal_convention == "opengl"
    assert np.array_equal(textures.mips[0][..., 4], 255 - texels[..., 1])


@pytest.mark.parametrize(("name", "directx"), [("a_NormalGL.png", True), ("a_NormalDX.png", False)])
def test_a_convention_that_is_named_stands_and_is_contradicted(tmp_path: Path, name: str, directx: bool) -> None:
    write(tmp_path / name, coded(normals(heights(), directx=directx)))
    textures = load_texture_set(tmp_path)
    assert textures.normal_convention == ("opengl" if directx else "directx")
    assert len(lines(textures, "kept as it is said")) == 1


@pytest.mark.parametrize(("name", "directx"), [("a_NormalGL.png", False), ("a_NormalDX.png", True)])
def test_a_convention_that_is_named_and_true_needs_no_line(tmp_path: Path, name: str, directx: bool) -> None:
    write(tmp_path / name, coded(normals(heights(), directx=directx)))
    assert not lines(load_texture_set(tmp_path), "guess") and not lines(load_texture_set(tmp_path), "said")


def test_material_json_stands_against_the_pixels(tmp_path: Path) -> None:
    height = heights()
    write(tmp_path / "a.png", coded(normals(height, directx=True)))
    write(tmp_path / "b.png", coded(-height))
    maps = {"normal": {"file": "a.png", "convention": "opengl"}, "displacement": "b.png"}
    (tmp_path / "material.json").write_text(json.dumps({"maps": maps}))
    textures = load_texture_set(tmp_path)
    assert textures.normal_convention == "opengl" and not textures.sources["displacement"].inverted
    assert len(lines(textures, "normal", "DirectX", "kept as it is said")) == 1
    assert len(lines(textures, "displacement", "goes down where a.png says up")) == 1


def test_noise_does_not_tell_and_says_so(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, (128, 128, 2))
    vectors = np.concatenate([noise, np.ones((128, 128, 1))], 2)
    write(tmp_path / "a_normal.png", coded(vectors / np.linalg.norm(vectors, axis=2, keepdims=True)))
    textures = load_texture_set(tmp_path)
    assert textures.normal_convention == "opengl" and len(lines(textures, "pixels do not tell", "NormalDX")) == 1


def test_flat_normals_need_no_guess(tmp_path: Path) -> None:
    write(tmp_path / "a_normal.png", np.full((64, 64, 3), (128, 128, 255), np.uint8))
    assert not lines(load_texture_set(tmp_path), "guess")


def test_two_channel_normals_are_judged_with_their_third(tmp_path: Path) -> None:
    texels = coded(normals(heights(), directx=True))
    texels[..., 2] = 0
    write(tmp_path / "a_normal.png", texels)
    textures = load_texture_set(tmp_path)
    assert textures.normal_convention == "directx" and not lines(textures, "unit length")


@pytest.mark.parametrize("upside_down", [False, True])
@pytest.mark.parametrize("by", ["normal", "ao"])
def test_depth_is_turned_to_height_where_the_pixels_agree(tmp_path: Path, upside_down: bool, by: str) -> None:
    height = heights()
    stored = coded(-height if upside_down else height)
    write(tmp_path / "a_depth.png", stored)
    write(tmp_path / f"a_{by}.png", coded(normals(height)) if by == "normal" else coded(np.minimum(height, 0)))
    textures = load_texture_set(tmp_path)
    assert textures.sources["displacement"].inverted == upside_down
    assert np.array_equal(textures.mips[0][..., 10], 255 - stored if upside_down else stored)
    (line,) = lines(textures, "displacement: a_depth.png is taken for")
    assert "a guess" in line and f"a_{by}.png" in line and ("turned to height" in line) == upside_down


def test_depth_that_nothing_can_be_compared_with_says_that_its_name_alone_decides(tmp_path: Path) -> None:
    write(tmp_path / "a_depth.png", coded(heights()))
    (line,) = lines(load_texture_set(tmp_path), "displacement: a_depth.png is taken for")
    assert "pixels do not tell" in line


def test_heights_that_are_upside_down_are_kept_and_named(tmp_path: Path) -> None:
    height = heights()
    write(tmp_path / "a_height.png", coded(-height))
    write(tmp_path / "a_normal.png", coded(normals(height)))
    textures = load_texture_set(tmp_path)
    assert not textures.sources["displacement"].inverted and textures.normal_convention == "opengl"
    assert len(lines(textures, "a_height.png goes down where a_normal.png says up", "kept as it is")) == 1


MASK = np.where(np.random.default_rng(5).random((64, 64)) < 0.01, 255, 0).astype(np.uint8)
GRAIN = grey(60, 120)


def packed(folder: Path, green: np.ndarray, blue: np.ndarray) -> TextureSet:
    write(folder / "a_MetalRoughness.png", np.stack([np.zeros_like(green), green, blue], 2))
    return load_texture_set(folder)


@pytest.mark.parametrize("mask", [MASK, 0 * MASK, 255 + 0 * MASK])
def test_metal_and_roughness_that_are_exchanged_are_read_from_each_others_channel(
    tmp_path: Path, mask: np.ndarray
) -> None:
    textures = packed(tmp_path, mask, GRAIN)
    assert np.array_equal(textures.mips[0][..., 6], GRAIN) and np.array_equal(textures.mips[0][..., 8], mask)
    assert len(lines(textures, "roughness is read from B and metallic from G", "a guess")) == 1
    assert not lines(textures, "is packed:")


@pytest.mark.parametrize(
    ("green", "blue"),
    [
        (GRAIN, MASK),
        (grey(150, 152), grey(60, 120)),
        (MASK, grey(0, 255)),
        (0 * MASK, 255 + 0 * MASK),
        (grey(60, 120), grey(60, 120, seed=1)),
    ],
    ids=["as named", "even roughness", "metal in both", "constant", "grain in both"],
)
def test_channels_are_not_exchanged_unless_both_look_like_the_other(
    tmp_path: Path, green: np.ndarray, blue: np.ndarray
) -> None:
    textures = packed(tmp_path, green, blue)
    assert np.array_equal(textures.mips[0][..., 6], green) and np.array_equal(textures.mips[0][..., 8], blue)


def test_channels_that_material_json_names_stand(tmp_path: Path) -> None:
    write(tmp_path / "p.png", np.stack([MASK, MASK, GRAIN], 2))
    maps = {"roughness": {"file": "p.png", "channel": "G"}, "metallic": {"file": "p.png", "channel": "B"}}
    (tmp_path / "material.json").write_text(json.dumps({"maps": maps}))
    textures = load_texture_set(tmp_path)
    assert np.array_equal(textures.mips[0][..., 6], MASK)
    assert len(lines(textures, "kept as it is said", "roughness in G")) == 1


def test_a_channel_that_is_not_used_and_carries_the_grain_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a_MetalRoughness.png", np.stack([GRAIN, 0 * GRAIN + 150, MASK], 2))
    assert len(lines(load_texture_set(tmp_path), "all but constant, while R, which is not used, is not")) == 1


def test_vectors_far_from_unit_length_are_counted(tmp_path: Path) -> None:
    vectors = normals(heights())
    write(tmp_path / "a_normal.png", coded(vectors))
    assert not lines(load_texture_set(tmp_path), "unit length")
    vectors[:64] *= 0.6
    write(tmp_path / "a_normal.png", coded(vectors))
    (line,) = lines(load_texture_set(tmp_path), "unit length")
    assert "25%" in line and "0.60" in line


def test_compression_leaves_vectors_of_a_smooth_surface_near_unit_length(tmp_path: Path) -> None:
    write(tmp_path / "a_normal.png", as_jpeg(coded(normals(heights(roughness=2.5))), 85))
    assert not lines(load_texture_set(tmp_path), "unit length")


def test_images_that_are_no_normal_maps_are_named_and_not_judged(tmp_path: Path) -> None:
    angles = np.linspace(0, 2 * np.pi, 128)
    sphere = np.stack(
        [
            np.outer(np.ones(128), np.cos(angles)) * 0.8,
            np.outer(np.ones(128), np.sin(angles)) * 0.8,
            np.full((128, 128), 0.0),
        ],
        2,
    )
    sphere[..., 2] = np.where(np.arange(128)[:, None] < 64, 0.6, -0.6)
    photo = np.random.default_rng(3).integers(0, 160, (128, 128, 3)).astype(np.uint8)
    height = np.repeat(coded(heights(128))[..., None], 3, 2)
    for image, words in ((coded(sphere), "object space"), (photo, "does not look like"), (height, "is grey")):
        write(tmp_path / "a_normal.png", image)
        textures = load_texture_set(tmp_path)
        assert len(lines(textures, "normal: a_normal.png", words)) == 1 and not lines(textures, "guess")


def test_gaps_of_an_atlas_are_no_vectors(tmp_path: Path) -> None:
    texels = coded(normals(heights()))
    texels[:, 128:] = 0
    write(tmp_path / "a_normal.png", texels)
    assert not lines(load_texture_set(tmp_path), "does not look like")


def test_one_value_everywhere_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a_albedo.png", grey(20, 200))
    write(tmp_path / "a_metallic.png", np.zeros((64, 64), np.uint8))
    assert lines(load_texture_set(tmp_path), "one value") == ["metallic: a_metallic.png has one value everywhere, 0"]


@pytest.mark.parametrize(("bits", "told"), [(8, 1), (16, 0)])
def test_heights_with_few_steps_are_named_unless_they_are_deep(tmp_path: Path, bits: int, told: int) -> None:
    write(tmp_path / "a_height.png", coded(0.03 * heights(), bits))
    assert len(lines(load_texture_set(tmp_path), "of the 255 steps")) == told


def test_colour_as_dark_as_linear_light_is_named_and_black_plastic_is_not(tmp_path: Path) -> None:
    write(tmp_path / "a_albedo.png", np.stack([grey(5, 40)] * 3, 2))
    assert len(lines(load_texture_set(tmp_path), "very dark")) == 1
    labelled = grey(5, 40)
    labelled[:8] = 230
    write(tmp_path / "a_albedo.png", np.stack([labelled] * 3, 2))
    assert not lines(load_texture_set(tmp_path), "very dark")


def test_metal_that_is_neither_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a_metallic.png", grey(60, 180))
    assert len(lines(load_texture_set(tmp_path), "neither metal")) == 1
    write(tmp_path / "a_metallic.png", MASK)
    assert not lines(load_texture_set(tmp_path), "neither metal")


def test_what_holds_opacity_is_not_judged_by_the_name_of_its_place(tmp_path: Path) -> None:
    write(tmp_path / "a_albedo.png", np.stack([grey(40, 200)] * 3 + [grey(60, 180)], 2))
    textures = loaded(tmp_path, opacity_as="metallic")
    assert textures.holds == {"metallic": "opacity"} and not lines(textures, "neither metal")


def test_maps_too_small_to_tell_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "a_normal.png", coded(normals(heights(16), directx=True)))
    write(tmp_path / "a_metallic.png", np.zeros((16, 16), np.uint8))
    textures = load_texture_set(tmp_path)
    assert textures.notices == [] and textures.normal_convention == "opengl"
