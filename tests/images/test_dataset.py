"""From a folder of images to a texture set: names, choices between files, formats, sizes, mips, refusals."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.materials import make_materials
from dataset import detect, get_texture_config, load_texture_set
from images.texture_types import TextureType
from utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "data"

TYPES = ["diffuse", "normal", "roughness", "occlusion", "metallic", "specular", "displacement"]


def save(path: Path, values: object, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(np.asarray(values, np.uint8))
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def flat(height: int, width: int, color: tuple[int, ...] | int) -> np.ndarray:
    shape = (height, width) if isinstance(color, int) else (height, width, len(color))
    return np.broadcast_to(np.asarray(color, np.uint8), shape)


@pytest.mark.parametrize(("name", "expected"), [
    ("diffuse.png", "diffuse"), ("ALBEDO.TGA", "diffuse"), ("rock_diff_1k.jpg", "diffuse"), ("wall_col.png", "diffuse"),
    ("WallCol.png", "diffuse"), ("wall_base_color.png", "diffuse"), ("BoomBox_baseColor.png", "diffuse"),
    ("Ground068_1K-JPG_Color.jpg", "diffuse"), ("rough_wall_diffuse.png", "diffuse"), ("panel1_d.png", "diffuse"),
    ("chaos_normal.png", "normal"), ("Ground068_1K-JPG_NormalGL.jpg", "normal"), ("x_NormalDX.png", "normal"),
    ("rosewood_veneer1_nor_gl_1k.png", "normal"), ("wall_nor_dx.png", "normal"), ("T_Wall_N.png", "normal"),
    ("wall_n_2k.png", "normal"), ("rosewood_veneer1_rough_1k.png", "roughness"), ("diffuse_roughness.png", "roughness"),
    ("rusty_metal_roughness.png", "roughness"), ("Ground068_1K-JPG_AmbientOcclusion.jpg", "occlusion"),
    ("wallAO.png", "occlusion"), ("wallAOMap.png", "occlusion"), ("wall-ao-2.png", "occlusion"),
    ("ao.jpg", "occlusion"),
    ("wall ao.png", "occlusion"), ("wall2ao.png", "occlusion"), ("Metal053C_1K_Metalness.jpg", "metallic"),
    ("texture_rock_metal.png", "metallic"), ("panel1_s.png", "specular"), ("wall_specular.png", "specular"),
    ("panel1_h.png", "displacement"), ("texture_rock_depth.png", "displacement"), ("wall_disp_4k.png", "displacement"),
    ("wall_height.png", "displacement"), ("normal_wall_disp.png", "displacement"),
])
def test_name_gives_the_map(name: str, expected: str) -> None:
    assert detect(name).maps == {expected: None}


@pytest.mark.parametrize("name", ["chaos.png", "different.png", "column.png", "dispatch.png", "cacao.jpg",
                                  "panel1_e.png", "wall_d_front.png", "BoomBox_emissive.png", "Metal053C.png",
                                  "harm.png", "storm.png"])
def test_short_keyword_inside_a_word_does_not_count(name: str) -> None:
    assert detect(name) is None


@pytest.mark.parametrize("name", ["rock_arm_1k.png", "rock_ORM.png", "BoomBox_occlusionRoughnessMetallic.png"])
def test_packed_name_gives_occlusion_roughness_metallic_in_rgb(name: str) -> None:
    assert detect(name).maps == {"occlusion": 0, "roughness": 1, "metallic": 2}


@pytest.mark.parametrize("name", ["WoodFloor043_1K_MetalRoughness.jpg", "box_metallicRoughness.png"])
def test_metal_roughness_name_has_no_occlusion(name: str) -> None:
    assert detect(name).maps == {"roughness": 1, "metallic": 2}


def test_only_directx_names_are_directx() -> None:
    assert [detect(name).directx for name in ("a_nor_dx.png", "a_NormalDX.png", "a_NormalGL.png", "a_normal.png")] == [
        True, True, False, False]


def test_table_covers_eleven_channels_in_canonical_order() -> None:
    table = get_texture_config()
    assert [texture.name for texture in table] == TYPES
    assert [c for texture in table for c in range(11)[texture.channels]] == list(range(11))


def test_maps_land_in_their_channels_and_missing_maps_are_zero(tmp_path: Path) -> None:
    save(tmp_path / "a_albedo.png", flat(4, 8, (10, 20, 30)))
    save(tmp_path / "a_height.png", flat(4, 8, 77))
    textures = load_texture_set(tmp_path)
    assert (textures.width, textures.height, len(textures.mips)) == (8, 4, 3)
    assert [mip.shape for mip in textures.mips] == [(4, 8, 11), (2, 4, 11), (1, 2, 11)]
    for mip in textures.mips:
        assert mip.dtype == np.uint8
        assert np.unique(mip.reshape(-1, 11), axis=0).tolist() == [[10, 20, 30, 0, 0, 0, 0, 0, 0, 0, 77]]
    assert list(textures.present) == TYPES
    assert [name for name in TYPES if textures.present[name]] == ["diffuse", "displacement"]
    assert textures.channel_mask.tolist() == [True] * 3 + [False] * 7 + [True]
    assert textures.files == {"diffuse": "a_albedo.png", "displacement": "a_height.png"}
    assert textures.name == tmp_path.name
    assert textures.notices == []


def test_dedicated_map_beats_packed_channel_with_a_notice(tmp_path: Path) -> None:
    save(tmp_path / "a_arm.png", flat(2, 2, (10, 20, 30)))
    save(tmp_path / "a_rough.png", flat(2, 2, 99))
    textures = load_texture_set(tmp_path)
    assert textures.mips[0][0, 0, 6:9].tolist() == [99, 10, 30]
    assert any("a_rough.png" in line and "a_arm.png" in line for line in textures.notices)


def test_gl_normal_beats_dx_normal_with_a_notice(tmp_path: Path) -> None:
    save(tmp_path / "a_NormalDX.png", flat(2, 2, (128, 10, 200)))
    save(tmp_path / "a_NormalGL.png", flat(2, 2, (128, 245, 200)))
    textures = load_texture_set(tmp_path)
    assert textures.files["normal"] == "a_NormalGL.png"
    assert textures.normal_convention == "opengl"
    assert textures.mips[0][0, 0, 3:6].tolist() == [128, 245, 200]
    assert any("a_NormalDX.png" in line for line in textures.notices)


def test_dx_normal_alone_is_kept_and_named_directx(tmp_path: Path) -> None:
    save(tmp_path / "a_nor_dx.png", flat(2, 2, (128, 10, 200)))
    textures = load_texture_set(tmp_path)
    assert textures.normal_convention == "directx"
    assert textures.mips[0][0, 0, 3:6].tolist() == [128, 10, 200]
    assert any("DirectX" in line for line in textures.notices)


@pytest.mark.parametrize(("first", "second"), [
    ("a_albedo.png", "a_diffuse.png"), ("a_albedo.png", "a_albedo.jpg"), ("a_arm.png", "b_orm.png"),
    ("a_NormalDX.png", "a_nor_dx.png")])
def test_two_equal_files_for_one_map_are_refused_by_name(tmp_path: Path, first: str, second: str) -> None:
    for name in (first, second):
        save(tmp_path / name, flat(2, 2, (1, 2, 3)))
    with pytest.raises(UserError) as error:
        load_texture_set(tmp_path)
    assert first in str(error.value) and second in str(error.value)
    (tmp_path / second).unlink()
    load_texture_set(tmp_path)


def test_file_without_keyword_is_skipped_with_a_notice(tmp_path: Path) -> None:
    save(tmp_path / "a_albedo.png", flat(2, 2, (1, 2, 3)))
    save(tmp_path / "preview.png", flat(9, 9, (1, 2, 3)))
    (tmp_path / "albedo.txt").write_text("not an image")
    (tmp_path / "._albedo.png").write_bytes(b"left behind by another system")
    textures = load_texture_set(tmp_path)
    assert len(textures.notices) == 1 and "preview.png" in textures.notices[0]


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        load_texture_set(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_missing_empty_and_unknown_folders_are_refused_in_one_line(tmp_path: Path) -> None:
    assert "no_such" in refusal(tmp_path / "no_such")
    assert "empty" in refusal(tmp_path)
    save(tmp_path / "photo.png", flat(2, 2, 1))
    message = refusal(tmp_path)
    assert "photo.png" in message and "roughness" in message
    assert "photo.png" in refusal(tmp_path / "photo.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tga", "bmp"])
def test_truncated_image_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a_albedo.{suffix}", np.random.default_rng(0).integers(0, 256, (64, 64, 3)))
    load_texture_set(tmp_path)
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    assert path.name in refusal(tmp_path)


def test_file_that_is_no_image_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a_albedo.png").write_bytes(b"")
    assert "a_albedo.png" in refusal(tmp_path)
    (tmp_path / "a_albedo.png").write_bytes(b"<html>not found</html>")
    assert "a_albedo.png" in refusal(tmp_path)


def test_one_channel_normal_map_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a_normal.png", flat(2, 2, 128))
    assert "a_normal.png" in refusal(tmp_path)


def test_one_channel_packed_map_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a_arm.png", flat(2, 2, 128))
    assert "a_arm.png" in refusal(tmp_path)


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


def test_grey_albedo_fills_three_channels(tmp_path: Path) -> None:
    save(tmp_path / "a_albedo.png", [[7, 9]])
    assert load_texture_set(tmp_path).mips[0][0, :, :3].tolist() == [[7, 7, 7], [9, 9, 9]]


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


def test_one_channel_map_takes_the_channel_that_carries_data(tmp_path: Path) -> None:
    values = np.full((4, 4, 3), 255, np.uint8)
    values[..., 1] = np.arange(16).reshape(4, 4) + 70
    save(tmp_path / "a_rough.png", values)
    textures = load_texture_set(tmp_path)
    assert np.array_equal(textures.mips[0][..., 6], values[..., 1])
    assert any("channel G" in line for line in textures.notices)


def test_constant_one_channel_map_ignores_black_and_white_filling(tmp_path: Path) -> None:
    save(tmp_path / "a_rough.png", flat(4, 4, (255, 255, 80)))
    assert load_texture_set(tmp_path).mips[0][0, 0, 6] == 80


def test_coloured_one_channel_map_is_averaged_with_a_notice(tmp_path: Path) -> None:
    save(tmp_path / "a_specular.png", [[[0, 100, 200], [30, 200, 100]]])
    textures = load_texture_set(tmp_path)
    assert textures.mips[0][0, :, 9].tolist() == [100, 110]
    assert any("mean" in line for line in textures.notices)


def test_grey_stored_as_colour_needs_no_notice(tmp_path: Path) -> None:
    save(tmp_path / "a_rough.png", [[[5, 5, 5], [90, 90, 90]]])
    textures = load_texture_set(tmp_path)
    assert textures.mips[0][0, :, 6].tolist() == [5, 90] and textures.notices == []


def test_maps_of_another_size_follow_the_first_map_with_a_notice(tmp_path: Path) -> None:
    save(tmp_path / "a_normal.png", flat(6, 10, (128, 128, 255)))
    save(tmp_path / "a_rough.png", np.repeat(np.repeat([[10, 30], [50, 70]], 6, 0), 10, 1))
    save(tmp_path / "a_height.png", flat(1, 1, 40))
    textures = load_texture_set(tmp_path)
    assert (textures.width, textures.height) == (10, 6)
    assert textures.mips[0][0, 0, 6] == 10 and textures.mips[0][5, 9, 6] == 70
    assert (textures.mips[0][..., 10] == 40).all()
    for name in ("a_rough.png", "a_height.png"):
        assert any(name in line and "10 x 6" in line for line in textures.notices)


def test_max_size_reduces_every_map_and_keeps_the_shape(tmp_path: Path) -> None:
    save(tmp_path / "a_albedo.png", np.tile(np.uint8([[[0] * 3, [255] * 3]]), (8, 8, 1)))
    textures = load_texture_set(tmp_path, max_size=8)
    assert (textures.width, textures.height, len(textures.mips)) == (8, 4, 3)
    assert (textures.mips[0][..., :3] == 188).all()
    assert any("8 x 4" in line for line in textures.notices)
    assert load_texture_set(tmp_path, max_size=16).notices == []


def test_black_and_white_average_in_linear_light_for_diffuse_alone(tmp_path: Path) -> None:
    # Half the light is 0.5 linear: 1.055 * 0.5^(1/2.4) - 0.055 = 0.7354, code 188; as data 127.5, code 128.
    checker = np.uint8([[0, 255], [255, 0]])
    save(tmp_path / "a_albedo.png", checker)
    save(tmp_path / "a_rough.png", checker)
    textures = load_texture_set(tmp_path)
    assert textures.mips[1][0, 0].tolist() == [188, 188, 188, 0, 0, 0, 128, 0, 0, 0, 0]


def test_mips_do_not_accumulate_rounding(tmp_path: Path) -> None:
    # Three of the four first averages are 0.5, rounded 1; the mean of all is 0.375, rounded 0 (of the rounded: 0.75).
    save(tmp_path / "a_height.png", [[1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
    mips = load_texture_set(tmp_path).mips
    assert mips[1][..., 10].tolist() == [[1, 1], [1, 0]]
    assert mips[2][0, 0, 10] == 0


def test_normals_are_averaged_as_vectors_and_renormalised(tmp_path: Path) -> None:
    # (1, 0, 0) and (0, 0, 1), near enough: the mean points half way, at length 1, not at length 0.7.
    save(tmp_path / "a_normal.png", np.uint8([[[255, 128, 128], [128, 128, 255]]] * 2))
    normal = load_texture_set(tmp_path).mips[1][0, 0, 3:6] / 127.5 - 1
    assert normal == pytest.approx([np.sqrt(0.5), 0, np.sqrt(0.5)], abs=0.006)


def test_opposite_normals_do_not_divide_by_zero(tmp_path: Path) -> None:
    save(tmp_path / "a_normal.png", np.uint8([[[255, 0, 255], [0, 255, 0]]] * 2))
    assert load_texture_set(tmp_path).mips[1][0, 0, 3:6].tolist() == [128, 128, 255]


def test_odd_sizes_average_true_areas(tmp_path: Path) -> None:
    # Five texels become two of 2.5 each: (0 + 100 + 200 / 2) / 2.5 = 80 and (200 / 2 + 50 + 250) / 2.5 = 160.
    save(tmp_path / "a_height.png", np.uint8([[0, 100, 200, 50, 250]] * 2))
    textures = load_texture_set(tmp_path)
    assert len(textures.mips) == 2 and textures.mips[1][..., 10].tolist() == [[80, 160]]
    save(tmp_path / "a_height.png", np.uint8([[0, 100, 200, 50, 250]] * 2).T)
    assert load_texture_set(tmp_path).mips[1][..., 10].tolist() == [[80], [160]]


def test_area_average_keeps_the_mean_at_any_size(tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(0, 256, (999, 301), np.uint8)
    save(tmp_path / "a_height.png", values)
    textures = load_texture_set(tmp_path)
    assert [mip.shape[:2] for mip in textures.mips][-2:] == [(7, 2), (3, 1)]
    for mip in textures.mips:
        assert mip[..., 10].mean() == pytest.approx(values.mean(), abs=0.51)


def test_single_texel_has_one_mip(tmp_path: Path) -> None:
    save(tmp_path / "a_albedo.png", flat(1, 1, (1, 2, 3)))
    textures = load_texture_set(tmp_path)
    assert [mip.shape for mip in textures.mips] == [(1, 1, 11)]
    assert textures.mips[0][0, 0, :3].tolist() == [1, 2, 3]


def test_sample_material_has_five_maps_and_wraps() -> None:
    textures = load_texture_set(ROOT / "data" / "test")
    assert [name for name in TYPES if textures.present[name]] == ["diffuse", "normal", "roughness", "occlusion",
                                                                  "displacement"]
    assert textures.notices == []
    texels = textures.mips[0].astype(int)
    for axis in (0, 1):
        # A seam would be a step unlike any other between neighbouring lines.
        steps = np.abs(np.roll(texels, -1, axis) - texels).mean(axis=(1 - axis, 2))
        assert steps[-1] < steps[:-1].max()


def test_command_prints_the_maps_and_fails_cleanly_on_a_missing_folder(tmp_path: Path) -> None:
    save(tmp_path / "a_albedo.png", flat(2, 3, (1, 2, 3)))
    command = [sys.executable, str(ROOT / "dataset.py")]
    good = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
    assert good.returncode == 0 and "a_albedo.png" in good.stdout and "3 x 2" in good.stdout
    bad = subprocess.run([*command, str(tmp_path / "absent")], capture_output=True, text=True, cwd=ROOT)
    assert bad.returncode == 1 and bad.stderr.startswith("error:") and len(bad.stderr.splitlines()) == 1


WILD_NAMES = {
    "Ground068": ("diffuse normal roughness occlusion displacement", {
        "Ground068_1K-JPG_Color.jpg": "albedo", "Ground068_1K-JPG_NormalGL.jpg": "normal",
        "Ground068_1K-JPG_Roughness.jpg": "roughness", "Ground068_1K-JPG_AmbientOcclusion.jpg": "occlusion",
        "Ground068_1K-JPG_Displacement.jpg": "displacement"}),
    "WoodFloor043": ("diffuse normal roughness metallic", {
        "WoodFloor043_1K_Color.jpg": "albedo", "WoodFloor043_1K_NormalGL.jpg": "normal",
        "WoodFloor043_1K_MetalRoughness.jpg": (None, "roughness", "metallic")}),
    "BoomBox": ("diffuse normal roughness occlusion metallic", {
        "BoomBox_baseColor.png": "albedo", "BoomBox_normal.png": "normal", "BoomBox_emissive.png": "specular",
        "BoomBox_occlusionRoughnessMetallic.png": ("occlusion", "roughness", "metallic")}),
    "rosewood_veneer1": ("diffuse normal roughness", {
        "rosewood_veneer1_diff_1k.jpg": "albedo", "rosewood_veneer1_nor_gl_1k.png": "normal",
        "rosewood_veneer1_rough_1k.png": "roughness"}),
    "trak5_panel1": ("diffuse normal specular displacement", {
        "panel1_d.png": "albedo", "panel1_n.png": "normal", "panel1_s.png": "specular",
        "panel1_h.png": "displacement"}),
    "godot_texture_rock": ("diffuse normal occlusion metallic displacement", {
        "texture_rock_albedo.png": "albedo", "texture_rock_normal.png": "normal", "texture_rock_ao.png": "occlusion",
        "texture_rock_metal.png": "metallic", "texture_rock_depth.png": "displacement"}),
}
"""Files of well-known libraries: the maps they hold, and which procedural map (or one a channel) stands for each."""


@pytest.fixture(scope="module")
def procedural(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image.Image]:
    """Maps of two procedural materials, by name."""
    folder = tmp_path_factory.mktemp("procedural")
    return {path.stem: Image.open(path) for made in make_materials(folder, 64, ["painted_metal", "tiles"])
            for path in made.iterdir()}


@pytest.mark.parametrize("library", WILD_NAMES)
def test_materials_named_as_libraries_name_them_have_the_right_maps(
        library: str, procedural: dict[str, Image.Image], tmp_path: Path) -> None:
    maps, files = WILD_NAMES[library]
    for name, content in files.items():
        blank = Image.new("L", (64, 64), 255)
        image = procedural[content] if isinstance(content, str) else Image.merge(
            "RGB", [procedural[part] if part else blank for part in content])
        image.save(tmp_path / name, **({"quality": 100, "subsampling": 0} if name.endswith("jpg") else {}))
    textures = load_texture_set(tmp_path)
    assert [key for key in TYPES if textures.present[key]] == maps.split()
    assert (textures.width, textures.height, textures.normal_convention) == (64, 64, "opengl")
    for texture in get_texture_config():
        if textures.present[texture.name]:
            source = np.asarray(procedural["albedo" if texture.name == "diffuse" else texture.name], int)
            texels = textures.mips[0][..., texture.channels]
            assert np.abs(texels - source.reshape(texels.shape)).mean() < 3, texture.name


REAL_MATERIALS = {
    "Ground068": ("diffuse normal roughness occlusion displacement", 1024, 1024),
    "Bark014": ("diffuse normal roughness occlusion displacement", 1024, 1024),
    "Metal053C": ("diffuse normal roughness metallic displacement", 1024, 1024),
    "Facade005": ("diffuse normal roughness metallic displacement", 1024, 1024),
    "BoomBox": ("diffuse normal roughness occlusion metallic", 2048, 2048),
    "WoodFloor043": ("diffuse normal roughness metallic", 1024, 512),
    "rosewood_veneer1": ("diffuse normal roughness", 1024, 1024),
    "trak5_panel1": ("diffuse normal specular displacement", 512, 512),
    "godot_texture_rock": ("diffuse normal occlusion metallic displacement", 1024, 666),
}


@pytest.mark.parametrize("name", [name for name in REAL_MATERIALS if (REAL / name).is_dir()])
def test_photographed_material_has_the_right_maps(name: str) -> None:
    maps, width, height = REAL_MATERIALS[name]
    textures = load_texture_set(REAL / name)
    assert [key for key in TYPES if textures.present[key]] == maps.split()
    assert (textures.width, textures.height) == (width, height)
    assert textures.normal_convention == "opengl"
    for texture in get_texture_config():
        assert textures.mips[0][..., texture.channels].any() == textures.present[texture.name]
    if name == "rosewood_veneer1":
        # A 16-bit normal map, and a roughness map that lies in green alone.
        length = np.sqrt(((textures.mips[0][..., 3:6] / 127.5 - 1) ** 2).sum(-1))
        assert length.mean() == pytest.approx(1, abs=0.01)
        roughness = textures.mips[0][..., 6]
        assert 70 <= roughness.min() and roughness.max() <= 90


def test_notices_come_in_canonical_order_and_are_the_same_every_time(tmp_path: Path) -> None:
    for name, size in (("a_height", 64), ("a_metallic", 8), ("a_rough", 300), ("a_normal", 16)):
        save(tmp_path / f"{name}.png", flat(size, size, (128, 120, 200)))
    save(tmp_path / "a_albedo.png", flat(32, 32, (1, 2, 3)))
    save(tmp_path / "holiday.gif", flat(2, 2, 9))
    first = load_texture_set(tmp_path)
    resized = [line.partition(":")[0] for line in first.notices if "resized" in line]
    assert resized == ["normal", "roughness", "metallic", "displacement"]
    assert first.notices[0].startswith("skipped holiday.gif")
    for _ in range(5):
        again = load_texture_set(tmp_path)
        assert again.notices == first.notices
        assert all(np.array_equal(ours, theirs) for ours, theirs in zip(again.mips, first.mips, strict=True))


def test_of_two_damaged_files_the_first_in_canonical_order_is_named(tmp_path: Path) -> None:
    save(tmp_path / "a_albedo.png", flat(512, 512, (1, 2, 3)))
    for name in ("a_normal.png", "a_height.png"):
        (tmp_path / name).write_bytes(b"damaged")
    for _ in range(5):
        assert "a_normal.png" in refusal(tmp_path)


def test_packed_file_says_which_channel_is_which_map(tmp_path: Path) -> None:
    save(tmp_path / "a_metalRoughness.png", flat(2, 2, (10, 20, 30)))
    assert load_texture_set(tmp_path).notices == [
        "a_metalRoughness.png is packed: R is not used, G is roughness, B is metallic"]


def test_a_map_that_the_layout_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="'emissive'.*TEXTURE_CHANNELS"):
        TextureType("emissive", ("emissive",))


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_command_prints_names_that_the_console_cannot_show(tmp_path: Path, encoding: str) -> None:
    folder = tmp_path / "\u77f3\u5934"
    folder.mkdir()
    save(folder / "\u77f3_albedo.png", flat(2, 3, (1, 2, 3)))
    save(folder / "\u77f3.gif", flat(2, 3, 1))
    done = subprocess.run([sys.executable, str(ROOT / "dataset.py"), str(folder)], capture_output=True, cwd=ROOT,
                          env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"})
    output = done.stdout.decode(encoding)
    assert done.returncode == 0, done.stderr
    assert "3 x 2" in output and "note: skipped" in output and "missing" in output
