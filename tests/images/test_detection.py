"""File names say which map a file holds, and which of several files is taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.materials import make_materials
from configs import TEXTURE_CHANNELS
from dataset import detect, get_texture_config, load_texture_set
from images.texture_types import TextureType
from tests.images.files import flat, refusal, save
from utils.errors import UserError

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("diffuse.png", "diffuse"),
        ("ALBEDO.TGA", "diffuse"),
        ("rock_diff_1k.jpg", "diffuse"),
        ("wall_col.png", "diffuse"),
        ("WallCol.png", "diffuse"),
        ("wall_base_color.png", "diffuse"),
        ("BoomBox_baseColor.png", "diffuse"),
        ("Ground068_1K-JPG_Color.jpg", "diffuse"),
        ("rough_wall_diffuse.png", "diffuse"),
        ("panel1_d.png", "diffuse"),
        ("chaos_normal.png", "normal"),
        ("Ground068_1K-JPG_NormalGL.jpg", "normal"),
        ("x_NormalDX.png", "normal"),
        ("rosewood_veneer1_nor_gl_1k.png", "normal"),
        ("wall_nor_dx.png", "normal"),
        ("T_Wall_N.png", "normal"),
        ("wall_n_2k.png", "normal"),
        ("rosewood_veneer1_rough_1k.png", "roughness"),
        ("diffuse_roughness.png", "roughness"),
        ("rusty_metal_roughness.png", "roughness"),
        ("Ground068_1K-JPG_AmbientOcclusion.jpg", "occlusion"),
        ("wallAO.png", "occlusion"),
        ("wallAOMap.png", "occlusion"),
        ("wall-ao-2.png", "occlusion"),
        ("ao.jpg", "occlusion"),
        ("wall ao.png", "occlusion"),
        ("wall2ao.png", "occlusion"),
        ("Metal053C_1K_Metalness.jpg", "metallic"),
        ("texture_rock_metal.png", "metallic"),
        ("panel1_s.png", "specular"),
        ("wall_specular.png", "specular"),
        ("panel1_h.png", "displacement"),
        ("texture_rock_depth.png", "displacement"),
        ("wall_disp_4k.png", "displacement"),
        ("wall_height.png", "displacement"),
        ("normal_wall_disp.png", "displacement"),
    ],
)
def test_name_gives_the_map(name: str, expected: str) -> None:
    assert detect(name).maps == {expected: None}


@pytest.mark.parametrize(
    "name",
    [
        "chaos.png",
        "different.png",
        "column.png",
        "dispatch.png",
        "cacao.jpg",
        "panel1_e.png",
        "wall_d_front.png",
        "BoomBox_emissive.png",
        "Metal053C.png",
        "harm.png",
        "storm.png",
    ],
)
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
        True,
        True,
        False,
        False,
    ]


def test_table_covers_eleven_channels_in_canonical_order() -> None:
    table = get_texture_config()
    assert [texture.name for texture in table] == list(TEXTURE_CHANNELS)
    assert [c for texture in table for c in range(11)[texture.channels]] == list(range(11))


def test_a_map_that_the_layout_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="'emissive'.*TEXTURE_CHANNELS"):
        TextureType("emissive", ("emissive",))


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


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a_albedo.png", "a_diffuse.png"),
        ("a_albedo.png", "a_albedo.jpg"),
        ("a_arm.png", "b_orm.png"),
        ("a_NormalDX.png", "a_nor_dx.png"),
    ],
)
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


def test_packed_file_says_which_channel_is_which_map(tmp_path: Path) -> None:
    save(tmp_path / "a_metalRoughness.png", flat(2, 2, (10, 20, 30)))
    assert load_texture_set(tmp_path).notices == [
        "a_metalRoughness.png is packed: R is not used, G is roughness, B is metallic"
    ]


def test_missing_empty_and_unknown_folders_are_refused_in_one_line(tmp_path: Path) -> None:
    assert "no_such" in refusal(tmp_path / "no_such")
    assert "empty" in refusal(tmp_path)
    save(tmp_path / "photo.png", flat(2, 2, 1))
    message = refusal(tmp_path)
    assert "photo.png" in message and "roughness" in message
    assert "photo.png" in refusal(tmp_path / "photo.png")


WILD_NAMES = {
    "Ground068": (
        "diffuse normal roughness occlusion displacement",
        {
            "Ground068_1K-JPG_Color.jpg": "albedo",
            "Ground068_1K-JPG_NormalGL.jpg": "normal",
            "Ground068_1K-JPG_Roughness.jpg": "roughness",
            "Ground068_1K-JPG_AmbientOcclusion.jpg": "occlusion",
            "Ground068_1K-JPG_Displacement.jpg": "displacement",
        },
    ),
    "WoodFloor043": (
        "diffuse normal roughness metallic",
        {
            "WoodFloor043_1K_Color.jpg": "albedo",
            "WoodFloor043_1K_NormalGL.jpg": "normal",
            "WoodFloor043_1K_MetalRoughness.jpg": (None, "roughness", "metallic"),
        },
    ),
    "BoomBox": (
        "diffuse normal roughness occlusion metallic",
        {
            "BoomBox_baseColor.png": "albedo",
            "BoomBox_normal.png": "normal",
            "BoomBox_emissive.png": "specular",
            "BoomBox_occlusionRoughnessMetallic.png": ("occlusion", "roughness", "metallic"),
        },
    ),
    "rosewood_veneer1": (
        "diffuse normal roughness",
        {
            "rosewood_veneer1_diff_1k.jpg": "albedo",
            "rosewood_veneer1_nor_gl_1k.png": "normal",
            "rosewood_veneer1_rough_1k.png": "roughness",
        },
    ),
    "trak5_panel1": (
        "diffuse normal specular displacement",
        {
            "panel1_d.png": "albedo",
            "panel1_n.png": "normal",
            "panel1_s.png": "specular",
            "panel1_h.png": "displacement",
        },
    ),
    "godot_texture_rock": (
        "diffuse normal occlusion metallic displacement",
        {
            "texture_rock_albedo.png": "albedo",
            "texture_rock_normal.png": "normal",
            "texture_rock_ao.png": "occlusion",
            "texture_rock_metal.png": "metallic",
            "texture_rock_depth.png": "displacement",
        },
    ),
}
"""Files of well-known libraries: the maps they hold, and which procedural map (or one a channel) stands for each."""


@pytest.fixture(scope="module")
def procedural(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image.Image]:
    """Maps of two procedural materials, by name."""
    folder = tmp_path_factory.mktemp("procedural")
    return {
        path.stem: Image.open(path)
        for made in make_materials(folder, 64, ["painted_metal", "tiles"])
        for path in made.iterdir()
    }


@pytest.mark.parametrize("library", WILD_NAMES)
def test_materials_named_as_libraries_name_them_have_the_right_maps(
    library: str, procedural: dict[str, Image.Image], tmp_path: Path
) -> None:
    maps, files = WILD_NAMES[library]
    for name, content in files.items():
        blank = Image.new("L", (64, 64), 255)
        image = (
            procedural[content]
            if isinstance(content, str)
            else Image.merge("RGB", [procedural[part] if part else blank for part in content])
        )
        image.save(tmp_path / name, **({"quality": 100, "subsampling": 0} if name.endswith("jpg") else {}))
    textures = load_texture_set(tmp_path)
    assert [key for key in TEXTURE_CHANNELS if textures.present[key]] == maps.split()
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
    assert [key for key in TEXTURE_CHANNELS if textures.present[key]] == maps.split()
    assert (textures.width, textures.height) == (width, height)
    for texture in get_texture_config():
        assert textures.mips[0][..., texture.channels].any() == textures.present[texture.name]
    if name == "rosewood_veneer1":
        # A 16-bit normal map, and a roughness map that lies in green alone.
        length = np.sqrt(((textures.mips[0][..., 3:6] / 127.5 - 1) ** 2).sum(-1))
        assert length.mean() == pytest.approx(1, abs=0.01)
        roughness = textures.mips[0][..., 6]
        assert 70 <= roughness.min() and roughness.max() <= 90
