"""The maps of a material, decoded to 8 bits and packed as engines take them: base colour, normal, ORM, grey maps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from tqdm import tqdm

from formats.reader import NeuralTextureReader

Content = Literal["colour", "normal", "packed", "grey"]
Convention = Literal["opengl", "directx"]
ORM = {"occlusion": 255, "roughness": 255, "metallic": 0}
"""Maps of the red, green and blue channel of a packed map, and what stands for one that a material does not have."""


@dataclass(frozen=True)
class BakedMap:
    """One map as an engine takes it."""

    name: str
    """basecolor, normal, orm, specular, displacement or opacity."""
    content: Content
    mips: dict[int, np.ndarray]
    """By mip, uint8 `[H_m, W_m, 3]`, of a grey map `[H_m, W_m, 1]`; the base colour is sRGB-coded."""
    filled: tuple[str, ...] = ()
    """Channels of a packed map that hold a neutral value, as the material does not have them."""


def contiguous_mips(reader: NeuralTextureReader) -> list[int]:
    """Mips that can be decoded, from the finest to the first that is not stored."""
    stored = reader.stored_mips
    return [mip for index, mip in enumerate(stored) if mip == index]


def decoding_bar(reader: NeuralTextureReader, mips: Sequence[int]) -> tqdm:
    """Return a progress bar over the rows of `mips`; it stays silent where there is no terminal."""
    rows = sum(reader.mip_size(mip)[1] for mip in mips)
    return tqdm(total=rows, desc="decoding", unit="row", file=sys.stderr, disable=None)


def bake_maps(
    reader: NeuralTextureReader,
    mips: Sequence[int],
    convention: Convention | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[BakedMap]:
    """Decode `mips` and return the maps that the material has, each with these mips.

    Normals are turned to `convention` (default: as the material has them). `progress` is called with the rows done
    since the last call. Raises `UserError` where a mip is not stored.
    """
    channels = {
        entry["name"]: slice(entry["first"], entry["first"] + entry["count"]) for entry in reader.manifest["channels"]
    }
    # What holds something else is no map of its name.
    present = {name: there and name not in reader.holds for name, there in reader.present.items()}
    flip = convention is not None and convention != reader.manifest["normal_convention"]
    decoded = {mip: reader.decode_uint8(mip, progress) for mip in mips}

    def whole(name: str) -> dict[int, np.ndarray]:
        return {mip: np.ascontiguousarray(level[..., channels[name]]) for mip, level in decoded.items()}

    maps = []
    if present["diffuse"]:
        maps.append(BakedMap("basecolor", "colour", whole("diffuse")))
    if present["normal"]:
        normals = whole("normal")
        for level in normals.values() if flip else ():
            level[..., 1] = 255 - level[..., 1]
        maps.append(BakedMap("normal", "normal", normals))
    if any(present[name] for name in ORM):
        filled = tuple(name for name in ORM if not present[name])
        packed = {}
        for mip, level in decoded.items():
            image = np.empty((*level.shape[:2], 3), np.uint8)
            for channel, (name, neutral) in enumerate(ORM.items()):
                image[..., channel] = level[..., channels[name].start] if present[name] else neutral
            packed[mip] = image
        maps.append(BakedMap("orm", "packed", packed, filled))
    maps += [BakedMap(name, "grey", whole(name)) for name in ("specular", "displacement") if present[name]]
    maps += [BakedMap(content, "grey", whole(name)) for name, content in reader.holds.items()]
    return maps
