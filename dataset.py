"""A folder of images becomes one texture set: find the maps by file name, read them, build the mip chain."""

from __future__ import annotations

if __name__ == "__main__":
    import utils.start  # noqa: F401, before all that takes time

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from configs import N_CHANNELS, TEXTURE_CHANNELS, ImageConfig
from images.depth import deep_codes, deep_values
from images.detection import Detection, detect_maps
from images.inputs import material_maps
from images.loading import LoadedMaps, fill_maps, in_parallel, read_images
from images.mips import mip_count, mip_size
from images.options import with_convention, with_opacity
from images.reading import DecodedImage, image_size
from images.sources import MaterialMaps, SourceImage
from images.texture_types import TextureType
from utils.arguments import OneLineParser
from utils.errors import UsageError, run_command

ORM = ("arm", "orm", "occlusionroughnessmetallic", "occlusion_roughness_metallic")
METAL_ROUGHNESS = ("metalroughness", "metallicroughness", "metallic_roughness")


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
    depths: dict[str, int] = field(default_factory=dict)
    """Bits of the values of each map that is present, as they are kept: 8, 16, or 32 for floating point."""
    fine: dict[str, list[np.ndarray]] = field(default_factory=dict)
    """What `mips` leaves out of each map deeper than 8 bits: int16 `[H_m, W_m, count]` for each mip (`images.depth`)."""
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    """The values that 0 and 1 stand for, of maps that were scaled to fit."""
    holds: dict[str, str] = field(default_factory=dict)
    """What a map holds in place of what its name says: opacity, where that was asked for."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the finest mip at its depth and of which maps are present: what tells materials of equal size apart."""
        digest = hashlib.sha256(np.ascontiguousarray(self.mips[0]).data)
        digest.update(",".join(name for name, present in self.present.items() if present).encode())
        for name, levels in self.fine.items():
            digest.update(f";{name}".encode())
            digest.update(np.ascontiguousarray(levels[0]).data)
        return digest.hexdigest()

    @property
    def channel_mask(self) -> np.ndarray:
        """Bool `[11]`, true for the channels of maps that are present."""
        return np.repeat([self.present[name] for name in TEXTURE_CHANNELS], list(TEXTURE_CHANNELS.values()))

    @property
    def map_facts(self) -> dict[str, dict[str, object]]:
        """What a manifest says of the maps that are present: `depth`, and `range` and `holds` where they apply."""
        return {
            name: {
                "depth": self.depths.get(name, 8),
                **({"range": list(self.ranges[name])} if name in self.ranges else {}),
                **({"holds": self.holds[name]} if name in self.holds else {}),
            }
            for name, present in self.present.items()
            if present
        }

    def codes_16bit(self, name: str, mip: int) -> np.ndarray:
        """A map deeper than 8 bits in file coding, rounded to 16 bits: uint16 `[H_m, W_m, count]`."""
        return deep_codes(self.mips[mip][..., channel_slice(name)], self.fine[name][mip])

    def map_values(self, name: str, mip: int) -> np.ndarray:
        """A map in file coding at its depth: float32 `[H_m, W_m, count]` in [0, 1]."""
        code = self.mips[mip][..., channel_slice(name)]
        return deep_values(code, self.fine[name][mip]) if name in self.fine else code / np.float32(255)


def channel_slice(name: str) -> slice:
    """The channels of a map in the canonical layout."""
    first = sum(TEXTURE_CHANNELS[other] for other in list(TEXTURE_CHANNELS)[: list(TEXTURE_CHANNELS).index(name)])
    return slice(first, first + TEXTURE_CHANNELS[name])


def load_texture_set(
    data_dir: str | Path, *, max_size: int | None = None, images: ImageConfig | None = None
) -> TextureSet:
    """Load a folder of images as one texture set; `max_size` limits the longer side, in texels.

    Files are read in parallel. Raises `UserError` where the folder, a name or an image cannot be used.
    """
    if max_size is not None and max_size < 1:
        raise UsageError(f"max_size {max_size} is not a size; choose at least 1")
    settings, types = images or ImageConfig(), get_texture_config()
    maps = material_maps(data_dir, types)
    maps = with_opacity(maps, settings.opacity_as, Path(data_dir))
    first = next(iter(maps.sources.values())).file
    file_size = image_size(first, settings.max_pixels)
    decoded = read_images(maps, file_size, settings.max_pixels)
    # Pixels may change what names said; it is settled from here on.
    maps, flips = with_convention(maps, settings.normal_convention)
    return _texture_set(maps, decoded, types, file_size, max_size, flips, settings)


def _texture_set(
    maps: MaterialMaps,
    decoded: dict[SourceImage, DecodedImage],
    types: Sequence[TextureType],
    file_size: tuple[int, int],
    max_size: int | None,
    flip_green: bool,
    settings: ImageConfig,
) -> TextureSet:
    """Make the texture set of maps whose images are decoded; each of `decoded` is let go of as soon as it is done."""
    width, height = file_size
    notices = list(maps.notices)
    if max_size is not None and max(file_size) > max_size:
        width, height = (max(1, round(side * max_size / max(file_size))) for side in file_size)
        notices.append(f"all maps reduced from {file_size[0]} x {file_size[1]} to {width} x {height}")
    mips = [
        np.zeros((h, w, N_CHANNELS), np.uint8)
        for w, h in (mip_size(width, height, mip) for mip in range(mip_count(width, height)))
    ]
    first, loaded = next(iter(maps.sources.values())).file, LoadedMaps(notices=notices)

    def fill(file: SourceImage) -> LoadedMaps:
        of_file = {
            texture.name: (texture, maps.sources[texture.name])
            for texture in types
            if texture.name in maps.sources and maps.sources[texture.name].file == file
        }
        return fill_maps(file, decoded.pop(file), of_file, mips, file_size, first.name, flip_green)

    for part in in_parallel(fill, list(decoded), file_size):
        loaded.add(part)
    present = [name for name in TEXTURE_CHANNELS if name in maps.sources]
    directx = "normal" in present and maps.sources["normal"].directx
    return TextureSet(
        maps.name,
        width,
        height,
        mips,
        {name: name in present for name in TEXTURE_CHANNELS},
        "directx" if directx else "opengl",
        {name: maps.sources[name].file.name for name in present},
        loaded.notices,
        {name: loaded.depths[name] for name in present},
        {name: loaded.fine[name] for name in present if name in loaded.fine},
        loaded.ranges,
        {settings.opacity_as: "opacity"} if settings.opacity_as != "none" else {},
    )


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
