"""What names of the wild are read as: words within words, spellings, packed files, and the libraries' own customs."""

from __future__ import annotations

import pytest

from dataset import get_texture_config
from images.names import read_name
from images.texture_types import TextureTable, TextureType
from images.words import split_words


def meaning(name: str, table: TextureTable | None = None) -> str:
    """What a file of that name is read as, in short: `diffuse`, `R occlusion G roughness`, `known as emissive`."""
    found = read_name(f"{name}.png", get_texture_config() if table is None else table)
    if found is None:
        return "unknown"
    if found.other:
        return f"known as {found.other}"
    words = []
    for name, channel in sorted(found.maps.items(), key=lambda item: -1 if item[1] is None else item[1]):
        sign = "1-" if name in found.inverted else ""
        words.append(f"{sign}{name}" if channel is None else f"{'RGBA'[channel]} {sign}{name}")
    if found.convention_named:
        words.append("directx" if found.directx else "opengl")
    if found.guessed:
        words.append("(guess)")
    return " ".join(words)


ORM, RMA, MRA = (
    "R occlusion G roughness B metallic",
    "R roughness G metallic B occlusion",
    "R metallic G roughness B occlusion",
)
MASK_MAP = "R metallic G occlusion A 1-roughness"
METAL_SMOOTH = "R metallic A 1-roughness"
READ_AS = {
    # Longer words that are others.
    "through_wall": "unknown",
    "Colorado": "unknown",
    "Colorado_stone": "unknown",
    "coloradostone": "unknown",
    "ambientCG_x_Opacity": "known as opacity",
    "ambientCG_Bricks001_1K": "unknown",
    "ambientCG_Bricks001_1K_Color": "diffuse",
    "trough_wood": "unknown",
    "thorough": "unknown",
    "Scarborough_stone": "unknown",
    "Yarborough": "unknown",
    "watercolor_paper": "unknown",
    "abnormal": "unknown",
    "colorful_tiles": "unknown",
    "diffuser": "unknown",
    "heightened": "unknown",
    "sidebump": "unknown",
    # Keywords joined to other words.
    "wallroughness": "roughness",
    "rockalbedo": "diffuse",
    "albedorock": "diffuse",
    "BRICKALBEDO": "diffuse",
    "redbrickcolor": "diffuse",
    "wallrough": "roughness",
    "xqzalbedo": "diffuse",
    "rocknormalmap": "normal",
    "heightmap": "displacement",
    "aomap": "occlusion",
    "Metal053C_1K_Metalness": "metallic",
    "BoomBox_occlusionRoughnessMetallic": ORM,
    # Known, and none of the seven.
    "EmissiveColor": "known as emissive",
    "SpecularColor": "known as specular colour",
    "sheenColor": "known as sheen",
    "sheen_roughness": "known as sheen",
    "clearcoatNormal": "known as clearcoat",
    "clear_coat_roughness": "known as clearcoat",
    "coat_roughness": "known as coat",
    "wall_coat": "known as coat",
    "albedo_thumb": "known as preview",
    "preview_albedo": "known as preview",
    "wall_emissive": "known as emissive",
    "wall_emission": "known as emissive",
    "wall_glow": "known as emissive",
    "T_Rock_E": "known as emissive",
    "wall_opacity": "known as opacity",
    "wall_alpha": "known as opacity",
    "wall_mask": "known as mask",
    "wall_transmission": "known as transmission",
    "transmission_color": "known as transmission",
    "wall_subsurface": "known as subsurface scattering",
    "wall_scattering": "known as subsurface scattering",
    "subsurfaceColor": "known as subsurface scattering",
    "wall_ior": "known as index of refraction",
    "wall_anisotropy": "known as anisotropy",
    "wall_thumbnail": "known as preview",
    "wall_bent_normal": "known as bent normals",
    "WorldSpaceNormals": "known as normals in world or object space",
    "iridescence_thickness": "known as iridescence",
    "wall_cavity": "known as cavity or curvature",
    "DetailNormalMap": "known as detail map",
    "vertexColor": "known as identifiers",
    # The same words where they are a part of the material's name.
    "mask_albedo": "diffuse",
    "glow_stick_normal": "normal",
    "fur_coat_albedo": "diffuse",
    "wall_detail_normal": "normal",
    # Spellings.
    "wall_Colour": "diffuse",
    "wall_BaseColour": "diffuse",
    "base-colour": "diffuse",
    "T_Rock_BC": "diffuse",
    "T_Rock_BC_2K": "diffuse",
    "wall_BC7": "unknown",
    "wall_spec": "specular",
    "wall_occ": "occlusion",
    "wall_norm": "normal",
    "norm_dx": "normal directx",
    "wall_nor_D3D": "normal directx",
    "NormalD3D_2k": "normal directx",
    "nrm_dx": "normal directx",
    "DX_normal": "normal directx",
    "NormalMapDX": "normal directx",
    "normalmapdx": "normal directx",
    "wall_normal_2k_DirectX": "normal directx",
    "T_Rock_N_DX": "normal directx",
    "T_Rock_N_DirectX": "normal directx",
    "NormalDirectX": "normal directx",
    "Wall_NormalGL": "normal opengl",
    "wall-normal-ogl": "normal opengl",
    "OpenGL_normal": "normal opengl",
    "wall_depth": "1-displacement (guess)",
    "RMA": RMA,
    "T_Rock_RMA": RMA,
    "T_Rock_MRA": MRA,
    "MaskMap": MASK_MAP,
    "Wall_MaskMap": MASK_MAP,
    "wall_mask_map": MASK_MAP,
    "OcclusionRoughness": "R occlusion G roughness",
    "RoughnessMetallic": "G roughness B metallic",
    "MetallicRoughness": "G roughness B metallic",
    "wall_AlbedoTransparency": "diffuse",
    "wall_MetallicSmoothness": METAL_SMOOTH,
    "wall_gloss": "1-roughness",
    "wall_glossiness": "1-roughness",
    "wall_smoothness": "1-roughness",
    # Short suffixes, with and without what may follow.
    "T_Rock_D": "diffuse",
    "T_Rock_N": "normal",
    "T_Rock_R": "roughness",
    "T_Rock_AO": "occlusion",
    "T_Rock_M": "metallic",
    "T_Rock_S": "specular",
    "T_Rock_H": "displacement",
    "wall_d_4k": "diffuse",
    "wall_n_v2": "normal",
    "wall_r_4k_v2": "roughness",
    "wall_h_2048x2048": "displacement",
    "wall_h_4K-PNG": "displacement",
    "wall_n (1)": "normal",
    "wall_d_front": "unknown",
    "wall_a": "unknown",
    # Case, scripts, resolutions, versions.
    "BRICK_ALBEDO": "diffuse",
    "煉瓦_albedo": "diffuse",
    "煉瓦albedo": "diffuse",
    "кирпич_normal": "normal",
    "КИРПИЧ_NORMAL_DX": "normal directx",
    "τοίχος_ao": "occlusion",
    "벽돌_roughness_4k": "roughness",
    "ईंट_height": "displacement",
    "طوب_metallic": "metallic",
    "mur_crépi_occ": "occlusion",
    "ｂｒｉｃｋ＿ａｌｂｅｄｏ": "diffuse",
    "wall_albedo_4k": "diffuse",
    "wall_normal_v2": "normal",
    "wall_roughness_2048x2048": "roughness",
    "wall_4k_v2_ao": "occlusion",
    "T_Wall_AO_R_M": ORM,
    "wall_ao_rough_metal": ORM,
    "OccRoughMetal": ORM,
    "rusty_metal_rough": "roughness",
}


@pytest.mark.parametrize("name", READ_AS)
def test_name_is_read_as(name: str) -> None:
    assert meaning(name) == READ_AS[name]


VENDORS = {
    "ambientCG": {
        "Bricks076C_1K-JPG_Color": "diffuse",
        "Bricks076C_1K-JPG_NormalGL": "normal opengl",
        "Bricks076C_1K-JPG_NormalDX": "normal directx",
        "Bricks076C_1K-JPG_Roughness": "roughness",
        "Bricks076C_1K-JPG_AmbientOcclusion": "occlusion",
        "Metal009_4K-PNG_Metalness": "metallic",
        "Bricks076C_1K-JPG_Displacement": "displacement",
        "LeafSet014_2K-PNG_Opacity": "known as opacity",
        "LeafSet014_2K-PNG_Scattering": "known as subsurface scattering",
        "Lava004_1K_Emission": "known as emissive",
        "Bricks076C_1K-JPG": "unknown",
        "Bricks01_col": "diffuse",
        "Bricks01_nrm": "normal",
        "Bricks01_rgh": "roughness",
        "Metal01_met": "metallic",
    },
    "Poly Haven": {
        "rosewood_veneer1_diff_1k": "diffuse",
        "coast_sand_rocks_02_col_01_4k": "diffuse",
        "rosewood_veneer1_nor_gl_1k": "normal opengl",
        "rosewood_veneer1_nor_dx_1k": "normal directx",
        "rusty_metal_02_rough_1k": "roughness",
        "rusty_metal_02_arm_1k": ORM,
        "rusty_metal_02_ao_1k": "occlusion",
        "rusty_metal_02_metal_1k": "metallic",
        "rusty_metal_02_spec_1k": "specular",
        "rusty_metal_02_disp_1k": "displacement",
        "forest_leaves_02_translucent_1k": "known as transmission",
        "forest_leaves_02_mask_1k": "known as mask",
    },
    "Quixel Megascans": {
        "tcnndaqs_2K_Albedo": "diffuse",
        "tcnndaqs_2K_Normal": "normal",
        "tcnndaqs_2K_Normal_LOD0": "normal",
        "tcnndaqs_2K_NormalBump": "normal",
        "tcnndaqs_2K_Roughness": "roughness",
        "tcnndaqs_2K_Gloss": "1-roughness",
        "tcnndaqs_2K_AO": "occlusion",
        "tcnndaqs_2K_Cavity": "known as cavity or curvature",
        "tcnndaqs_2K_Metalness": "metallic",
        "tcnndaqs_2K_Specular": "specular",
        "tcnndaqs_2K_Displacement": "displacement",
        "tcnndaqs_2K_Bump": "displacement",
        "tcnndaqs_2K_Opacity": "known as opacity",
        "tcnndaqs_2K_Translucency": "known as transmission",
        "tcnndaqs_2K_Fuzz": "known as sheen",
        "tcnndaqs_preview": "known as preview",
        "T_MossyRock_tcnndaqs_2K_ORD": "R occlusion G roughness B displacement",
    },
    "Substance Painter": {
        "Crate_BaseColor": "diffuse",
        "Crate_Base_Color": "diffuse",
        "Crate_Mixed_AO": "occlusion",
        "Crate_Normal_OpenGL": "normal opengl",
        "Crate_Normal_DirectX": "normal directx",
        "Crate_Height": "displacement",
        "Crate_Specular_Level": "specular",
        "Crate_Ambient_Occlusion": "occlusion",
        "Crate_Curvature": "known as cavity or curvature",
        "Crate_World_Space_Normal": "known as normals in world or object space",
        "Crate_Anisotropy_angle": "known as anisotropy",
        "Crate_Emissive": "known as emissive",
    },
    "Unreal": {
        "Crate_OcclusionRoughnessMetallic": ORM,
        "T_Crate_BC": "diffuse",
        "T_Crate_N": "normal",
        "T_Crate_ORM": ORM,
        "T_Crate_MRO": MRA,
        "T_Crate_RMAH": f"{RMA} A displacement",
    },
    "Unity": {
        "Crate_AlbedoTransparency": "diffuse",
        "Crate_MetallicSmoothness": METAL_SMOOTH,
        "Crate_SpecularSmoothness": "specular A 1-roughness",
        "Crate_Emission": "known as emissive",
        "Crate_BaseMap": "diffuse",
        "Crate_MaskMap": MASK_MAP,
        "Crate_MainTex": "diffuse",
        "Crate_MetallicGlossMap": METAL_SMOOTH,
        "Crate_OcclusionMap": "occlusion",
        "Crate_ParallaxMap": "displacement",
        "Crate_DetailAlbedoMap": "known as detail map",
        "Crate_BentNormalMap": "known as bent normals",
        "Crate_ThicknessMap": "known as thickness",
        "Crate_CoatMask": "known as coat",
    },
    "glTF": {
        "Crate_baseColor": "diffuse",
        "Crate_metallicRoughness": "G roughness B metallic",
        "Crate_occlusionRoughnessMetallic": ORM,
        "Crate_normal": "normal",
        "Crate_emissive": "known as emissive",
        "Crate_clearcoatRoughness": "known as clearcoat",
        "Crate_sheenRoughness": "known as sheen",
        "Crate_specularGlossiness": "specular A 1-roughness",
    },
    "Textures.com": {
        "TexturesCom_Brick_Modern_1K_albedo": "diffuse",
        "TexturesCom_Brick_Modern_1K_normal": "normal",
        "TexturesCom_Brick_Modern_1K_roughness": "roughness",
        "TexturesCom_Brick_Modern_1K_height": "displacement",
        "TexturesCom_Brick_Modern_1K_ao": "occlusion",
        "TexturesCom_Metal_Rough_1K_metallic": "metallic",
    },
    "3DTextures.me": {
        "Brick_Wall_012_COLOR": "diffuse",
        "Brick_Wall_012_NORM": "normal",
        "Brick_Wall_012_ROUGH": "roughness",
        "Brick_Wall_012_OCC": "occlusion",
        "Brick_Wall_012_DISP": "displacement",
        "Brick_Wall_012_SPEC": "specular",
        "Stylized_Stone_Wall_001_basecolor": "diffuse",
        "Stylized_Stone_Wall_001_ambientOcclusion": "occlusion",
    },
    "cgbookcase": {
        "BrickWall04_2K_BaseColor": "diffuse",
        "BrickWall04_2K_Normal": "normal",
        "BrickWall04_2K_AO": "occlusion",
        "BrickWall04_2K_Height": "displacement",
        "Leaf01_2K_Opacity": "known as opacity",
    },
    "ShareTextures": {
        "brick_wall_5_basecolor-1K": "diffuse",
        "brick_wall_5_diffuse-1K": "diffuse",
        "brick_wall_5_normal-1K": "normal",
        "brick_wall_5_ambientocclusion-1K": "occlusion",
        "brick_wall_5_height-1K": "displacement",
        "brick_wall_5_specular-1K": "specular",
    },
    "FreePBR": {
        "rustediron2_basecolor": "diffuse",
        "rustediron2_metallic": "metallic",
        "worn-bricks-albedo": "diffuse",
        "worn-bricks-ao": "occlusion",
        "worn-bricks-normal-ogl": "normal opengl",
        "worn-bricks-normal-dx": "normal directx",
        "worn-bricks-preview": "known as preview",
    },
    "GameTextures": {
        "BrickMedieval01_BaseColor": "diffuse",
        "BrickMedieval01_Normal": "normal",
        "BrickMedieval01_Roughness": "roughness",
        "BrickMedieval01_AO": "occlusion",
        "BrickMedieval01_Height": "displacement",
        "BrickMedieval01_Packed": "unknown",
    },
    "Poliigon": {
        "BricksFlemish01_COL_VAR1_3K": "diffuse",
        "BricksFlemish01_NRM_3K": "normal",
        "BricksFlemish01_GLOSS_3K": "1-roughness",
        "BricksFlemish01_REFL_3K": "specular",
        "BricksFlemish01_DISP16_3K": "displacement",
        "BricksFlemish01_AO_3K": "occlusion",
        "Leaf01_ALPHAMASKED_3K": "known as opacity",
        "Leaf01_SSS_3K": "known as subsurface scattering",
        "Poliigon_BrickWallReclaimed_8320_BaseColor": "diffuse",
        "Poliigon_BrickWallReclaimed_8320_ORM": ORM,
        "Poliigon_BrickWallReclaimed_8320_ScatteringColor": "known as subsurface scattering",
    },
    "Arroway": {
        "boards-001_d100": "diffuse",
        "boards-001_b020": "displacement",
        "boards-001_s100-g100-r100": "specular",
    },
    "Quake": {
        "base_wall_d": "diffuse",
        "base_wall_norm": "normal",
        "base_wall_bump": "displacement",
        "base_wall_gloss": "1-roughness",
        "base_wall_s": "specular",
        "base_wall_glow": "known as emissive",
        "base_wall_luma": "known as emissive",
    },
    "CryEngine": {
        "crate_diff": "diffuse",
        "crate_ddn": "normal",
        "crate_ddna": "normal A 1-roughness",
        "crate_spec": "specular",
        "crate_displ": "displacement",
    },
    "Godot": {
        "texture_rock_albedo": "diffuse",
        "texture_rock_metal": "metallic",
        "texture_rock_orm": ORM,
        "texture_rock_depth": "1-displacement (guess)",
        "texture_rock_emission": "known as emissive",
    },
    "Blender": {
        "Crate Base Color": "diffuse",
        "Crate Metallic": "metallic",
        "Crate Roughness": "roughness",
        "Crate Normal": "normal",
        "Crate Alpha": "known as opacity",
        "Crate Emission": "known as emissive",
        "Crate Coat Roughness": "known as coat",
    },
    "V-Ray and Corona": {
        "Crate_Diffuse": "diffuse",
        "Crate_Reflection": "specular",
        "Crate_Glossiness": "1-roughness",
        "Crate_Reflection_Glossiness": "1-roughness",
        "Crate_ior": "known as index of refraction",
        "Crate_Refraction": "known as transmission",
    },
    "Marmoset": {
        "crate_albedo": "diffuse",
        "crate_normals": "normal",
        "crate_normals_object": "known as normals in world or object space",
        "crate_gloss": "1-roughness",
        "crate_bentnormals": "known as bent normals",
        "crate_thickness": "known as thickness",
        "crate_transparency": "known as opacity",
    },
    "OpenPBR": {
        "wall_base_color": "diffuse",
        "wall_base_metalness": "metallic",
        "wall_specular_roughness": "roughness",
        "wall_specular_color": "known as specular colour",
        "wall_base_diffuse_roughness": "known as diffuse lobe's roughness",
        "wall_coat_ior": "known as coat",
        "wall_fuzz_color": "known as sheen",
        "wall_thin_film_thickness": "known as iridescence",
        "wall_emission_color": "known as emissive",
        "wall_transmission_scatter": "known as subsurface scattering",
    },
}
"""Names as libraries, painting programs and engines write them."""


@pytest.mark.parametrize("vendor", VENDORS)
def test_names_of_a_vendor_are_read_as_it_means_them(vendor: str) -> None:
    assert {name: meaning(name) for name in VENDORS[vendor]} == VENDORS[vendor]


def test_a_word_of_the_dictionary_is_not_split_and_joined_words_are() -> None:
    keywords = frozenset(("color", "rough", "roughness", "normal"))
    split = {name: [word.text for word in split_words(name, keywords)] for name in ("watercolor", "brickcolor")}
    assert split == {"watercolor": ["watercolor"], "brickcolor": ["brick", "color"]}


def test_words_end_at_separators_digits_case_and_script() -> None:
    words = split_words("T_RockBIGWall 053c-煉瓦ab", frozenset())
    assert [word.text for word in words] == ["t", "rock", "big", "wall", "053", "c", "煉瓦", "ab"]
    assert [word.separated for word in words] == [True, True, False, False, True, False, True, False]


def test_a_user_adds_a_keyword_a_suffix_and_a_proper_name() -> None:
    table = get_texture_config()
    types = [
        TextureType(one.name, (*one.keywords, "Farbe", "farbkarte", "farb-karte"), (*one.suffixes, "fb"))
        if one.name == "diffuse"
        else one
        for one in table
    ]
    mine = TextureTable(types, table.packed, table.others, ("normalfabrik",))
    names = ("wand_Farbe", "wandfarbe", "Farb_Karte", "wand_fb_2k", "NormalFabrik_wand", "wand_emissive")
    assert [meaning(name, mine) for name in names] == [*(["diffuse"] * 4), "unknown", "known as emissive"]
    assert [meaning(name) for name in names[:5]] == [*(["unknown"] * 4), "normal"]


def test_two_maps_named_in_one_word_are_noticed() -> None:
    table = get_texture_config()
    names = ("wall_AlbedoRoughness.png", "wall_normal_d.png", "wall_albedo_d.png", "rough_wall_normal.png")
    assert [read_name(name, table).beside for name in names] == ["diffuse", "normal", "", ""]
