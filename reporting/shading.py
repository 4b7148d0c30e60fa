"""How a material's texels reflect light, in NumPy.

Space: x right, y up, z to the viewer, who is far away (orthographic, `v` = (0, 0, 1)). Values are linear light. Vectors
are `[3, N]`, so that each component is contiguous; `N` are the shaded points.

Reflection of light of irradiance `E` from direction `l`, with half vector `h` and roughness `r`, `a = r^2`:

    E (n.l) [(1 - F) diffuse / pi + D V F]
    diffuse = albedo (1 - metallic),  F0 = mix(0.08 specular, albedo, metallic); specular is 0.5 where the map is missing
    D = a^2 / (pi ((n.h)^2 (a^2 - 1) + 1)^2)              GGX: Walter et al., "Microfacet Models for Refraction through
                                                          Rough Surfaces", EGSR 2007
    V = G / (4 (n.l) (n.v)),  G = G1(n.l) G1(n.v),  G1(x) = x / (x (1 - k) + k),  k = (r + 1)^2 / 8
                                                          Karis, "Real Shading in Unreal Engine 4", SIGGRAPH 2013
    F = F0 + (1 - F0) (1 - v.h)^5                         Schlick 1994

The environment is a sky that brightens with y and soft boxes, which are spherical Gaussians `L exp(s (w.d - 1))`; both
have closed forms for what a diffuse and what a glossy surface sees of them (Wang et al., "All-Frequency Rendering of
Dynamic, Spatially-Varying Reflectance", SIGGRAPH Asia 2009). A glossy surface reflects `F0 A + B` of it, by Karis's
fit ("Physically Based Shading on Mobile", 2014); what it reflects is taken from the diffuse light, so that under an
even sky no material gives back more than it gets. The displacement map is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from images.colour import srgb_to_linear
from reporting.metrics import channel_ranges

MIN_ROUGHNESS = 0.06
"""A perfect mirror would show a light as less than a pixel."""


@dataclass(frozen=True)
class Light:
    """A lamp at `position`, or with `distant` one in that direction, whose light is the same everywhere.

    `irradiance` is what a surface that faces it gets at a distance of 1.
    """

    position: tuple[float, float, float]
    irradiance: tuple[float, float, float]
    distant: bool = False


@dataclass(frozen=True)
class SoftBox:
    """A glowing lobe of the environment: radiance at its middle, and how sharply it falls off around `direction`."""

    direction: tuple[float, float, float]
    radiance: tuple[float, float, float]
    sharpness: float


@dataclass(frozen=True)
class Lighting:
    """Everything that shines on a material."""

    lights: tuple[Light, ...] = ()
    soft_boxes: tuple[SoftBox, ...] = ()
    zenith: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Radiance of the environment from above (y = 1)."""
    nadir: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Radiance from below; between the two it is linear in y."""


STUDIO = Lighting(
    lights=(Light((-1.1, 1.2, 1.1), (5.2, 4.9, 4.4)),),
    soft_boxes=(SoftBox((-0.55, 0.65, 0.52), (2.6, 2.5, 2.3), 14.0), SoftBox((0.86, 0.10, 0.50), (0.9, 1.1, 1.5), 9.0)),
    zenith=(0.62, 0.68, 0.78),
    nadir=(0.16, 0.14, 0.13),
)
"""The light of reports: a warm lamp at the upper left, a large soft box behind it, a cool one at the right."""


@dataclass
class Surface:
    """What a material is at `N` points, linear light; `normal` is in tangent space, of length 1, y up."""

    albedo: np.ndarray
    """[3, N] float32"""
    normal: np.ndarray
    """[3, N] float32"""
    roughness: np.ndarray
    """[N] float32, as are the others"""
    occlusion: np.ndarray
    metallic: np.ndarray
    specular: np.ndarray

    def part(self, points: slice | np.ndarray) -> Surface:
        """Return the surface at some of the points."""
        return Surface(
            self.albedo[:, points],
            self.normal[:, points],
            *(values[points] for values in (self.roughness, self.occlusion, self.metallic, self.specular)),
        )


def surface(texels: np.ndarray, present: Mapping[str, bool], normal_convention: str) -> Surface:
    """Return what texels `[N, 11]` in file coding, uint8 or float in 0 .. 255, describe.

    `normal_convention` is `opengl` (green up) or `directx` (green down). A missing map has a neutral value: mid grey,
    flat, roughness 0.5, not occluded, not metallic, specular 0.5, which is a reflectance of 4 %.
    """
    ranges, count = channel_ranges(), len(texels)

    def scalar(name: str, neutral: float) -> np.ndarray:
        if not present.get(name):
            return np.full(count, neutral, np.float32)
        return texels[:, ranges[name].start].astype(np.float32) * np.float32(1 / 255)

    def vector(name: str, neutral: tuple[float, float, float]) -> np.ndarray:
        if not present.get(name):
            return np.repeat(np.array(neutral, np.float32)[:, None], count, 1)
        return np.ascontiguousarray(texels[:, ranges[name]].T)

    albedo, normal = vector("diffuse", (0.5, 0.5, 0.5)), vector("normal", (0.0, 0.0, 1.0))
    if present.get("diffuse"):
        coded = np.arange(256, dtype=np.float32) / 255
        albedo = (
            srgb_to_linear(coded)[albedo]
            if albedo.dtype == np.uint8
            else np.interp(albedo, np.arange(256), srgb_to_linear(coded)).astype(np.float32)
        )
    else:
        albedo = srgb_to_linear(albedo)
    if present.get("normal"):
        normal = normal.astype(np.float32) * np.float32(2 / 255) - 1
        if normal_convention == "directx":
            normal[1] = -normal[1]
        normal /= np.maximum(np.sqrt(_dot(normal, normal)), np.float32(1e-6))
    return Surface(
        albedo,
        normal,
        scalar("roughness", 0.5),
        scalar("occlusion", 1.0),
        scalar("metallic", 0.0),
        scalar("specular", 0.5),
    )


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the dot product of `[3, N]` vectors, either of which may be one `[3]`."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _lobe_integral(first: float, second: np.ndarray | float, cosine: np.ndarray) -> np.ndarray:
    """Return the integral over the sphere of the product of two spherical Gaussians of amplitude 1.

    `first` and `second` are their sharpnesses and `cosine` that of the angle between them:
    `2 pi exp(d - first - second) (1 - exp(-2 d)) / d`, with `d` the length of the sum of both axes times sharpness.
    """
    total = np.float32(first) + second
    length = np.sqrt(np.maximum(total * total - 2 * first * second * (1 - cosine), 1e-6))
    # d - total, without the difference of large numbers.
    fall = np.exp(-2 * first * second * (1 - cosine) / (length + total))
    return np.float32(2 * np.pi) * fall * (1 - np.exp(-2 * length)) / length


def shade(points: Surface, normal: np.ndarray, position: np.ndarray, lighting: Lighting) -> np.ndarray:
    """Return the radiance `[3, N]` that points send to the viewer.

    `normal` `[3, N]` and `position` `[3, N]` are in the scene's space; shadows and light from other points are left out.
    """
    roughness = np.maximum(points.roughness, np.float32(MIN_ROUGHNESS))
    alpha2 = np.square(np.square(roughness))
    k = np.square(roughness + 1) * np.float32(1 / 8)
    n_v = np.maximum(normal[2], np.float32(0.02))
    f0 = np.float32(0.08) * points.specular * (1 - points.metallic) + points.albedo * points.metallic
    diffuse = points.albedo * (1 - points.metallic)
    radiance = np.zeros_like(normal)

    for light in lighting.lights:
        at = np.array(light.position, np.float32)
        to_light = np.repeat(at[:, None], normal.shape[1], 1) if light.distant else at[:, None] - position
        distance2 = _dot(to_light, to_light)
        to_light = to_light / np.sqrt(distance2)
        n_l = np.maximum(_dot(normal, to_light), 0)
        half = to_light.copy()
        half[2] += 1
        half /= np.sqrt(np.maximum(_dot(half, half), np.float32(1e-9)))
        n_h, v_h = np.maximum(_dot(normal, half), 0), half[2]
        d = alpha2 / (np.float32(np.pi) * np.square(np.square(n_h) * (alpha2 - 1) + 1))
        v = np.float32(0.25) / ((n_l * (1 - k) + k) * (n_v * (1 - k) + k))
        fresnel = f0 + (1 - f0) * (1 - v_h) ** 5
        arriving = n_l if light.distant else n_l / distance2
        irradiance = np.array(light.irradiance, np.float32)[:, None] * arriving
        radiance += irradiance * (diffuse * (1 - fresnel) * np.float32(1 / np.pi) + d * v * fresnel)

    return radiance + _environment(points, normal, n_v, alpha2, f0, diffuse, lighting)


def _environment(
    points: Surface,
    normal: np.ndarray,
    n_v: np.ndarray,
    alpha2: np.ndarray,
    f0: np.ndarray,
    diffuse: np.ndarray,
    lighting: Lighting,
) -> np.ndarray:
    """Return the radiance `[3, N]` that comes from sky and soft boxes."""
    zenith, nadir = (np.array(value, np.float32)[:, None] for value in (lighting.zenith, lighting.nadir))
    mean, slope = (zenith + nadir) / 2, (zenith - nadir) / 2
    reflected = 2 * n_v * normal
    reflected[2] -= 1
    # The lobe of GGX around the mirrored view: 2 / a^2 around h, four times as wide per angle around r.
    lobe = 1 / (2 * alpha2 * np.maximum(n_v, np.float32(0.1)))
    # Exact for light that is linear in y: a cosine-weighted half space sees 2/3 of it, a lobe its mean cosine.
    seen_diffuse = mean + slope * (np.float32(2 / 3) * normal[1])
    seen_glossy = mean + slope * ((1 / np.tanh(lobe) - 1 / lobe) * reflected[1])
    lobe_norm = lobe / (np.float32(2 * np.pi) * (1 - np.exp(-2 * lobe)))
    for box in lighting.soft_boxes:
        direction = np.array(box.direction, np.float32)
        direction /= np.linalg.norm(direction)
        light = np.array(box.radiance, np.float32)[:, None]
        # A clamped cosine is close to a Gaussian of sharpness 2.133 and amplitude 1.17.
        facing = np.float32(1.17 / np.pi) * _lobe_integral(box.sharpness, 2.133, _dot(normal, direction))
        seen_diffuse = seen_diffuse + light * facing
        mirrored = _lobe_integral(box.sharpness, lobe, _dot(reflected, direction)) * lobe_norm
        seen_glossy = seen_glossy + light * mirrored
    r = np.maximum(points.roughness, np.float32(MIN_ROUGHNESS))
    rest = 1 - r
    near = np.minimum(np.square(rest), np.exp2(np.float32(-9.28) * n_v)) * rest + (np.float32(0.0425) - 0.0275 * r)
    a = np.float32(-1.04) * near + (np.float32(1.04) - np.float32(0.572) * r)
    b = np.float32(1.04) * near + np.float32(0.022) * r - np.float32(0.04)
    glossy = f0 * a + np.maximum(b, 0)
    return points.occlusion * (glossy * seen_glossy + diffuse * (1 - glossy) * seen_diffuse)
