"""Procedural materials to measure on, unlike each other and seamless, at any size.

    python -m benchmarks.materials --out DIR --size 1024 [--names twill ...]

- `twill`: woven cloth in two yarns; fine regular detail everywhere.
- `painted_metal`: scratched paint over steel; a hard metallic mask, nearly flat.
- `tiles`: glazed geometric tiles; straight sharp edges in every map.
- `lacquered_wood`: planks under lacquer; smooth, streaked along one axis.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.noise import (
    blur,
    fbm,
    mix,
    mix_color,
    normal_from_height,
    occlusion_from_height,
    ridged,
    save_map,
    smoothstep,
    texel_centres,
)
from utils.errors import UsageError, run_command
from utils.files import require_writable_folder

Maps = dict[str, np.ndarray]


def twill(size: int) -> Maps:
    """A 2/2 twill of 48 warp and 48 weft yarns: cloth without metal."""
    threads = 48
    slub_u, slub_v = fbm(size, 24, 3, 101, 3), fbm(size, 3, 24, 102, 3)
    u = (texel_centres(size) * threads)[None, :] + 0.10 * slub_u
    v = (texel_centres(size) * threads)[:, None] + 0.10 * slub_v
    warp, weft = np.floor(u).astype(np.int16), np.floor(v).astype(np.int16)
    across_u, across_v = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5
    # A yarn lies on top for two crossings and below for two, one further along in every row.
    phase = (v - u + 0.5) * (np.pi / 2)
    wave = np.cos(phase)
    warp_round = np.sqrt(np.maximum(1 - (2.1 * across_u) ** 2, 0))
    weft_round = np.sqrt(np.maximum(1 - (2.1 * across_v) ** 2, 0))
    warp_height = 0.50 * warp_round + 0.22 * wave
    weft_height = 0.50 * weft_round - 0.22 * wave
    on_top = warp_height > weft_height
    # Fibres run along their yarn, slightly twisted.
    fibres = np.where(
        on_top,
        np.sin(2 * np.pi * (5 * across_u + 1.0 * v) + 0.9 * slub_v),
        np.sin(2 * np.pi * (5 * across_v + 1.0 * u) + 0.9 * slub_u),
    ).astype(np.float32)
    fuzz = fbm(size, 128, 128, 103, 3, 0.7)
    height = np.maximum(warp_height, weft_height) + 0.035 * fibres + 0.03 * fuzz + 0.03 * fbm(size, 6, 6, 104, 3)
    height = np.clip((height + 0.1) / 1.0, 0, 1).astype(np.float32)
    occlusion = occlusion_from_height(height, 2.2, (0.003, 0.008))
    rng = np.random.default_rng(105)
    warp_shade, weft_shade = rng.normal(1, 0.06, (2, threads)).astype(np.float32)
    shade = np.where(on_top, warp_shade[warp % threads], weft_shade[weft % threads])
    # Six yarns in twenty-four are of the second colour, in both directions: a check pattern.
    second = np.where(on_top, warp % 24 < 6, weft % 24 < 6).astype(np.float32)
    color = mix_color((0.13, 0.20, 0.34), (0.62, 0.47, 0.27), second)
    color = color * (shade * (0.62 + 0.38 * occlusion) * (1 + 0.10 * fibres + 0.08 * fuzz))[..., None]
    rough = 0.82 - 0.08 * smoothstep(0.5, 0.9, height) + 0.03 * fuzz + 0.04 * second
    return {
        "albedo": color,
        "normal": normal_from_height(height, 0.009),
        "roughness": rough,
        "occlusion": occlusion,
        "displacement": height,
    }


def _scratches(size: int, count: int, seed: int, length: float, width: float) -> np.ndarray:
    """Straight scratches that wrap around, [0, 1], drawn at twice the size and reduced."""
    rng = np.random.default_rng(seed)
    side = 2 * size
    canvas = Image.new("L", (side, side))
    draw = ImageDraw.Draw(canvas)
    for x, y, angle, reach, depth in zip(
        rng.random(count),
        rng.random(count),
        rng.normal(0.5, 0.9, count),
        rng.exponential(length, count),
        rng.random(count),
    ):
        step = np.array([np.cos(angle), np.sin(angle)]) * min(reach, 0.9)
        for i in (-1, 0, 1):
            for j in (-1, 0, 1):
                start = np.array([x + i, y + j])
                draw.line(
                    [*(start * side), *((start + step) * side)],
                    fill=int(90 + 165 * depth),
                    width=max(2, round(width * side * (0.5 + depth))),
                )
    return np.asarray(canvas.resize((size, size), Image.Resampling.BOX), np.float32) / 255


def painted_metal(size: int) -> Maps:
    """Paint that is chipped and scratched down to brushed steel, with rust at the edges."""
    wear = fbm(size, 3, 3, 201, 7, 0.58)
    chips = fbm(size, 14, 14, 202, 5, 0.6)
    bare = wear + 0.45 * chips
    deep = _scratches(size, 160, 203, 0.10, 0.0009)
    shallow = _scratches(size, 420, 204, 0.14, 0.0005)
    # A step of two texels or so: paint ends sharply, and the metallic map is close to a two-valued mask.
    metal = np.maximum(smoothstep(1.62, 1.66, bare), smoothstep(0.45, 0.6, deep))
    paint = 1 - metal
    brushed = fbm(size, 4, 256, 205, 4, 0.8)
    peel = fbm(size, 40, 40, 206, 3, 0.5)
    grime = smoothstep(-0.3, 2.0, fbm(size, 5, 5, 207, 6, 0.6))
    rust = smoothstep(1.28, 1.62, bare + 0.10 * peel) * smoothstep(-0.2, 1.0, fbm(size, 20, 20, 208, 5, 0.65))
    rust_paint, rust_metal = rust * paint, 0.8 * rust * metal * smoothstep(2.2, 1.66, bare)

    height = 0.35 + 0.30 * blur(paint, 0.0006) + 0.012 * peel * paint + 0.010 * brushed * metal
    height = height - 0.08 * shallow * paint - 0.05 * deep + 0.05 * rust_paint * (1 + 0.4 * peel)
    height = np.clip(height, 0, 1).astype(np.float32)
    color = mix_color((0.10, 0.33, 0.38), (0.16, 0.42, 0.45), smoothstep(-1.5, 1.5, wear))
    color = mix_color(color, (0.45, 0.58, 0.58), 0.5 * shallow)
    color = mix_color(color, (0.12, 0.14, 0.13), 0.45 * grime)
    steel = mix_color((0.56, 0.56, 0.57), (0.72, 0.71, 0.69), smoothstep(-2, 2, brushed))
    color = mix_color(color, steel, metal)
    orange = mix_color((0.24, 0.10, 0.05), (0.52, 0.26, 0.10), smoothstep(-1.5, 1.5, peel + chips))
    color = mix_color(color, orange, np.clip(rust_paint + rust_metal, 0, 1))
    rough = 0.34 + 0.02 * peel + 0.25 * grime + 0.15 * shallow
    rough = mix(rough, 0.30 + 0.05 * brushed + 0.10 * deep, metal)
    rough = mix(rough, 0.86 + 0.04 * peel, np.clip(rust_paint + rust_metal, 0, 1))
    return {
        "albedo": color,
        "normal": normal_from_height(height, 0.004),
        "roughness": rough,
        "metallic": metal * (1 - rust_metal),
        "displacement": height,
    }


def tiles(size: int) -> Maps:
    """Eight by eight glazed tiles with rings, diamonds and quarter circles inlaid; grout between them."""
    count = 8
    u = (texel_centres(size) * count)[None, :]
    v = (texel_centres(size) * count)[:, None]
    column, row = np.floor(u).astype(int), np.floor(v).astype(int)
    x, y = np.broadcast_arrays(u - np.floor(u) - 0.5, v - np.floor(v) - 0.5)
    texel = count / size
    rng = np.random.default_rng(301)
    pattern = rng.integers(0, 4, (count, count), np.int8)[row, column]
    tone = rng.normal(0, 1, (count, count)).astype(np.float32)[row, column]
    tilt_u, tilt_v = (rng.normal(0, 0.035, (count, count)).astype(np.float32)[row, column] for _ in range(2))
    color_of = rng.integers(0, 4, (count, count), np.int8)[row, column]
    radius, diamond = np.hypot(x, y), np.abs(x) + np.abs(y)
    quarter = np.minimum(np.hypot(x - 0.5, y - 0.5), np.hypot(x + 0.5, y + 0.5))
    square = np.maximum(np.abs(x), np.abs(y))
    shape = np.choose(
        pattern,
        [
            np.abs(radius - 0.27) - 0.07,
            np.abs(diamond - 0.30) - 0.09,
            np.abs(quarter - 0.5) - 0.08,
            np.abs(square - 0.22) - 0.06,
        ],
    )
    del radius, diamond, quarter
    inlay = smoothstep(texel, -texel, shape)
    groove = 1 - smoothstep(0, 0.012 + texel, np.abs(shape))
    edge = 0.5 - square
    body = smoothstep(0.025 - texel, 0.025 + texel, edge)
    bevel = np.clip((edge - 0.025) / 0.03, 0, 1)

    grit, cloud = fbm(size, 128, 128, 302, 3, 0.8), fbm(size, 6, 6, 303, 6, 0.55)
    crackle = ridged(fbm(size, 24, 24, 304, 3, 0.4), 0.03) * (tone > 0.4)
    top = 0.62 + 0.10 * bevel + tilt_u * x + tilt_v * y + 0.004 * cloud - 0.03 * groove + 0.02 * inlay
    height = np.clip(mix(0.50 + 0.012 * grit, top, body), 0, 1).astype(np.float32)
    occlusion = occlusion_from_height(height, 5.0, (0.003, 0.010))
    grounds = np.array([[0.82, 0.78, 0.68], [0.16, 0.30, 0.48], [0.55, 0.20, 0.14], [0.20, 0.38, 0.30]], np.float32)
    inlays = np.array([[0.14, 0.26, 0.50], [0.86, 0.76, 0.46], [0.88, 0.84, 0.76], [0.80, 0.52, 0.16]], np.float32)
    color = mix_color(grounds[color_of], inlays[color_of], inlay)
    color *= (1 + 0.04 * tone + 0.05 * cloud)[..., None]
    color = mix_color(color, (0.20, 0.16, 0.12), 0.6 * crackle + 0.25 * groove)
    grout = mix_color((0.40, 0.38, 0.35), (0.58, 0.55, 0.50), smoothstep(-2, 2, grit + 0.5 * cloud))
    color = mix_color(grout, color, body) * (0.7 + 0.3 * occlusion)[..., None]
    rough = mix(0.90 + 0.03 * grit, 0.12 + 0.02 * cloud + 0.10 * inlay + 0.30 * crackle + 0.10 * groove, body)
    specular = mix(0.25 + 0.0 * grit, 0.55 + 0.03 * cloud + 0.08 * inlay - 0.2 * crackle, body)
    return {
        "albedo": color,
        "normal": normal_from_height(height, 0.05),
        "roughness": rough,
        "occlusion": occlusion,
        "specular": specular,
        "displacement": height,
    }


def lacquered_wood(size: int) -> Maps:
    """Four planks under lacquer: growth rings stretched along the plank, pores, an almost even gloss."""
    planks = 4
    u = texel_centres(size)[None, :]
    across = np.broadcast_to(texel_centres(size)[:, None] * planks, (size, size))
    plank = np.floor(across).astype(int)
    rng = np.random.default_rng(401)
    tone, shift = rng.random(planks).astype(np.float32)[plank], (rng.random(planks) * 20).astype(np.float32)[plank]
    bend = fbm(size, 2, 6, 402, 4, 0.4)
    drift = fbm(size, 1, 16, 403, 3, 0.5)
    ring = (across - plank) * 9 + 0.9 * bend + 0.25 * drift + shift + 0.5 * np.sin(2 * np.pi * u + shift)
    phase = ring - np.floor(ring)
    # Late wood darkens slowly and ends at once, as growth rings do.
    late = smoothstep(0.15, 0.92, phase) * (1 - smoothstep(0.93, 1.0, phase))
    fibre = fbm(size, 8, 256, 404, 3, 0.8)
    pores = smoothstep(1.5, 2.2, fbm(size, 32, 256, 405, 2, 0.6) + 0.4 * late)
    cloud = fbm(size, 3, 3, 406, 4, 0.5)
    distance = np.abs(across - np.round(across))
    seam = 1 - smoothstep(0.004, 0.010 + planks / size, distance)

    color = mix_color((0.58, 0.36, 0.19), (0.46, 0.25, 0.12), tone)
    color = mix_color(color, (0.30, 0.14, 0.06), 0.62 * late)
    color = color * (1 + 0.045 * fibre + 0.05 * cloud)[..., None]
    color = mix_color(color, (0.14, 0.07, 0.04), 0.65 * pores + 0.85 * seam)
    height = 0.70 - 0.40 * seam - 0.03 * pores + 0.008 * late + 0.012 * cloud
    rough = 0.20 + 0.02 * cloud + 0.025 * late + 0.12 * pores + 0.006 * fibre + 0.35 * seam
    specular = 0.50 - 0.06 * pores - 0.25 * seam + 0.015 * cloud
    return {
        "albedo": color,
        "normal": normal_from_height(height.astype(np.float32), 0.004),
        "roughness": rough,
        "specular": specular,
    }


MATERIALS: dict[str, Callable[[int], Maps]] = {
    "twill": twill,
    "painted_metal": painted_metal,
    "tiles": tiles,
    "lacquered_wood": lacquered_wood,
}


def make_materials(out: Path, size: int, names: list[str] | None = None) -> list[Path]:
    """Write materials (all, or those named) as `out/<name>/<map>.png`, `size` texels square; returns their folders.

    Raises `UsageError` for an unknown name or a size below 16, `UserError` where `out` cannot be written.
    """
    names = list(MATERIALS) if names is None else names
    unknown = [name for name in names if name not in MATERIALS]
    if unknown:
        raise UsageError(f"there is no material {unknown[0]}; choose from {', '.join(MATERIALS)}")
    if size < 16:
        raise UsageError(f"size {size} is too small for these patterns; choose at least 16")
    folders = []
    for name in names:
        folder = require_writable_folder(Path(out) / name)
        maps = MATERIALS[name](size)
        for map_name in list(maps):
            save_map(folder / f"{map_name}.png", maps.pop(map_name), compress_level=4)
        folders.append(folder)
    return folders


def main() -> None:
    """Write the materials and list their folders."""
    parser = argparse.ArgumentParser(description="Write procedural materials.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to, one sub-folder per material")
    parser.add_argument("--size", type=int, default=1024, help="texels per side (default: 1024)")
    parser.add_argument("--names", nargs="+", metavar="NAME", help=f"which ones (default: {' '.join(MATERIALS)})")
    options = parser.parse_args()
    for folder in make_materials(options.out, options.size, options.names):
        print(folder)


if __name__ == "__main__":
    run_command(main)
