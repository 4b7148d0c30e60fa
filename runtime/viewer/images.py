"""Images of a material that the page shows beside the decoder: the originals, BC7, ASTC, and the maps decoded here.

Each is a set of PNG files, one for up to three channels, with the whole mip chain in one picture: mip 0 at the left, the
others below each other at its right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from baselines.codec import pack_textures
from baselines.codecs import CODECS
from configs import N_CHANNELS
from formats.figures import figure_list
from reporting.metrics import material_psnr
from reporting.pictures import png_bytes
from runtime.viewer.materials import OpenedMaterial
from utils.errors import UserError

PACKS: dict[str, tuple[int, ...]] = {"diffuse": (0, 1, 2), "normal": (3, 4, 5), "surface": (6, 7, 8), "relief": (9, 10)}
"""Canonical channels of each PNG, in the order R, G, B."""
MAP_OF_CHANNEL = ("diffuse",) * 3 + ("normal",) * 3 + ("roughness", "occlusion", "metallic", "specular", "displacement")
_ASTC_SIDES = (4, 5, 6, 8, 10, 12)


@dataclass
class SourceImages:
    """One source of a material as the page loads it."""

    files: dict[str, bytes]
    """PNG files by pack."""
    figures: dict
    """label, bpp, bpp_mips, memory_bytes, psnr (per map a list over mips, null: identical), mips; of codecs, encoder."""


def packs_present(present: Mapping[str, bool]) -> list[str]:
    """Return the packs that hold a map which is present."""
    return [name for name, channels in PACKS.items() if any(present[MAP_OF_CHANNEL[c]] for c in channels)]


def mip_chain(mips: Sequence[np.ndarray], channels: Sequence[int]) -> np.ndarray:
    """Lay out some channels of uint8 mips `[H_m, W_m, 11]` in one picture uint8 `[H, W + W_1, 3]`."""
    height, width = mips[0].shape[:2]
    sheet = np.zeros((height, width + (mips[1].shape[1] if len(mips) > 1 else 0), 3), np.uint8)
    top = 0
    for number, mip in enumerate(mips):
        rows, columns = mip.shape[:2]
        left = width if number else 0
        sheet[top : top + rows, left : left + columns, : len(channels)] = mip[..., list(channels)]
        top += rows if number else 0
    return sheet


def _psnr_lists(
    originals: Sequence[np.ndarray], mips: Sequence[np.ndarray], present: Mapping[str, bool]
) -> dict[str, list[float | None]]:
    """Return PSNR in dB per map and overall, a list over mips each; None where a map is identical."""
    measured = [material_psnr(original, decoded, present) for original, decoded in zip(originals, mips)]
    return {name: figure_list(values[name] for values in measured) for name in measured[0]}


def astc_side(present: Mapping[str, bool], bpp: float) -> int:
    """Return the side of the ASTC block whose rate over all of a material's textures comes closest to `bpp`.

    >>> astc_side({name: True for name in MAP_OF_CHANNEL}, 14.3)
    6
    """
    textures = len(pack_textures(np.zeros((1, 1, N_CHANNELS), np.uint8), dict(present)))
    return min(_ASTC_SIDES, key=lambda side: abs(math.log(128 / side**2 * textures / max(bpp, 1e-3))))


def codec_of(source: str, material: OpenedMaterial) -> tuple[str, str]:
    """Return the name and the setting of the codec behind a source, `bc7` or `astc`; ASTC at the neural rate."""
    if source == "bc7":
        return "bc7", "linear"
    side = astc_side(material.present, material.manifest["bpp"])
    return "astc", f"{side}x{side}"


def source_label(source: str, material: OpenedMaterial) -> str:
    """Return what the page calls a source."""
    if source in ("bc7", "astc"):
        name, setting = codec_of(source, material)
        return f"{CODECS[name].title} {setting}" if name == "astc" else CODECS[name].title
    return {"neural": "Neural", "original": "Original", "baked": "Neural, decoded before"}[source]


def missing_reason(source: str, material: OpenedMaterial) -> str:
    """Return "" where a source can be made, else one line that says what it needs."""
    if source == "baked":
        return ""
    if source == "original":
        return material.originals_missing
    return material.originals_missing or CODECS[codec_of(source, material)[0]].missing()


def make_source(source: str, material: OpenedMaterial) -> SourceImages:
    """Make one source's images and figures, which takes seconds; raises `UserError` with what is missing."""
    reason = missing_reason(source, material)
    if reason:
        raise UserError(reason)
    texels = material.manifest["width"] * material.manifest["height"]
    figures: dict = {"label": source_label(source, material)}
    if source == "baked":
        mips = [material.reader.decode_uint8(mip) for mip in material.reader.stored_mips]
        figures["psnr"] = material.manifest["psnr"]
    else:
        textures = material.textures
        mips, sizes = textures.mips, [int(textures.channel_mask.sum()) * mip[..., 0].size for mip in textures.mips]
        if source != "original":
            name, setting = codec_of(source, material)
            figures["encoder"] = CODECS[name].encoder(setting)
            results = [CODECS[name].run(replace(textures, mips=[mip]), setting) for mip in textures.mips]
            mips, sizes = [result.decoded for result in results], [result.size_bytes for result in results]
            figures["psnr"] = _psnr_lists(textures.mips, mips, textures.present)
        figures |= {"bpp": 8 * sizes[0] / texels, "bpp_mips": 8 * sum(sizes) / texels, "memory_bytes": sum(sizes)}
    figures["mips"] = len(mips)
    files = {pack: png_bytes(Image.fromarray(mip_chain(mips, PACKS[pack]))) for pack in packs_present(material.present)}
    return SourceImages(files, figures)
