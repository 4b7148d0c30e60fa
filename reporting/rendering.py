"""A material under light, in NumPy: what reports show beside maps, and the measure of an error that a viewer sees.

Space: x right, y up, z to the viewer, who is far away (orthographic, `view` = (0, 0, 1)). A material lies on a wall that
faces the viewer, or on a sphere. Values are linear light until `to_srgb8`. Vectors are `[3, N]`, so that each component
is contiguous; `N` are the shaded points.

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
fit ("Physically Based Shading on Mobile", 2014); what it reflects is taken from the diffuse light, so that no material
gives back more than it gets. The displacement map is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from images.colour import linear_to_srgb, srgb_to_linear
from reporting.metrics import channel_ranges

MIN_ROUGHNESS = 0.06
"""A perfect mirror would show a light as less than a pixel."""
BLOCK_POINTS = 1 << 14
"""Points that are shaded at once: few enough for a processor's cache."""
_CODES = 1 << 14
"""Entries of the table that codes linear light; the darkest sRGB step spans five of them."""


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


def tone_map(radiance: np.ndarray) -> np.ndarray:
    """Return `[3, N]` linear light in [0, 1]: Khronos PBR Neutral (2024), which keeps base colours as they are.

    >>> tone_map(np.full((3, 1), 0.5)).ravel().round(2).tolist()
    [0.46, 0.46, 0.46]
    """
    least = radiance.min(0)
    mapped = radiance - np.where(least < 0.08, least - 6.25 * least * least, 0.04)
    peak = np.maximum(mapped.max(0), 1e-6)
    start, desaturation = 0.8 - 0.04, 0.15
    room = 1 - start
    # Below `start` nothing changes; above it, values close in on 1.
    bright = np.where(peak > start, 1 - room * room / np.maximum(peak + room - start, room), peak)
    grey = 1 / (desaturation * (peak - bright) + 1)
    return mapped * (bright / peak) * grey + bright * (1 - grey)


def to_srgb8(linear: np.ndarray) -> np.ndarray:
    """Code `[3, N]` linear light as sRGB, uint8 `[N, 3]`."""
    table = np.floor(linear_to_srgb(np.linspace(0, 1, _CODES, dtype=np.float32)) * 255 + 0.5).astype(np.uint8)
    index = (np.clip(linear, 0, 1) * (_CODES - 1) + 0.5).astype(np.int32)
    return np.ascontiguousarray(table[index].T)


def _shade_blocks(
    points: Surface, normal: np.ndarray, position: np.ndarray, lighting: Lighting, samples: int = 1
) -> np.ndarray:
    """Return tone-mapped light `[3, N / samples]`, the mean of each `samples` points in a row."""
    count = normal.shape[1]
    result = np.empty((3, count // samples), np.float32)
    step = BLOCK_POINTS - BLOCK_POINTS % samples
    for first in range(0, count, step):
        block = slice(first, min(first + step, count))
        # Before the mean, as a display would: a highlight of one sample does not bleed into its pixel.
        mapped = tone_map(shade(points.part(block), normal[:, block], position[:, block], lighting))
        result[:, first // samples : block.stop // samples] = mapped.reshape(3, -1, samples).mean(2)
    return result


def render_plane(
    texels: np.ndarray,
    present: Mapping[str, bool],
    normal_convention: str,
    lighting: Lighting = STUDIO,
    rows: slice = slice(None),
    columns: slice = slice(None),
) -> np.ndarray:
    """Return a wall of texels `[H, W, 11]`, uint8 in file coding, as an sRGB picture uint8, a texel a pixel.

    The wall spans -1 .. 1 along its longer side. `rows` and `columns` are the part of it that is drawn, which is lit as
    in the whole.
    """
    height, width = texels.shape[:2]
    shown = texels[rows, columns]
    points = surface(shown.reshape(-1, texels.shape[2]), present, normal_convention)
    pixel = np.float32(2 / max(height, width))
    y, x = np.meshgrid(
        (np.arange(height, dtype=np.float32)[rows] + (0.5 - height / 2)) * pixel,
        (np.arange(width, dtype=np.float32)[columns] + (0.5 - width / 2)) * pixel,
        indexing="ij",
    )
    position = np.stack([x.ravel(), -y.ravel(), np.zeros(x.size, np.float32)])
    light = _shade_blocks(points, points.normal, position, lighting)
    return to_srgb8(light).reshape(*shown.shape[:2], 3)


def render_sphere(
    texels: np.ndarray,
    present: Mapping[str, bool],
    normal_convention: str,
    lighting: Lighting = STUDIO,
    *,
    side: int = 384,
    around: float = 2.0,
    samples: int = 1,
    background: tuple[int, int, int] = (28, 28, 30),
) -> np.ndarray:
    """Return a sphere of radius 1 wrapped in texels `[H, W, 11]`, uint8 in file coding, as sRGB uint8 `[side, side, 3]`.

    The texture repeats `around` times along the equator and half as often from pole to pole. Each pixel is the mean of
    `samples x samples` points, each of them read bilinearly.
    """
    sub = side * samples
    offset = (np.arange(sub, dtype=np.float32) + 0.5) / sub * 2.04 - 1.02
    # Samples of a pixel lie one after another.
    order = offset.reshape(side, samples)
    y = np.broadcast_to(-order[:, None, :, None], (side, side, samples, samples)).reshape(-1)
    x = np.broadcast_to(order[None, :, None, :], (side, side, samples, samples)).reshape(-1)
    radius2 = x * x + y * y
    inside = (radius2 < 1).reshape(-1, samples * samples)
    shown = inside.any(1)
    chosen = np.repeat(shown, samples * samples)
    # A sample just outside of the outline takes the outline's point, and counts as background below.
    scale = 1 / np.sqrt(np.maximum(radius2[chosen], 1))
    x, y = x[chosen] * scale, y[chosen] * scale
    z = np.sqrt(np.maximum(1 - x * x - y * y, np.float32(1e-6)))
    position = np.stack([x, y, z])
    u = (np.arctan2(x, z) / np.float32(2 * np.pi) + np.float32(0.5)) * around
    v = np.arccos(np.clip(y, -1, 1)) / np.float32(np.pi) * np.float32(around / 2)
    points = surface(_bilinear(texels, u, v), present, normal_convention)
    # u runs to the right around the axis y; v runs down, and green points up.
    level = 1 / np.sqrt(np.maximum(x * x + z * z, np.float32(1e-6)))
    tangent = np.stack([z * level, np.zeros_like(x), -x * level])
    bitangent = np.stack([-y * x * level, 1 / level, -y * z * level])
    normal = tangent * points.normal[0] + bitangent * points.normal[1] + position * points.normal[2]
    light = _shade_blocks(points, normal, position, lighting, samples * samples)
    covered = inside[shown].mean(1, dtype=np.float32)[:, None]
    picture = np.full((side * side, 3), background, np.uint8)
    picture[shown] = to_srgb8(light) * covered + picture[shown] * (1 - covered) + 0.5
    return picture.reshape(side, side, 3)


def _bilinear(texels: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return `[H, W, C]` uint8 at wrapped coordinates, texel centres at half integers, as float32 `[N, C]`."""
    height, width, channels = texels.shape
    flat = texels.reshape(-1, channels)
    result = np.empty((len(u), channels), np.float32)
    for first in range(0, len(u), BLOCK_POINTS):
        block = slice(first, first + BLOCK_POINTS)
        x, y = u[block] * width - np.float32(0.5), v[block] * height - np.float32(0.5)
        left, top = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
        t, s = (x - left)[:, None], (y - top)[:, None]
        rows, columns = (top % height * width, (top + 1) % height * width), (left % width, (left + 1) % width)
        upper, lower = (flat[row + columns[0]] * (1 - t) + flat[row + columns[1]] * t for row in rows)
        result[block] = upper * (1 - s) + lower * s
    return result
