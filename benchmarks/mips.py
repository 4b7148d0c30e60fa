"""Every mip of a material as a material of its own: what an export spends on it, and other codecs of the same mip."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from baselines.cache import ResultCache
from baselines.gaussian_bound import GaussianBound, gaussian_bound
from baselines.results import export_result, measure, measure_baselines, reported
from benchmarks.toolkit import newest_run
from dataset import TextureSet
from formats.manifest import find_export
from formats.reader import NeuralTextureReader
from formats.storage import stored_as
from images.mips import mip_size

SMALLEST = 16
"""Texels of the shorter side of the last mip that is measured."""
_CODECS = ("astc", "klt8", "klt4")
"""Codecs that mips are compared with, where they were asked for."""


def measured_mips(width: int, height: int) -> list[int]:
    """Return the mips below the finest whose sides are both 16 texels or more.

    >>> measured_mips(128, 64)
    [1, 2]
    """
    return list(range(1, max(1, (min(width, height) // SMALLEST).bit_length())))


def mip_textures(textures: TextureSet, mip: int) -> TextureSet:
    """Return one mip of a material as a material that has no other."""
    height, width = textures.mips[mip].shape[:2]
    fine = {name: levels[mip : mip + 1] for name, levels in textures.fine.items()}
    return dataclasses.replace(textures, width=width, height=height, mips=[textures.mips[mip]], fine=fine)


def mip_rates(manifest: Mapping) -> list[float]:
    """Return what an export spends on each mip, bits per texel of the mip; times texels, they sum to all of its bytes.

    A level's bytes are spread evenly over the texels of the mips that read it, all else (decoder, headers) over the
    texels of all mips.
    """
    sizes = [mip_size(manifest["width"], manifest["height"], mip) for mip in range(manifest["mips"])]
    texels = [width * height for width, height in sizes]
    rates = [0.0] * len(texels)
    left = 8 * round(manifest["bpp_mips"] * texels[0] / 8)
    for g, grid in enumerate(manifest["grids"]):
        texel_bits = 8 * stored_as(grid).texel_bytes
        levels = [levels[g] for levels in manifest["mip_levels"]]
        for level in set(levels):
            bits = texel_bits * (grid["base_resolution"] << level) ** 2
            readers = [mip for mip, read in enumerate(levels) if read == level]
            of_readers = sum(texels[mip] for mip in readers)
            for mip in readers:
                rates[mip] += bits / of_readers
            left -= bits
    return [rate + left / sum(texels) for rate in rates]


def measure_mips(
    textures: TextureSet, codecs: Sequence[str], trained: Sequence[tuple[dict, Path]], cache: ResultCache
) -> tuple[list[dict], dict[int, GaussianBound]]:
    """Return the records of every mip below the finest, and the bound of each mip.

    `codecs` are names as on the command line, of which ASTC and the closed-form coders are taken; `trained` are records
    of this toolkit with the folder that their runs were saved in.
    """
    records, bounds = [], {}
    runs = [(record, newest_run(folder)) for record, folder in trained]
    exports = [(record, run.name, NeuralTextureReader(find_export(run))) for record, run in runs]
    for mip in measured_mips(textures.width, textures.height):
        part = mip_textures(textures, mip)
        bounds[mip] = gaussian_bound(part)
        # A transform of blocks that are larger than the bound's would know the mip by heart.
        wanted = [
            name
            for name in codecs
            if name.partition(":")[0] in _CODECS
            and (not name.startswith("klt") or int(name.partition(":")[0][3:]) <= bounds[mip].side)
        ]
        records += measure_baselines(part, wanted, cache, mip)
        for record, run_name, reader in exports:
            if mip in reader.stored_mips:
                records.append(_measure_export_mip(part, record, run_name, reader, mip, cache))
    return records, bounds


def _measure_export_mip(
    part: TextureSet, record: dict, run_name: str, reader: NeuralTextureReader, mip: int, cache: ResultCache
) -> dict:
    """Return the record of a mip of an export, from the record of its finest."""

    def run() -> tuple[dict, np.ndarray]:
        decoded = reader.decode_uint8(mip)
        bpp = mip_rates(reader.manifest)[mip]
        result = export_result(reader, decoded, bpp, record["codec"], record["setting"], record["label"], None)
        more = {"bpp_mips": record["bpp_mips"], "command": record["command"]}
        return measure(part, result, mip=mip, **more), decoded

    # By the run as well: another training of the same setting has other mips.
    setting = f"{record['setting']}-{run_name}"
    return reported(*cache.get(part, record["codec"], setting, run, mip=mip))
