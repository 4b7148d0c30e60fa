"""A folder of images becomes one texture set: find the maps by file name, read them, build the mip chain."""

from __future__ import annotations

if __name__ == "__main__":
    import utils.start  # noqa: F401, before all that takes time

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs import N_CHANNELS, TEXTURE_CHANNELS
from images.detection import Detection, detect_maps
from images.inputs import material_maps
from images.maps import map_texels
from images.mips import mip_count, mip_size
from images.reading import image_size, read_image
from images.resampling import fill_mips, resize
from images.sources import MapSource, SourceImage
from images.texture_types import TextureType
from utils.arguments import OneLineParser
from utils.errors import UsageError, run_command
from utils.threads import processors

ORM = ("arm", "orm", "occlusionroughnessmetallic", "occlusion_roughness_metallic")
METAL_ROUGHNESS = ("metalroughness", "metallicroughness", "metallic_roughness")
TEXELS_AT_ONCE = 4 * 4096**2
"""Most texels of maps that are read at the same time: they and their mips take about 10 bytes each."""


def get_texture_config() -> tuple[TextureType, ...]:
    """The seven types in canonical order; the one place to add a keyword of your own."""
    return (
        TextureType(
            "diffuse", ("diffuse", "albedo", "color", "diff", "basecolor", "base_color", "col"), ("d",), coding="srgb"
        ),
        TextureType(
            "normal",
            ("normal", "nor_gl", "normalgl", "normal_gl", "nor", "nrm"),
            ("n",),
            coding="normal",
            directx_keywords=("nor_dx", "normaldx", "normal_dx", "normal-dx", "normaldirectx", "normal_directx"),
        ),
        TextureType(
            "roughness",
            ("roughness", "rough"),
            ("r",),
            packed={**dict.fromkeys(ORM, 1), **dict.fromkeys(METAL_ROUGHNESS, 1)},
        ),
        TextureType("occlusion", ("occlusion", "ao", "ambient"), packed=dict.fromkeys(ORM, 0)),
        TextureType(
            "metallic",
            ("metallic", "metalness"),
            ("m", "metal"),
            packed={**dict.fromkeys(ORM, 2), **dict.fromkeys(METAL_ROUGHNESS, 2)},
        ),
        TextureType("specular", ("specular",), ("s",)),
        TextureType("displacement", ("displacement", "disp", "height", "depth", "bump"), ("h",)),
    )


def detect(file_name: str) -> Detection | None:
    """Find the maps a file holds by the rightmost keyword of its name, None where there is none.

    >>> detect("rough_wall_diffuse.png").maps, detect("chaos_normal.png").maps, detect("rock_arm_1k.png").maps
    ({'diffuse': None}, {'normal': None}, {'roughness': 1, 'occlusion': 0, 'metallic': 2})
    """
    return detect_maps(file_name, get_texture_config())


@dataclass
class TextureSet:
    """One material: every map at one size, with mips.

    `mips[m]` is uint8 `[H_m, W_m, 11]` in file coding (diffuse sRGB-coded); maps that are missing are zero.
    """

    name: str
    width: int
    height: int
    mips: list[np.ndarray]
    present: dict[str, bool]
    normal_convention: str
    """opengl, or directx where the normal map's green points down."""
    files: dict[str, str]
    """File name of every map that is present."""
    notices: list[str]
    """Sentences on what was skipped, resized, averaged or converted."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the finest mip and of which maps are present: what tells materials of equal size apart."""
        digest = hashlib.sha256(np.ascontiguousarray(self.mips[0]).data)
        digest.update(",".join(name for name, present in self.present.items() if present).encode())
        return digest.hexdigest()

    @property
    def channel_mask(self) -> np.ndarray:
        """Bool `[11]`, true for the channels of maps that are present."""
        return np.repeat([self.present[name] for name in TEXTURE_CHANNELS], list(TEXTURE_CHANNELS.values()))


def load_texture_set(data_dir: str | Path, *, max_size: int | None = None) -> TextureSet:
    """Load a folder of images as one texture set; `max_size` limits the longer side, in texels.

    Files are read in parallel. Raises `UserError` where the folder, a name or an image cannot be used.
    """
    if max_size is not None and max_size < 1:
        raise UsageError(f"max_size {max_size} is not a size; choose at least 1")
    types = {texture.name: texture for texture in get_texture_config()}
    found = material_maps(data_dir, list(types.values()))
    chosen, notices = found.sources, list(found.notices)
    first = next(iter(chosen.values())).file
    width, height = file_size = image_size(first)
    if max_size is not None and max(file_size) > max_size:
        width, height = (max(1, round(side * max_size / max(file_size))) for side in file_size)
        notices.append(f"all maps reduced from {file_size[0]} x {file_size[1]} to {width} x {height}")
    mips = [
        np.zeros((h, w, N_CHANNELS), np.uint8)
        for w, h in (mip_size(width, height, mip) for mip in range(mip_count(width, height)))
    ]
    maps_of_file: dict[SourceImage, list[tuple[TextureType, MapSource]]] = {}
    for type_name, source in chosen.items():
        maps_of_file.setdefault(source.file, []).append((types[type_name], source))

    def load(file: SourceImage) -> list[str]:
        return _load_file(file, maps_of_file[file], mips, file_size, first.name)

    workers = min(len(maps_of_file), processors(), max(1, TEXELS_AT_ONCE // (file_size[0] * file_size[1])))
    with ThreadPoolExecutor(workers) as pool:
        for file_notices in pool.map(load, maps_of_file):
            notices += file_notices
    directx = "normal" in chosen and chosen["normal"].directx
    if directx:
        notices.append(f"normal: {chosen['normal'].file.name} is a DirectX map (green points down), kept as it is")
    return TextureSet(
        found.name,
        width,
        height,
        mips,
        {name: name in chosen for name in TEXTURE_CHANNELS},
        "directx" if directx else "opengl",
        {name: source.file.name for name, source in chosen.items()},
        notices,
    )


def _load_file(
    file: SourceImage,
    maps: Sequence[tuple[TextureType, MapSource]],
    mips: Sequence[np.ndarray],
    file_size: tuple[int, int],
    first_name: str,
) -> list[str]:
    """Read one file and write its maps and their mips into `mips`; returns notices.

    `file_size` is the width and height of the file that sets the size, `first_name`.
    """
    height, width = mips[0].shape[:2]
    image = read_image(file)
    notices = list(image.notices)
    for texture, source in maps:
        texels, map_notices = map_texels(image.texels, texture, source)
        notices += map_notices
        size = texels.shape[1], texels.shape[0]
        if size != file_size:
            notices.append(
                f"{texture.name}: {file.name} resized from {size[0]} x {size[1]} to "
                f"{width} x {height}, the size of {first_name}"
            )
        if size != (width, height):
            texels = resize(texels, width, height, texture.coding)
        fill_mips([mip[..., texture.channels] for mip in mips], texels, texture.coding)
    return notices


def main() -> None:
    """Print what a folder holds: map, file, size, notices."""
    parser = OneLineParser(prog="dataset.py", description="Show which maps a folder of images holds.")
    parser.add_argument("folder", help="folder of images, one material")
    folder = Path(parser.parse_args().folder)
    textures = load_texture_set(folder)
    print(
        f"{textures.name}: {textures.width} x {textures.height}, {len(textures.mips)} mips, "
        f"{int(textures.channel_mask.sum())} of {N_CHANNELS} channels"
        + (f", {textures.normal_convention} normals" if textures.present["normal"] else "")
    )
    column = max(map(len, textures.files.values())) + 2
    for type_name in TEXTURE_CHANNELS:
        if type_name in textures.files:
            file_name = textures.files[type_name]
            width, height = image_size(SourceImage(folder / file_name))
            print(f"  {type_name:<14}{file_name:<{column}}{width} x {height}")
        else:
            print(f"  {type_name:<14}missing")
    for notice in textures.notices:
        print(f"note: {notice}")


if __name__ == "__main__":
    run_command(main)
