"""Which of a folder's files are taken, and what is said of those that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataset import get_texture_config
from images.detection import find_maps
from images.sources import MaterialMaps
from utils.errors import UserError


def found(folder: Path, *names: str) -> MaterialMaps:
    """The maps of a folder with files of these names; names alone decide, so the files are empty."""
    for name in names:
        (folder / name).touch()
    return find_maps(folder, get_texture_config())


def taken(maps: MaterialMaps) -> dict[str, str]:
    return {name: str(source) for name, source in maps.sources.items()}


@pytest.mark.parametrize(
    ("better", "other", "map_name", "why"),
    [
        ("a_Displacement.png", "a_Bump.png", "displacement", "bump comes after displacement"),
        ("a_Displacement.png", "a_Height.png", "displacement", "height comes after displacement"),
        ("a_Height.png", "a_Bump.png", "displacement", "bump comes after height"),
        ("a_Bump.png", "a_Depth.png", "displacement", "depth comes after bump"),
        ("a_DISP16.tif", "a_DISP.jpg", "displacement", "the other one has 16 bits"),
        ("a_Roughness.png", "a_Gloss.png", "roughness", "gloss comes after roughness"),
        ("a_Glossiness.png", "a_ORM.png", "roughness", "a packed file comes after one of the map's own"),
        ("a_Albedo.png", "a_AlbedoTransparency.png", "diffuse", "a packed file comes after one of the map's own"),
        ("a_Specular.png", "a_Reflection.png", "specular", "reflection comes after specular"),
        ("a_Normal.png", "a_NormalBump.png", "normal", "normal_bump comes after normal"),
        ("a_Normal.png", "a_NormalDX.png", "normal", "DirectX comes last"),
        ("a_NormalGL.png", "a_Normal.png", "normal", "the other one names its convention"),
    ],
)
def test_of_two_files_for_one_map_a_rule_takes_one_with_a_line(
    tmp_path: Path, better: str, other: str, map_name: str, why: str
) -> None:
    maps = found(tmp_path, better, other)
    assert maps.sources[map_name].file.name == better
    (line,) = [line for line in maps.notices if why in line]
    assert better in line and other in line and line.startswith(f"{map_name}: ")


def test_known_other_maps_are_listed_and_neither_taken_nor_refused(tmp_path: Path) -> None:
    others = {
        "a_EmissiveColor.png": "emissive",
        "a_SpecularColor.png": "specular colour",
        "a_sheenColor.png": "sheen",
        "a_clearcoatNormal.png": "clearcoat",
        "a_coat_roughness.png": "coat",
        "a_albedo_thumb.png": "preview",
        "a_opacity.png": "opacity",
    }
    maps = found(tmp_path, "a_albedo.png", "a_normal.png", "a_roughness.png", *others)
    assert taken(maps) == {"diffuse": "a_albedo.png", "normal": "a_normal.png", "roughness": "a_roughness.png"}
    assert maps.others == others
    assert len(maps.notices) == len(others)
    for name, what in others.items():
        assert any(name in line and what in line for line in maps.notices)


def test_other_maps_alone_are_no_material(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no map found.*wall_emissive.png"):
        found(tmp_path, "wall_emissive.png", "Colorado.png")


def test_unity_mask_map_gives_three_maps_and_says_what_each_channel_is(tmp_path: Path) -> None:
    maps = found(tmp_path, "a_BaseMap.png", "a_MaskMap.png")
    assert {name: (source.channel, source.inverted) for name, source in maps.sources.items()} == {
        "diffuse": (None, False),
        "roughness": (3, True),
        "occlusion": (1, False),
        "metallic": (0, False),
    }
    assert maps.notices == [
        "a_MaskMap.png is packed: R is metallic, G is occlusion, B is detail mask (not used), "
        "A is smoothness (1 - roughness)"
    ]


def test_colour_and_alpha_of_one_file_are_told_apart(tmp_path: Path) -> None:
    maps = found(tmp_path, "a_AlbedoTransparency.png", "a_SpecularSmoothness.png")
    sources = maps.sources
    assert [(name, sources[name].channel, sources[name].inverted) for name in sources] == [
        ("diffuse", None, False),
        ("roughness", 3, True),
        ("specular", None, False),
    ]
    assert maps.notices == [
        "a_AlbedoTransparency.png is packed: RGB is diffuse, A is opacity (not used)",
        "a_SpecularSmoothness.png is packed: RGB is specular, A is smoothness (1 - roughness)",
    ]


def test_gloss_is_inverted_and_depth_is_a_guess(tmp_path: Path) -> None:
    maps = found(tmp_path, "a_gloss.png", "a_depth.png")
    assert all(source.inverted for source in maps.sources.values())
    assert [source.reason for source in maps.sources.values()] == ["keyword gloss", "keyword depth, a guess"]
    assert maps.notices == ["displacement: a_depth.png is taken for inverted displacement, a guess by its name"]


def test_a_named_convention_is_told_from_one_that_is_not_said(tmp_path: Path) -> None:
    conventions = {}
    for name in ("a_normal.png", "a_NormalGL.png", "a_norm_dx.png"):
        (tmp_path / name.split(".")[0]).mkdir()
        source = found(tmp_path / name.split(".")[0], name).sources["normal"]
        conventions[name] = source.directx, source.convention_named
    assert conventions == {
        "a_normal.png": (False, False),
        "a_NormalGL.png": (False, True),
        "a_norm_dx.png": (True, True),
    }


def test_maps_named_in_one_word_have_a_line(tmp_path: Path) -> None:
    (line,) = found(tmp_path, "a_AlbedoRoughness.png").notices
    assert "a_AlbedoRoughness.png also names diffuse; it is taken for roughness" in line


@pytest.mark.parametrize("picture", ["rusty_metal.png", "Rusty_Metal.jpg", "rusty_metal_2k.png"])
def test_a_picture_named_as_the_material_is_no_metallic_map(tmp_path: Path, picture: str) -> None:
    names = [picture, "rusty_metal_albedo_2k.png", "rusty_metal_metalness_2k.png"]
    maps = found(tmp_path, *names)
    assert taken(maps) == {"diffuse": names[1], "metallic": names[2]}
    assert maps.others == {picture: "a picture of the material"}
    assert any(line.startswith(f"skipped {picture}: known as a picture of the material") for line in maps.notices)


def test_metal_and_letters_at_the_end_of_a_name_are_maps(tmp_path: Path) -> None:
    maps = found(tmp_path, "wall_metal.png", "wall_d.png", "wall_d_ao.png")
    assert taken(maps) == {"diffuse": "wall_d.png", "occlusion": "wall_d_ao.png", "metallic": "wall_metal.png"}


@pytest.mark.parametrize("material", ["fur_coat", "thumb_grip", "sheen", "SpecularNormal"])
def test_words_that_all_names_begin_with_are_the_material_and_no_other_map(tmp_path: Path, material: str) -> None:
    names = [f"{material}_{part}.png" for part in ("albedo", "normal", "roughness")]
    maps = found(tmp_path, *names)
    assert list(taken(maps).values()) == names and not maps.others
    assert all("all names here begin with" in line for line in maps.notices)


@pytest.mark.parametrize(
    ("names", "maps", "others"),
    [
        (("x_albedo.png", "x_coat_roughness.png"), {"diffuse": "x_albedo.png"}, ["x_coat_roughness.png"]),
        (("x_specular.png", "x_specularColor.png"), {"specular": "x_specular.png"}, ["x_specularColor.png"]),
        (("x_normal.png", "x_normal_os.png"), {"normal": "x_normal.png"}, ["x_normal_os.png"]),
    ],
)
def test_words_that_are_a_part_of_a_keyword_are_not_the_material(
    tmp_path: Path, names: tuple[str, ...], maps: dict[str, str], others: list[str]
) -> None:
    result = found(tmp_path, *names)
    assert taken(result) == maps and list(result.others) == others


def test_a_name_that_spells_its_channels_is_read_so(tmp_path: Path) -> None:
    maps = found(tmp_path, "wall_multi_R_gloss_G_ao_B_height_A_opacity.jpg")
    assert {name: (source.channel, source.inverted) for name, source in maps.sources.items()} == {
        "roughness": (0, True),
        "occlusion": (1, False),
        "displacement": (2, False),
    }
    assert maps.notices == [
        "wall_multi_R_gloss_G_ao_B_height_A_opacity.jpg is packed: R is gloss (1 - roughness), G is occlusion, "
        "B is displacement, A is opacity (not used)"
    ]


@pytest.mark.parametrize(
    "names",
    [
        ("a_albedo.1001.png",),
        ("a_albedo.1001.png", "a_albedo.1002.png"),
        ("a_albedo_u1_v1.png",),
        ("a_albedo_<UDIM>.png",),
        ("a_1001_BaseColor.png", "a_1002_BaseColor.png"),
        ("a_BaseColor_1001.png", "a_BaseColor_1011.png"),
    ],
)
def test_tiles_of_a_udim_set_are_refused_in_one_line_that_says_what_to_do(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    try:
        with pytest.raises(UserError) as error:
            found(tmp_path, *names)
    except OSError:
        pytest.skip("this file system has no such names")
    message = str(error.value)
    assert "UDIM" in message and names[0] in message and "a folder of its own" in message and "\n" not in message


@pytest.mark.parametrize(
    "name", ["wall_1001_albedo.png", "wall_albedo_1024.png", "wall_albedo.2024.png", "wall_albedo_1001.png"]
)
def test_a_number_alone_is_no_tile(tmp_path: Path, name: str) -> None:
    assert taken(found(tmp_path, name)) == {"diffuse": name}
