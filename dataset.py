"""A folder of images becomes one texture set: find the maps by file name, read them, build the mip chain."""

from __future__ import annotations

if __name__ == "__main__":
    import utils.start  # noqa: F401, before all that takes time

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from configs import N_CHANNELS, TEXTURE_CHANNELS, ImageConfig
from images.channels import with_present_channels
from images.checks import checked_maps
from images.depth import deep_codes, deep_values
from images.detection import Detection, detect_maps
from images.flags import add_image_flags, image_config
from images.inputs import inspected_inputs, material_maps
from images.loading import LoadedMaps, fill_maps, in_parallel, read_images
from images.mask import AUTO, Mask, coverage, make_mask, mask_path, plain_background, read_mask
from images.mips import mip_count, mip_size
from images.options import with_convention, with_opacity
from images.reading import DecodedImage, image_size
from images.sources import MapSource, MaterialMaps, SourceImage
from images.texture_types import UNUSED, OtherMap, PackedMaps, TextureTable, TextureType
from utils.arguments import OneLineParser
from utils.errors import UsageError, run_command


def get_texture_config() -> TextureTable:
    """The seven types in canonical order, packed files, and maps that are known and not trained.

    The one place to add a keyword of your own; `images/texture_types.py` says how keywords are written.
    """
    return TextureTable(
        (
            TextureType(
                "diffuse",
                (
                    *("diffuse", "albedo", "color", "colour", "diff", "base_color", "base_colour", "col"),
                    *("base_col", "base_map", "main_tex", "alb", "dif"),
                ),
                ("d", "bc", "d###"),
                coding="srgb",
            ),
            TextureType(
                "normal",
                ("normal", "normals", "nor", "nrm", "norm", "nml", "ddn"),
                ("n", "n###"),
                lesser=("normal_bump",),
                directx_words=("dx", "directx", "d3d"),
                opengl_words=("gl", "ogl", "opengl"),
                coding="normal",
            ),
            TextureType(
                "roughness", ("roughness", "rough", "rgh"), ("r",), inverted=("glossiness", "gloss", "smoothness")
            ),
            TextureType("occlusion", ("occlusion", "ao", "ambient", "occ")),
            TextureType("metallic", ("metallic", "metalness", "met"), ("m", "metal")),
            TextureType(
                "specular",
                ("specular", "spec", "specularity", "specular_level"),
                ("s", "s###"),
                lesser=("reflection", "reflect", "refl", "reflectivity"),
            ),
            TextureType(
                "displacement",
                ("displacement", "disp", "displace", "displ"),
                ("h", "b###"),
                lesser=("height", "parallax", "bump"),
                inverted=("depth",),
                guessed=("depth",),
            ),
        ),
        packed=(
            PackedMaps(
                (
                    *("arm", "orm", "occlusion_roughness_metallic", "occlusion_roughness_metalness"),
                    *("ao_roughness_metallic", "ao_roughness_metalness", "ao_rough_metal", "ao_r_m", "occ_rough_metal"),
                ),
                ("occlusion", "roughness", "metallic"),
            ),
            # Names that are a part of occlusionRoughnessMetallic keep its channels, as in glTF.
            PackedMaps(
                (
                    *("metalroughness", "metallic_roughness", "roughness_metallic"),
                    *("metalness_roughness", "roughness_metalness"),
                ),
                (UNUSED, "roughness", "metallic"),
            ),
            PackedMaps(("occlusion_roughness", "ao_roughness", "ao_rough"), ("occlusion", "roughness", UNUSED)),
            PackedMaps(
                ("rma", "rmo", "roughness_metallic_ao", "roughness_metallic_occlusion"),
                ("roughness", "metallic", "occlusion"),
            ),
            PackedMaps(
                ("mra", "mro", "metallic_roughness_ao", "metallic_roughness_occlusion"),
                ("metallic", "roughness", "occlusion"),
            ),
            PackedMaps(
                ("amr", "omr", "occlusion_metallic_roughness", "ao_metal_rough"), ("occlusion", "metallic", "roughness")
            ),
            PackedMaps(("ormh",), ("occlusion", "roughness", "metallic", "displacement")),
            PackedMaps(("rmah",), ("roughness", "metallic", "occlusion", "displacement")),
            PackedMaps(("ord", "orh"), ("occlusion", "roughness", "displacement")),
            PackedMaps(("mask_map", "mads"), ("metallic", "occlusion", "detail mask", "smoothness")),
            PackedMaps(
                (
                    *("metallic_smoothness", "metalness_smoothness", "metallic_gloss", "metallic_glossiness"),
                    "metalsmoothness",
                ),
                ("metallic", UNUSED, UNUSED, "smoothness"),
            ),
            PackedMaps(("specularsmoothness",), ("specular", "specular", "specular", "smoothness")),
            PackedMaps(
                ("specularglossiness", "speculargloss", "specgloss"), ("specular", "specular", "specular", "glossiness")
            ),
            PackedMaps(
                (
                    *("albedotransparency", "albedoalpha", "albedoopacity", "basecoloralpha", "basecoloropacity"),
                    *("basecolortransparency", "coloralpha", "coloropacity", "diffusealpha", "diffuseopacity"),
                ),
                ("diffuse", "diffuse", "diffuse", "opacity"),
            ),
            PackedMaps(
                ("albedosmoothness", "basecolorsmoothness", "diffusesmoothness"),
                ("diffuse", "diffuse", "diffuse", "smoothness"),
            ),
            PackedMaps(("normalheight", "normaldisplacement"), ("normal", "normal", "normal", "displacement")),
            PackedMaps(("ddna",), ("normal", "normal", "normal", "smoothness")),
        ),
        others=(
            OtherMap(
                "emissive",
                ("emissive", "emission", "emit", "glow", "luma", "self_illum", "self_illumination"),
                ("e",),
                qualifiers=("emissive", "emission"),
            ),
            OtherMap(
                "opacity", ("opacity", "alpha", "transparency", "cutout", "alpha_masked", "opacity_mask", "alpha_mask")
            ),
            OtherMap("mask", ("mask", "masks")),
            OtherMap("clearcoat", ("clear_coat",), qualifiers=("clear_coat",)),
            OtherMap("coat", ("coat",), qualifiers=("coat",)),
            OtherMap("sheen", ("sheen", "fuzz"), qualifiers=("sheen", "fuzz")),
            OtherMap(
                "transmission",
                ("transmission", "transmissive", "translucency", "translucent", "refraction"),
                qualifiers=("transmission", "translucency", "refraction"),
            ),
            OtherMap(
                "subsurface scattering",
                ("subsurface", "sss", "scattering", "scatter"),
                qualifiers=("subsurface", "sss", "scattering"),
            ),
            OtherMap("thickness", ("thickness",)),
            OtherMap("index of refraction", ("ior", "fresnel")),
            OtherMap(
                "anisotropy",
                ("anisotropy", "anisotropic", "aniso", "anisotropy_level", "flow_map"),
                qualifiers=("anisotropy", "anisotropic", "aniso"),
            ),
            OtherMap("iridescence", ("iridescence", "thin_film"), qualifiers=("iridescence", "thin_film")),
            OtherMap(
                "specular colour", ("specular_color", "specular_colour", "specular_tint", "spec_color", "spec_colour")
            ),
            OtherMap("diffuse lobe's roughness", ("base_diffuse_roughness",)),
            OtherMap("bent normals", ("bent_normal", "bent_normals")),
            OtherMap(
                "normals in world or object space",
                (
                    *("world_normal", "world_normals", "world_space_normal", "world_space_normals", "normal_world"),
                    *("object_normal", "object_normals", "object_space_normal", "object_space_normals"),
                    *("normal_object", "normals_object", "normal_os", "normal_ws"),
                ),
            ),
            OtherMap("detail map", ("detailmap", "detailalbedo", "detailnormal", "detailmask")),
            OtherMap("cavity or curvature", ("cavity", "curvature")),
            OtherMap(
                "identifiers",
                ("material_id", "mat_id", "color_id", "colour_id", "vertex_color", "vertex_colour"),
                ("id",),
            ),
            OtherMap("light map", ("lightmap", "light_map")),
            OtherMap("preview", ("thumbnail", "thumbnails", "thumb", "thumbs", "preview", "previews"), anywhere=True),
            OtherMap("rendering", ("render", "rendered", "screenshot")),
        ),
        proper_names=("ambientcg",),
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
    sources: dict[str, MapSource] = field(default_factory=dict)
    """What each map that is present was read from, and why."""
    channels: dict[str, str] = field(default_factory=dict)
    """Channels of its file that each map was taken from: letters of RGBA, or grey."""
    others: dict[str, str] = field(default_factory=dict)
    """Files that are known to be something else, by name: what they are, such as emissive."""
    mask: Mask | None = None
    """Which texels are used, None: all. See `mask_for`, since what the pixels show counts on clamped sheets alone."""

    def mask_for(self, wrap: bool) -> Mask | None:
        """The mask that counts for a model that wraps, or not: a background that the pixels show needs a clamped one."""
        return self.mask if self.mask and (self.mask.file or not wrap) else None

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
    def shading_maps(self) -> dict[str, bool]:
        """`present`, without maps that hold something else than a material's shading takes them for."""
        return {name: there and name not in self.holds for name, there in self.present.items()}

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
    maps = with_opacity(material_maps(data_dir, types), settings.opacity_as, Path(data_dir))
    first = next(iter(maps.sources.values())).file
    file_size = image_size(first, settings.max_pixels)
    decoded = read_images(maps, file_size, settings.max_pixels)
    # Pixels may change what names said; it is settled from here on.
    maps = checked_maps(with_present_channels(maps, decoded, settings.opacity_as), decoded, settings.opacity_as)
    maps, flips = with_convention(maps, settings.normal_convention)
    return _texture_set(maps, decoded, types, file_size, max_size, flips, settings, mask_path(settings.mask, data_dir))


def _texture_set(
    maps: MaterialMaps,
    decoded: dict[SourceImage, DecodedImage],
    types: Sequence[TextureType],
    file_size: tuple[int, int],
    max_size: int | None,
    flip_green: bool,
    settings: ImageConfig,
    mask_file: Path | None,
) -> TextureSet:
    """Make the texture set of maps whose images are decoded; each of `decoded` is let go of as soon as it is done."""
    (width, height), notices = file_size, list(maps.notices)
    if max_size is not None and max(file_size) > max_size:
        width, height = (max(1, round(side * max_size / max(file_size))) for side in file_size)
        notices.append(f"all maps reduced from {file_size[0]} x {file_size[1]} to {width} x {height}")
    mips = [
        np.zeros((h, w, N_CHANNELS), np.uint8)
        for w, h in (mip_size(width, height, mip) for mip in range(mip_count(width, height)))
    ]
    first, loaded = next(iter(maps.sources.values())).file, LoadedMaps(notices=notices)
    shares, others = None, dict(maps.others)
    sizes = [(mip.shape[1], mip.shape[0]) for mip in mips]
    if mask_file:
        used, found = read_mask(mask_file, width, height, settings.max_pixels)
        others.pop(mask_file.name, None)
        notices[:] = [line for line in notices if not line.startswith(f"skipped {mask_file.name}:")] + found
        if used.all():
            notices.append(f"mask: {mask_file.name} leaves no texel unused")
        else:
            shares = coverage(used, sizes)

    def fill(file: SourceImage) -> LoadedMaps:
        of_file = {
            texture.name: (texture, maps.sources[texture.name])
            for texture in types
            if texture.name in maps.sources and maps.sources[texture.name].file == file
        }
        return fill_maps(file, decoded.pop(file), of_file, mips, file_size, first.name, flip_green, shares)

    for part in in_parallel(fill, list(decoded), file_size):
        loaded.add(part)
    present = [name for name in TEXTURE_CHANNELS if name in maps.sources]
    directx = "normal" in present and maps.sources["normal"].directx
    mask = make_mask(shares, mask_file.name) if shares and mask_file else None
    if settings.mask == AUTO:
        mask = _found_mask(mips, present, sizes)
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
        {name: maps.sources[name] for name in present},
        loaded.channels,
        others,
        mask,
    )


def _found_mask(mips: list[np.ndarray], present: Sequence[str], sizes: list[tuple[int, int]]) -> Mask | None:
    """Return a mask that leaves out the plain background of a sheet, None where it has none."""
    channels = [channel for name in present for channel in range(N_CHANNELS)[channel_slice(name)]]
    idle = plain_background(mips[0], channels, channel_slice("normal") if "normal" in present else None)
    return None if idle is None else make_mask(coverage(~idle, sizes), None)


def _parse() -> argparse.Namespace:
    parser = OneLineParser(
        prog="dataset.py",
        allow_abbrev=False,
        description="Show which maps are found in a folder of images, or in all folders below it, and why.",
    )
    parser.add_argument(
        "folder", nargs="?", metavar="DIR", help="a material, or a folder or glTF file of materials: a table of each"
    )
    parser.add_argument(
        "--inspect", metavar="DIR", help="the same, and a contact sheet of all maps; of several materials a page, too"
    )
    parser.add_argument(
        "--out",
        metavar="PATH",
        help="where the contact sheet goes: FILE.png, or a folder; default: DIR's name with _preview.png, here",
    )
    add_image_flags(parser)
    options = parser.parse_args()
    if (options.folder is None) == (options.inspect is None):
        raise UsageError("name one folder: DIR for a table alone, or --inspect DIR for a contact sheet as well")
    if options.out and options.inspect is None:
        raise UsageError("--out says where the contact sheet of --inspect goes; add --inspect, or leave it out")
    return options


def main() -> int:
    """Show what a folder holds: a table, and with `--inspect` a contact sheet; 1 where a material cannot be read."""
    options = _parse()
    # What draws and prints is not needed for training.
    from reporting.inspection_sheet import inspect_materials, sheet_path

    folder = Path(options.inspect or options.folder)
    notices: list[str] = []
    inputs = inspected_inputs(folder, get_texture_config(), notices)
    sheet = sheet_path(folder, options.out) if options.inspect else None
    load = partial(load_texture_set, images=image_config(options))
    return inspect_materials(inputs, load, notices, sheet, f"Maps of {folder.resolve().name}")


if __name__ == "__main__":
    run_command(main)
