"""Make the sample material beside this script: mossy cobblestone, five maps, seamless.

    python data/test/make_sample.py [--out DIR] [--size 512]

Everything follows from one height field, as in a scanned material. NumPy and Pillow only; the seed is fixed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from benchmarks.noise import (  # noqa: E402
    blur,
    fbm,
    mix,
    mix_color,
    normal_from_height,
    occlusion_from_height,
    ridged,
    save_map,
    smoothstep,
    voronoi,
)

CELLS = 7
SEED = 20


def make_maps(size: int) -> dict[str, np.ndarray]:
    """The five maps, float32 in [0, 1], `[size, size]` or `[size, size, 3]`, in file coding."""
    rng = np.random.default_rng(SEED)
    # Two bends: a wide one makes the stones uneven, a narrow one chips their edges.
    warp_u = 0.10 * fbm(size, 6, 6, SEED + 1, 3) + 0.022 * fbm(size, 40, 40, SEED + 2, 3)
    warp_v = 0.10 * fbm(size, 6, 6, SEED + 3, 3) + 0.022 * fbm(size, 40, 40, SEED + 4, 3)
    border, centre, stone = voronoi(size, CELLS, SEED, 0.72, warp_u, warp_v)
    tone = rng.random(CELLS * CELLS).astype(np.float32)[stone]
    hue = rng.random(CELLS * CELLS).astype(np.float32)[stone]
    lift = rng.random(CELLS * CELLS).astype(np.float32)[stone]

    fine = fbm(size, 32, 32, SEED + 5, 4, 0.6)
    relief = fbm(size, 10, 10, SEED + 6, 5, 0.55)
    grain = fbm(size, 96, 96, SEED + 7, 2, 0.7)
    pits = smoothstep(1.0, 2.2, fbm(size, 48, 48, SEED + 8, 2))
    cracks = ridged(fbm(size, 5, 5, SEED + 9, 6, 0.6), 0.035) * smoothstep(0.25, 0.9, tone + 0.3 * relief)

    inside = smoothstep(0.02, 0.11, border + 0.006 * fine)
    dome = 1 - np.exp(-np.maximum(border, 0) / 0.17)
    stone_height = 0.40 + 0.34 * dome + 0.14 * lift + 0.055 * relief + 0.022 * fine + 0.008 * grain
    stone_height = stone_height - 0.06 * pits - 0.10 * cracks
    mortar_height = 0.20 + 0.03 * relief + 0.022 * grain
    height = mix(mortar_height, stone_height, inside)

    damp = fbm(size, 4, 4, SEED + 10, 5, 0.55)
    crevice = 1 - smoothstep(0.0, 0.24, border)
    moss_field = 0.85 * damp + 1.25 * crevice - 0.6 * smoothstep(0.5, 0.85, height) + 0.3 * fine
    moss = smoothstep(0.70, 1.25, moss_field)
    tufts = fbm(size, 72, 72, SEED + 11, 3, 0.75)
    height = mix(height, np.maximum(height, 0.34) + 0.05 + 0.035 * tufts, moss)
    height = np.clip((height - 0.1) / 0.95, 0, 1).astype(np.float32)

    occlusion = occlusion_from_height(height, 2.4, (0.003, 0.010, 0.03, 0.06))
    worn = np.clip((height - blur(height, 0.006)) * 10, -1, 1)

    color = mix_color((0.36, 0.35, 0.34), (0.60, 0.56, 0.50), tone)
    color = mix_color(color, (0.50, 0.38, 0.30), 0.55 * smoothstep(0.55, 1.0, hue))
    color = mix_color(color, (0.33, 0.39, 0.44), 0.50 * smoothstep(0.45, 0.0, hue))
    color = color * (1 + 0.12 * relief + 0.11 * fine + 0.09 * grain)[..., None]
    speckles = smoothstep(1.2, 1.9, fbm(size, 110, 110, SEED + 12, 1))
    color = mix_color(color, (0.78, 0.76, 0.71), 0.35 * speckles)
    color = mix_color(color, (0.20, 0.18, 0.16), 0.5 * pits + 0.6 * cracks)
    mortar = mix_color((0.30, 0.26, 0.21), (0.45, 0.40, 0.33), smoothstep(-1.6, 1.6, grain + 0.5 * relief))
    color = mix_color(mortar, color, inside)
    green = mix_color((0.14, 0.17, 0.08), (0.39, 0.41, 0.18), smoothstep(-1.8, 1.8, tufts + 0.4 * fine))
    green = mix_color(green, (0.43, 0.36, 0.17), 0.6 * smoothstep(0.2, 1.6, relief))
    color = mix_color(color, green, moss)
    color = color * (0.55 + 0.45 * occlusion + 0.10 * worn)[..., None]

    rough = 0.66 + 0.10 * (tone - 0.5) + 0.04 * fine + 0.03 * grain - 0.10 * np.maximum(worn, 0) - 0.12 * speckles
    rough = mix(0.88 + 0.03 * grain, rough + 0.12 * cracks, inside)
    rough = mix(rough, 0.94 + 0.025 * tufts, moss)
    return {
        "albedo": np.clip(color, 0, 1),
        "normal": normal_from_height(height, 0.055),
        "roughness": np.clip(rough, 0, 1),
        "occlusion": occlusion,
        "displacement": height,
    }


def main() -> None:
    """Write the sample's images."""
    parser = argparse.ArgumentParser(description="Make the sample material.")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: beside this script)")
    parser.add_argument("--size", type=int, default=512, help="texels per side (default: 512)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, values in make_maps(options.size).items():
        path = save_map(options.out / f"sample_{name}.jpg", values, quality=92, subsampling=0, optimize=True)
        print(f"{path.name:<26} {path.stat().st_size / 1024:7.1f} KiB")


if __name__ == "__main__":
    main()
