"""What is right for every set of photographed and made materials that lies beside the checkout, found without help."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from configs import TEXTURE_CHANNELS
from dataset import get_texture_config, load_texture_set
from images.inputs import material_inputs

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=f"the materials are not there: {REAL}")


@dataclass(frozen=True)
class Right:
    """What has to be found in a set."""

    size: tuple[int, int]
    maps: dict[str, str]
    """File and channel of every map, as in `BoomBox_orm.png G`."""
    convention: str = "opengl"
    guessed: frozenset[str] = frozenset()
    """Maps of which something was decided by pixels."""
    inverted: frozenset[str] = frozenset()
    others: dict[str, str] = field(default_factory=dict)
    deep: frozenset[str] = frozenset()
    """Maps that are kept at 16 bits."""
    notices: tuple[str, ...] = ()
    """Parts of sentences that must be there, and of no set that does not list them."""


AMBIENT = {"diffuse": "albedo.jpg RGB", "normal": "normal.jpg RGB", "roughness": "roughness.jpg grey"}
# The conventions were seen in renderings under light from the top left: in the right one bumps are bright on top and on
# their left, and what is below is not. In panel1 this is so with green down alone. The stones of the rock rise with
# green up, while its depth map, white in the gaps, calls them low, so it holds depth.
RIGHT = {
    "Bark014": Right(
        (1024, 1024),
        AMBIENT | {"occlusion": "ao.jpg grey", "displacement": "displacement.jpg grey"},
        guessed=frozenset({"normal"}),
        notices=("unit length",),
    ),
    "BoomBox": Right(
        (2048, 2048),
        {
            "diffuse": "BoomBox_baseColor.png RGB",
            "normal": "BoomBox_normal.png RGB",
            "roughness": "BoomBox_occlusionRoughnessMetallic.png G",
            "occlusion": "BoomBox_occlusionRoughnessMetallic.png R",
            "metallic": "BoomBox_occlusionRoughnessMetallic.png B",
        },
        guessed=frozenset({"normal"}),
        others={"BoomBox_emissive.png": "emissive"},
    ),
    "Facade005": Right(
        (1024, 1024),
        AMBIENT | {"metallic": "metallic.jpg grey", "displacement": "displacement.jpg grey"},
        guessed=frozenset({"normal"}),
        notices=("unit length",),
    ),
    "Ground068": Right(
        (1024, 1024),
        {
            "diffuse": "Ground068_1K-JPG_Color.jpg RGB",
            "normal": "Ground068_1K-JPG_NormalGL.jpg RGB",
            "roughness": "Ground068_1K-JPG_Roughness.jpg grey",
            "occlusion": "Ground068_1K-JPG_AmbientOcclusion.jpg grey",
            "displacement": "Ground068_1K-JPG_Displacement.jpg grey",
        },
        notices=("unit length",),
    ),
    "Metal053C": Right(
        (1024, 1024),
        AMBIENT | {"metallic": "metallic.jpg grey", "displacement": "displacement.jpg grey"},
        guessed=frozenset({"normal"}),
    ),
    # Its name promises roughness in green, where nothing is but the heads of nails; the grain of the wood is in blue.
    "WoodFloor043": Right(
        (1024, 512),
        {
            "diffuse": "WoodFloor043_1K_Color.jpg RGB",
            "normal": "WoodFloor043_1K_NormalGL.jpg RGB",
            "roughness": "WoodFloor043_1K_MetalRoughness.jpg B",
            "metallic": "WoodFloor043_1K_MetalRoughness.jpg G",
        },
        guessed=frozenset({"roughness", "metallic"}),
        notices=("roughness is read from B",),
    ),
    "gltf/BoxTextured/Texture": Right(
        (256, 256),
        {"diffuse": "CesiumLogoFlat.png RGB", "roughness": "roughnessFactor grey", "metallic": "metallicFactor grey"},
    ),
    "gltf/Duck/blinn3-fx": Right(
        (512, 512), {"diffuse": "image 0 RGB", "roughness": "roughnessFactor grey", "metallic": "metallicFactor grey"}
    ),
    "godot_texture_rock": Right(
        (1024, 666),
        {
            "diffuse": "texture_rock_albedo.png RGB",
            "normal": "texture_rock_normal.png RGB",
            "occlusion": "texture_rock_ao.png grey",
            "metallic": "texture_rock_metal.png grey",
            "displacement": "texture_rock_depth.png grey",
        },
        guessed=frozenset({"normal", "displacement"}),
        inverted=frozenset({"displacement"}),
        notices=("turned to height", "neither metal"),
    ),
    "mtlx": Right((2048, 2048), {"diffuse": "wood_color.jpg RGB", "roughness": "wood_roughness.jpg grey"}),
    "rosewood_veneer1": Right(
        (1024, 1024),
        {
            "diffuse": "rosewood_veneer1_diff_1k.jpg RGB",
            "normal": "rosewood_veneer1_nor_gl_1k.png RGB",
            "roughness": "rosewood_veneer1_rough_1k.png G",
        },
        deep=frozenset({"normal"}),
    ),
    "trak5_panel1": Right(
        (512, 512),
        {
            "diffuse": "panel1_d.png RGB",
            "normal": "panel1_n.png RGB",
            "specular": "panel1_s.png grey",
            "displacement": "panel1_h.png grey",
        },
        "directx",
        guessed=frozenset({"normal"}),
        notices=("unit length", "very dark"),
    ),
}
PARTS = (
    "unit length",
    "roughness is read from",
    "turned to height",
    "neither metal",
    "very dark",
    "upside",
    "object space",
)
PARTS += ("kept as it is said", "goes down where", "one value", "of the 255 steps", "do not tell", "all but constant")


def test_every_material_is_found_and_known_here() -> None:
    assert {one.name for one in material_inputs(REAL, get_texture_config())} == set(RIGHT)


@pytest.mark.parametrize("name", RIGHT)
def test_a_set_loads_right_without_help(name: str) -> None:
    right = RIGHT[name]
    data_dir = next(one.data_dir for one in material_inputs(REAL, get_texture_config()) if one.name == name)
    textures = load_texture_set(data_dir)
    assert (textures.width, textures.height) == right.size
    found = {one: f"{source.file.name} {textures.channels[one]}" for one, source in textures.sources.items()}
    assert found == right.maps
    assert [one for one, there in textures.present.items() if there] == [
        one for one in TEXTURE_CHANNELS if one in found
    ]
    assert textures.normal_convention == right.convention
    assert {one for one, source in textures.sources.items() if source.guess} == right.guessed
    assert {one for one, source in textures.sources.items() if source.inverted} == right.inverted
    assert textures.others == right.others
    assert {one for one, depth in textures.depths.items() if depth > 8} == right.deep
    told = {part for part in PARTS for line in textures.notices if part in line}
    assert told == {part for part in PARTS for notice in right.notices if part in notice}


def test_the_stones_of_the_rock_are_higher_than_the_gaps_between_them() -> None:
    texels = load_texture_set(REAL / "godot_texture_rock").mips[0].astype(float)
    occlusion, height = texels[..., 7], texels[..., 10]
    assert height[occlusion > 240].mean() > height[occlusion < 100].mean() + 40


def test_the_floor_is_rough_and_its_nails_are_metal() -> None:
    texels = load_texture_set(REAL / "WoodFloor043").mips[0]
    roughness, metallic = texels[..., 6] / 255, texels[..., 8] / 255
    assert 0.2 < np.median(roughness) < 0.4 and 0 < (metallic > 0.5).mean() < 0.001


def test_the_roughness_of_the_veneer_is_its_green() -> None:
    roughness = load_texture_set(REAL / "rosewood_veneer1").mips[0][..., 6]
    assert 70 <= roughness.min() and roughness.max() <= 90
