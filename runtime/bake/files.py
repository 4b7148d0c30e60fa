"""Baked maps on disk: PNG, block-compressed DDS or KTX2, with a list of what each file holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from configs import VERSION
from formats.reader import NeuralTextureReader
from reporting.pictures import map_image, png_bytes
from runtime.bake.blocks import BC4, BC5, BC7, BC7_SRGB, BlockFormat, encoder_of
from runtime.bake.dds_bc import write_block_dds
from runtime.bake.ktx2 import write_ktx2
from runtime.bake.maps import ORM, BakedMap, Content, Convention
from utils.files import write_bytes, write_json

BLOCK_FORMATS: dict[str, dict[Content, BlockFormat]] = {
    "bc7": {"colour": BC7_SRGB, "normal": BC7, "packed": BC7, "grey": BC7},
    "bc5": {"colour": BC7_SRGB, "normal": BC5, "packed": BC7, "grey": BC4},
    "ktx2": {"colour": BC7_SRGB, "normal": BC7, "packed": BC7, "grey": BC7},
}
"""How each kind of map is stored, by the name of a bake."""
BAKES = ("png", *BLOCK_FORMATS)


def channel_names(baked: BakedMap) -> list[str]:
    """What the channels of a map's file hold, in order."""
    several = {"packed": list(ORM), "colour": ["red", "green", "blue"], "normal": ["x", "y", "z"]}
    return several.get(baked.content, [baked.name])


def write_baked(
    reader: NeuralTextureReader,
    maps: Sequence[BakedMap],
    folder: Path,
    name: str,
    bake: str,
    convention: Convention,
    encode: Callable[[BakedMap, BlockFormat], list[bytes]],
) -> list[Path]:
    """Write maps of `bake_maps` as `<name>_<map>.png`, `.dds` or `.ktx2`, and return the files.

    `bake` is one of `BAKES`. PNG has a file for each mip that the maps hold (`<name>_<map>_mip<m>.png` for m > 0), the
    others all of them in one file, for which they must be there from the finest on. `<name>_maps.json` lists what the
    files hold; `convention` is that of the normals. `encode` gives the compressed levels of a map, finest first.
    """
    written, entries = [], []
    for baked in maps:
        encoder = None
        stem = f"{name}_{baked.name}"
        if bake == "png":
            files = []
            for mip, texels in sorted(baked.mips.items()):
                path = folder / f"{stem}{f'_mip{mip}' if mip else ''}.png"
                write_bytes(path, png_bytes(map_image(texels)))
                files.append(path)
            stored = "R8G8B8_UNORM" if baked.content != "grey" else "R8_UNORM"
        else:
            block_format = BLOCK_FORMATS[bake][baked.content]
            files = [folder / f"{stem}{'.ktx2' if bake == 'ktx2' else '.dds'}"]
            write = write_ktx2 if bake == "ktx2" else write_block_dds
            write(files[0], encode(baked, block_format), *reader.mip_size(0), block_format)
            stored, encoder = block_format.name, encoder_of(block_format)
        written += files
        entries.append(
            {
                "map": baked.name,
                "files": [path.name for path in files],
                "format": stored,
                **({"encoder": encoder} if encoder else {}),
                "space": "srgb" if baked.content == "colour" else "linear",
                "channels": channel_names(baked)[: 2 if stored == BC5.name else 3],
                "neutral_channels": list(baked.filled),
                "mips": sorted(baked.mips),
                **({"range": list(reader.ranges[baked.name])} if baked.name in reader.ranges else {}),
            }
        )
    listing = folder / f"{name}_maps.json"
    write_json(
        listing,
        {
            "generator": f"neural-texture {VERSION}",
            "name": name,
            "width": reader.manifest["width"],
            "height": reader.manifest["height"],
            "wrap": reader.manifest["wrap"],
            "normal_convention": convention,
            "maps": entries,
        },
    )
    return [*written, listing]
