"""Sheets of several unlike materials with idle regions between them, as the textures of characters and props are.

    python -m benchmarks.atlas --out DIR [--size 2048] [--layout islands|grid] FOLDER FOLDER ...

Writes `DIR` as a folder of maps that `train.py --data_dir DIR --wrap False` takes, with the mask of its used texels as
`atlas_mask.png` (for `--mask atlas_mask.png`). Each FOLDER is a material as `--data_dir` takes it.

- `islands`: irregular pieces of the materials in turn, some places left empty, as an unwrapped mesh fills its sheet.
- `grid`: one square cell for each material, gutters between them.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from configs import TEXTURE_CHANNELS, ImageConfig
from dataset import TextureSet, channel_slice, load_texture_set
from utils.errors import UsageError, run_command
from utils.files import require_writable_folder

MASK_NAME = "atlas_mask.png"
LEAST_SIDE = 64
"""Smallest side of a sheet, texels."""
ISLANDS = 40
"""Places of a sheet of islands; those that are left empty included."""
BACKGROUND = {"normal": (128, 128, 255)}
"""What an idle texel holds; 0 in maps that are not named, as bakers clear their textures."""
MISSING = {"normal": (128, 128, 255), "occlusion": 255, "roughness": 128, "specular": 128, "displacement": 128}
"""What a material's texels hold in a map that it lacks and another one has; 0 where not named."""


def grid_places(size: int, materials: int, gutter: int) -> np.ndarray:
    """Return which material each texel of a sheet shows, -1 for none: square cells, int16 `[size, size]`."""
    cells = math.ceil(math.sqrt(materials))
    index = np.arange(size) * cells // size
    place = index[:, None] * cells + index
    within = np.arange(size) - index * size / cells
    inside = (within >= gutter / 2) & (within < size / cells - gutter / 2)
    return np.where(inside[:, None] & inside & (place < materials), place, -1).astype(np.int16)


def island_places(size: int, materials: int, gutter: int, idle: float, seed: int) -> np.ndarray:
    """Return which material each texel of a sheet shows, -1 for none: islands, int16 `[size, size]`.

    Islands are the cells of scattered points, `gutter` texels apart; `idle` is the share of cells that stay empty.
    """
    from scipy.spatial import cKDTree

    random = np.random.default_rng(seed)
    side = math.ceil(math.sqrt(ISLANDS))
    corners = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2)
    points = (corners + random.uniform(0.1, 0.9, corners.shape)) * size / side
    shown = np.full(len(points), -1, np.int16)
    filled = random.permutation(len(points))[: max(materials, round((1 - idle) * len(points)))]
    shown[filled] = np.arange(len(filled)) % materials
    tree, places = cKDTree(points), np.empty((size, size), np.int16)
    across = np.arange(size) + 0.5
    for row in range(size):
        distance, nearest = tree.query(np.stack([across, np.full(size, row + 0.5)], 1), k=2)
        # Half the gutter lies on either side of the line of equal distance.
        apart = np.linalg.norm(points[nearest[:, 0]] - points[nearest[:, 1]], axis=1)
        from_line = (distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2 * apart)
        places[row] = np.where(from_line >= gutter / 2, shown[nearest[:, 0]], -1)
    # The sheet's own border is a gutter, too.
    margin = gutter // 2
    if margin:
        places[:margin], places[-margin:], places[:, :margin], places[:, -margin:] = -1, -1, -1, -1
    return places


def compose(materials: Sequence[TextureSet], places: np.ndarray) -> dict[str, np.ndarray]:
    """Return the maps that any of the materials has, uint8 `[H, W, count]`: each material repeated over its places."""
    height, width = places.shape
    maps = {}
    for name, count in TEXTURE_CHANNELS.items():
        if not any(textures.present[name] for textures in materials):
            continue
        sheet = np.empty((height, width, count), np.uint8)
        sheet[...] = BACKGROUND.get(name, 0)
        for index, textures in enumerate(materials):
            y, x = np.nonzero(places == index)
            if textures.present[name]:
                texels = textures.mips[0][..., channel_slice(name)]
                sheet[y, x] = texels[y % textures.height, x % textures.width]
            else:
                sheet[y, x] = MISSING.get(name, 0)
        maps[name] = sheet
    return maps


def make_atlas(
    out: str | Path,
    folders: Sequence[str],
    *,
    size: int = 2048,
    layout: str = "islands",
    gutter: int | None = None,
    idle: float = 0.25,
    seed: int = 0,
) -> Path:
    """Write a sheet of the materials in `folders`, its maps and its mask, into `out`; returns that folder.

    `gutter`: texels between two islands, by default a 128th of `size`. Raises `UsageError` where a number cannot be,
    `UserError` where a material cannot be read or `out` cannot be written.
    """
    if size < LEAST_SIDE:
        raise UsageError(f"--size {size} is too small for a sheet; choose at least {LEAST_SIDE}")
    if not 0 <= idle < 1:
        raise UsageError(f"--idle {idle:g} is no share of the places that stay empty; choose 0 or more, below 1")
    gutter = size // 128 if gutter is None else gutter
    if not 0 <= gutter <= size // 16:
        raise UsageError(f"--gutter {gutter} does not fit a sheet of {size}; choose 0 to {size // 16}")
    if not 0 < len(folders) <= ISLANDS // 2:
        raise UsageError(f"{len(folders)} materials do not fit a sheet; name 1 to {ISLANDS // 2} folders")
    images = ImageConfig(normal_convention="opengl", mask="none")
    materials = [load_texture_set(folder, images=images, max_size=size) for folder in folders]
    places = (
        grid_places(size, len(folders), gutter)
        if layout == "grid"
        else island_places(size, len(folders), gutter, idle, seed)
    )
    folder = require_writable_folder(Path(out))
    names = {"diffuse": "albedo", "normal": "normal_gl"}
    for name, sheet in compose(materials, places).items():
        texels = sheet[..., 0] if sheet.shape[2] == 1 else sheet
        Image.fromarray(texels).save(folder / f"atlas_{names.get(name, name)}.png", compress_level=4)
    Image.fromarray((places >= 0).astype(np.uint8) * 255).save(folder / MASK_NAME)
    return folder


def main() -> None:
    """Write a sheet and say how to train on it."""
    parser = argparse.ArgumentParser(description="Write a sheet of several materials with idle regions between them.")
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="the materials, each as --data_dir takes it")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write the maps and the mask to")
    parser.add_argument("--size", type=int, default=2048, help="texels per side (default 2048)")
    parser.add_argument("--layout", choices=("islands", "grid"), default="islands", help="default islands")
    parser.add_argument("--gutter", type=int, help="texels between two islands (default: a 128th of the size)")
    parser.add_argument(
        "--idle", type=float, default=0.25, help="share of the islands' places left empty (default 0.25)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the islands' places (default 0)")
    options = vars(parser.parse_args())
    folder = make_atlas(options.pop("out"), options.pop("folders"), **options)
    print(f"python train.py --data_dir {folder} --wrap False --mask {MASK_NAME}")


if __name__ == "__main__":
    run_command(main)
