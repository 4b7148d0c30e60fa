"""Materials under light: values worked out by hand, energy, the way that normals point, missing maps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from configs import TEXTURE_CHANNELS
from images.colour import srgb_to_linear
from reporting.rendered import WINDOW, render_beside
from reporting.rendering import render_plane, render_sphere, to_srgb8, tone_map
from reporting.shading import MIN_ROUGHNESS, Light, Lighting, Surface, shade, surface
from tests.baselines.textures import material

ALL = dict.fromkeys(TEXTURE_CHANNELS, True)
WHITE_SKY = Lighting(zenith=(1, 1, 1), nadir=(1, 1, 1))


def points(albedo=1.0, roughness=1.0, metallic=0.0, specular=0.5, count=1):
    return Surface(
        np.full((3, count), albedo, np.float32),
        np.tile(np.array([[0], [0], [1]], np.float32), count),
        *(np.full(count, value, np.float32) for value in (roughness, 1.0, metallic, specular)),
    )


def facing(count=1, angle=0.0):
    """Normals `angle` radians away from the viewer, to the right."""
    return np.tile(np.array([[math.sin(angle)], [0], [math.cos(angle)]], np.float32), count)


def lit(material, direction, normal=None, irradiance=1.0):
    lighting = Lighting(lights=(Light(direction, (irradiance,) * 3, distant=True),))
    normal = facing() if normal is None else normal
    return shade(material, normal, np.zeros_like(normal), lighting)


def test_a_flat_white_dielectric_under_one_light_has_the_radiance_worked_out_by_hand():
    # Seen and lit along the normal: D = 1 / pi, V = 1/4, F = 0.04.
    assert lit(points(), (0, 0, 1)) == pytest.approx(np.full((3, 1), (0.96 + 0.04 / 4) / math.pi), rel=1e-5)
    # Lit from 60 degrees: n.l = 1/2, h at 30 degrees, k = 1/2, so V = 1 / (4 * 3/4) and D = 1 / pi.
    fresnel = 0.04 + 0.96 * (1 - math.cos(math.pi / 6)) ** 5
    expected = 0.5 * ((1 - fresnel) + fresnel / 3) / math.pi
    found = lit(points(), (math.sin(math.pi / 3), 0, 0.5))
    assert found == pytest.approx(np.full((3, 1), expected), rel=1e-5)


def test_a_metal_of_roughness_one_half_reflects_its_colour_alone():
    alpha2 = 0.5**4
    # At the mirror direction: D = 1 / (pi a^2), V = 1/4, F = F0 = albedo.
    found = lit(points(albedo=0.7, roughness=0.5, metallic=1.0), (0, 0, 1), irradiance=2.0)
    assert found == pytest.approx(np.full((3, 1), 2 * 0.7 / (4 * math.pi * alpha2)), rel=1e-4)


def test_a_lamp_gets_weaker_with_the_square_of_its_distance():
    def under(height):
        return shade(points(), facing(), np.zeros((3, 1), np.float32), Lighting((Light((0, 0, height), (1, 1, 1)),)))

    assert under(3) == pytest.approx(under(1) / 9, rel=1e-5)


def test_the_lobe_of_highlights_has_the_area_one():
    """The integral of D (n.h) over directions is 1, here by a sum over half vectors."""
    roughness = 0.4
    angle = (np.arange(20000) + 0.5) / 20000 * math.pi / 2
    alpha2 = roughness**4
    d = alpha2 / (math.pi * (np.cos(angle) ** 2 * (alpha2 - 1) + 1) ** 2)
    assert (2 * math.pi * d * np.cos(angle) * np.sin(angle)).sum() * math.pi / 40000 == pytest.approx(1, abs=1e-3)
    # What the shader has of it: the radiance of a white metal where view, light and normal are one.
    found = lit(points(roughness=roughness, metallic=1.0), (0, 0, 1))
    assert found[0, 0] == pytest.approx(d[0] / 4, rel=1e-3)


@pytest.mark.parametrize("metallic", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("roughness", [0.0, 0.3, 0.7, 1.0])
def test_under_an_even_white_sky_nothing_gives_back_more_than_it_gets(metallic, roughness):
    for angle in np.linspace(0, 1.5, 7):
        normal = facing(angle=float(angle))
        out = shade(points(1.0, roughness, metallic), normal, np.zeros_like(normal), WHITE_SKY)
        assert 0 < out.min() and out.max() <= 1.001


def test_a_white_dielectric_gives_an_even_sky_back_whole_and_a_smooth_white_metal_nearly():
    normal = facing(angle=0.5)
    assert shade(points(), normal, normal, WHITE_SKY) == pytest.approx(1, abs=1e-3)
    assert shade(points(1.0, MIN_ROUGHNESS, 1.0), normal, normal, WHITE_SKY) == pytest.approx(1, abs=0.05)


def test_occlusion_darkens_the_sky_and_not_the_lamp():
    half = points()
    half.occlusion[:] = 0.5
    zero = np.zeros((3, 1), np.float32)
    assert shade(half, facing(), zero, WHITE_SKY) == pytest.approx(shade(points(), facing(), zero, WHITE_SKY) / 2)
    assert lit(half, (0, 0, 1)) == pytest.approx(lit(points(), (0, 0, 1)))


def _texels(normal, side=4):
    texels = np.full((side, side, 11), 128, np.uint8)
    texels[..., 3:6], texels[..., 7], texels[..., 8] = normal, 255, 0
    return texels


def test_normals_point_up_with_green_up_in_opengl_and_down_in_directx():
    lighting = Lighting(lights=(Light((0, 1, 1), (1, 1, 1), distant=True),))
    up, down = _texels((128, 200, 220)), _texels((128, 56, 220))

    def brightness(texels, convention):
        return float(render_plane(texels, ALL, convention, lighting).mean())

    assert brightness(up, "opengl") > brightness(down, "opengl") + 20
    # 128 is a little above the middle of 0 .. 255, so a mirrored code is 255 - code.
    up_dx = _texels((128, 55, 220))
    assert brightness(up_dx, "directx") == pytest.approx(brightness(up, "opengl"), abs=1)
    assert brightness(up, "directx") < brightness(up, "opengl") - 20


def test_on_a_sphere_red_points_to_the_right_and_green_up():
    def lean(normal, direction):
        lighting = Lighting(lights=(Light(direction, (1, 1, 1), distant=True),))
        sphere = render_sphere(_texels(normal), ALL, "opengl", lighting, side=64)
        return float(sphere[24:40, 24:40].mean())

    right, above = (1, 0, 1), (0, 1, 1)
    assert lean((200, 128, 220), right) > lean((56, 128, 220), right) + 20
    assert lean((128, 200, 220), above) > lean((128, 56, 220), above) + 20


def test_a_sphere_shows_the_texture_upright_and_not_mirrored():
    texels = _texels((128, 128, 255), side=64)
    texels[..., :3] = 0
    # With once around, the middle of the picture is u = 1/2, v = 1/4: red left of it, green above.
    texels[:, :32, 0] = 255
    texels[:16, :, 1] = 255
    sphere = render_sphere(texels, ALL, "opengl", WHITE_SKY, side=64, around=1.0)
    assert sphere[40, 20, 0] > 150 > 100 > sphere[40, 44, 0]
    assert sphere[20, 44, 1] > 150 > 100 > sphere[44, 44, 1]
    assert tuple(sphere[0, 0]) == (28, 28, 30)


def test_missing_maps_are_neutral():
    empty = surface(np.zeros((1, 11), np.uint8), dict.fromkeys(TEXTURE_CHANNELS, False), "opengl")
    assert empty.normal.ravel().tolist() == [0, 0, 1]
    assert empty.albedo == pytest.approx(np.full((3, 1), float(srgb_to_linear(np.float32(0.5)))))
    values = [float(each[0]) for each in (empty.roughness, empty.occlusion, empty.metallic, empty.specular)]
    assert values == [0.5, 1.0, 0.0, 0.5]
    # Zeros of the file stand for something only where the map is there.
    there = surface(np.zeros((1, 11), np.uint8), ALL, "opengl")
    assert float(there.roughness[0]) == float(there.specular[0]) == 0 and not there.albedo.any()


def test_coding_to_srgb_is_right_to_a_step_and_middle_tones_pass_the_tone_map_as_they_are():
    codes = np.arange(256)
    linear = np.tile(srgb_to_linear(codes.astype(np.float32) / 255), (3, 1))
    assert np.abs(to_srgb8(linear)[:, 0].astype(int) - codes).max() == 0
    grey = tone_map(np.array([[0.2, 0.5, 4.0, 100.0]] * 3))
    assert grey[0, :2] == pytest.approx([0.16, 0.46]) and 0.8 < grey[0, 2] < grey[0, 3] <= 1


@pytest.mark.parametrize("width, height", [(1, 1), (37, 21), (WINDOW + 9, 50)])
def test_renders_beside_the_reference_have_the_figures_of_their_own_pixels(width, height):
    textures = material(width, height)
    reference = textures.mips[0]
    worse = reference // 8 * 8
    same = render_beside(reference, {"same": reference.copy()}, textures.present, "opengl")
    assert math.isinf(same.figures["same"][0])
    two = render_beside(reference, {"near": reference, "worse": worse}, textures.present, "opengl")
    assert list(two.figures) == ["near", "worse"] and 10 < two.figures["worse"][0] < 60
    assert two.picture.startswith(b"\x89PNG") and ("middle" in two.caption) == (width > WINDOW)


def test_a_crop_of_a_wall_is_lit_as_in_the_whole():
    textures = material(64, 32)
    whole = render_plane(textures.mips[0], textures.present, "opengl")
    crop = render_plane(textures.mips[0], textures.present, "opengl", rows=slice(8, 24), columns=slice(16, 48))
    assert np.array_equal(whole[8:24, 16:48], crop)
