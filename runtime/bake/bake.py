"""Baking an export: each kind of file that is asked for, into a folder of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from formats.reader import NeuralTextureReader
from runtime.bake.blocks import BLOCK, BlockFormat, encode_blocks
from runtime.bake.files import BLOCK_FORMATS, write_baked
from runtime.bake.maps import BakedMap, Convention, bake_maps, contiguous_mips, decoding_bar
from utils.files import require_writable_folder


def bake(
    reader: NeuralTextureReader,
    out: Path,
    bakes: Sequence[str],
    name: str,
    mip: int | None = None,
    convention: Convention | None = None,
) -> tuple[dict[str, list[Path]], list[str]]:
    """Write the baked maps of `bakes` (see `runtime.bake.files.BAKES`) into the folders `out/<bake>`.

    `mip` is that of PNG files, default the finest, -1: every stored one; the other kinds hold all stored mips. Normals
    have `convention`, by default the material's. Returns the files by bake, and notes on what a user should know.
    Raises `UserError` where a mip is not there or a folder cannot be written to.
    """
    whole = contiguous_mips(reader)
    png_mips = whole if mip == -1 else [mip or 0]
    mips = sorted({*(png_mips if "png" in bakes else ()), *(whole if set(bakes) & set(BLOCK_FORMATS) else ())})
    folders = {kind: require_writable_folder(out / kind) for kind in bakes}
    convention = convention or reader.manifest["normal_convention"]
    with decoding_bar(reader, mips) as bar:
        maps = bake_maps(reader, mips, convention, bar.update)
    kinds = [kind for kind in bakes if kind in BLOCK_FORMATS]
    wanted = {(baked.name, BLOCK_FORMATS[kind][baked.content].name) for kind in kinds for baked in maps}
    rows = len(wanted) * sum(reader.mip_size(m)[1] for m in whole)
    encoded: dict[tuple[str, str], list[bytes]] = {}
    written = {}
    with tqdm(total=rows, desc="encoding", unit="row", file=sys.stderr, disable=None if rows else True) as bar:

        def encode(baked: BakedMap, block_format: BlockFormat) -> list[bytes]:
            # BC7 in DDS and in KTX2 are the same blocks.
            key = (baked.name, block_format.name)
            if key not in encoded:
                encoded[key] = [encode_blocks(texels, block_format, bar.update) for texels in baked.mips.values()]
            return encoded[key]

        for kind, folder in folders.items():
            chosen = [_with_mips(baked, png_mips if kind == "png" else whole) for baked in maps]
            written[kind] = write_baked(reader, chosen, folder, name, kind, convention, encode)
    return written, _notes(reader, maps, bakes, convention)


def _with_mips(baked: BakedMap, mips: Sequence[int]) -> BakedMap:
    return BakedMap(baked.name, baked.content, {mip: baked.mips[mip] for mip in mips}, baked.filled)


def _notes(reader: NeuralTextureReader, maps: list[BakedMap], bakes: Sequence[str], convention: str) -> list[str]:
    notes = [
        f"{', '.join(baked.filled)} of the packed map: not in the material, filled with a neutral value"
        for baked in maps
        if baked.filled
    ]
    if reader.present["normal"]:
        turned = "" if convention == reader.manifest["normal_convention"] else ", green turned over"
        notes.append(f"normals have the {convention} convention{turned}")
        if "bc5" in bakes:
            notes.append("BC5 normals hold x and y; z is sqrt(1 - x * x - y * y) of the two in -1 .. 1")
    if not set(bakes) & set(BLOCK_FORMATS):
        return notes
    width, height = reader.mip_size(0)
    if width % BLOCK or height % BLOCK:
        notes.append(
            f"sides of {width} x {height} are no multiples of {BLOCK}: Direct3D and WebGL refuse such a texture in BC "
            "formats unless their driver allows it; --bake png has no such limit"
        )
    stored, total = len(contiguous_mips(reader)), reader.manifest["mips"]
    if stored < total:
        notes.append(f"the export holds {stored} of {total} mips; export it with --dds_mips True for all of them")
    return notes
