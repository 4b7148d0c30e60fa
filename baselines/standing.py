"""Where a run stands beside ASTC at the same bits per texel, measured on the run's own images in seconds.

ASTC blocks do not know of each other, so a texel comes out the same whether all of an image is encoded or a part that
begins at a block. Of a large material, tiles are compared; their side is a whole number of blocks of every size.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from baselines.codec import texture_count
from baselines.codecs import ASTC_BLOCKS, CODECS
from reporting.metrics import material_psnr

if TYPE_CHECKING:
    from dataset import TextureSet

TILE = 120
"""Side of a tile, texels: the least common multiple of all block sides."""
MOST_TEXELS = 1 << 18
"""Texels that are encoded at most; larger materials give tiles."""
_S_PER_TEXEL = 3e-6
"""Seconds that an encoder takes for a texel of one texture on one of two cores, at medium quality."""


@dataclass(frozen=True)
class Standing:
    """A run and ASTC on the same texels, overall PSNR in dB of the finest mip in file coding."""

    bpp: float
    """Bits per texel of the run, as `bpp` of a manifest."""
    psnr_db: float
    points: tuple[tuple[str, float, float], ...]
    """Block size, bits per texel and PSNR of the one or two block sizes around the run's rate."""
    texels: int
    """Texels that were compared."""

    @property
    def astc_db(self) -> float:
        """ASTC's PSNR at the run's rate, interpolated over log rate, or that of the nearest block size."""
        rates, values = [bpp for _, bpp, _ in self.points], [psnr_db for _, _, psnr_db in self.points]
        # Beyond the last point this is the last point's.
        return float(np.interp(math.log(self.bpp), np.log(rates), values))

    @property
    def gain_db(self) -> float:
        """How far the run lies above ASTC, dB; negative: below."""
        return self.psnr_db - self.astc_db

    def record(self) -> dict[str, object]:
        """Return it as a manifest holds it."""
        return {
            "gain_db": self.gain_db,
            "bpp": self.bpp,
            "psnr_db": self.psnr_db,
            "astc": [{"blocks": blocks, "bpp": bpp, "psnr_db": psnr_db} for blocks, bpp, psnr_db in self.points],
            "quality": "medium",
            "texels": self.texels,
        }


def block_rate(blocks: str, width: int, height: int, textures: int) -> float:
    """Return the bits per texel of so many ASTC textures with blocks such as `6x6`, whole blocks counted.

    >>> block_rate("8x8", 512, 512, 3)
    6.0
    """
    block_x, block_y = map(int, blocks.split("x"))
    return 128 * textures * math.ceil(width / block_x) * math.ceil(height / block_y) / (width * height)


def block_rates(width: int, height: int, textures: int) -> list[tuple[str, float]]:
    """Return every block size with its bits per texel, the lowest first."""
    rates = ((blocks, block_rate(blocks, width, height, textures)) for blocks in ASTC_BLOCKS)
    return sorted(rates, key=lambda entry: entry[1])


def bracketing_blocks(bpp: float, width: int, height: int, textures: int) -> list[tuple[str, float]]:
    """Return the block sizes with the next lower and the next higher rate, or the nearest where `bpp` is beyond all."""
    rates = block_rates(width, height, textures)
    below, above = [entry for entry in rates if entry[1] <= bpp][-1:], [entry for entry in rates if entry[1] > bpp][:1]
    return below if below and abs(below[0][1] / bpp - 1) < 0.005 else below + above


def _tiles(image: np.ndarray) -> np.ndarray:
    """Return `[H, W, C]` itself, or where it is large, tiles of it spread at random, one below another."""
    height, width = image.shape[:2]
    rows, columns = height // TILE, width // TILE
    count = MOST_TEXELS // TILE**2
    if height * width <= MOST_TEXELS or rows * columns <= count:
        return image
    # Always the same ones.
    chosen = np.sort(np.random.default_rng(0).choice(rows * columns, count, replace=False))
    corners = [(TILE * (index // columns), TILE * (index % columns)) for index in chosen]
    return np.concatenate([image[top : top + TILE, left : left + TILE] for top, left in corners])


def stand_beside_astc(textures: TextureSet, decoded: np.ndarray, bpp: float) -> Standing | str:
    """Encode a material as ASTC (medium quality) at the block sizes around `bpp` and compare.

    `decoded` is the run's finest mip, uint8 `[H, W, 11]`. Returns a line where there is nothing to compare with: the
    encoder is not installed, or the run is identical to the original.
    """
    codec = CODECS["astc"]
    if codec.missing():
        return codec.missing()
    reference, ours = _tiles(textures.mips[0]), _tiles(decoded)
    psnr_db = material_psnr(reference, ours, textures.present)["overall"]
    if math.isinf(psnr_db):
        return "identical to the original"
    part = dataclasses.replace(textures, width=reference.shape[1], height=reference.shape[0], mips=[reference])
    points = []
    for blocks, rate in bracketing_blocks(bpp, textures.width, textures.height, texture_count(textures.present)):
        result = codec.run(part, blocks)
        points.append((blocks, rate, material_psnr(reference, result.decoded, textures.present)["overall"]))
    if any(math.isinf(point[2]) for point in points):
        return "ASTC is identical to the original"
    texels = reference.shape[0] * reference.shape[1]
    return Standing(bpp, psnr_db, tuple(points), texels)


def standing_estimate_s(textures: TextureSet) -> float:
    """Return about how many seconds `stand_beside_astc` takes."""
    texels = min(textures.width * textures.height, MOST_TEXELS)
    # Two block sizes.
    return 2 * _S_PER_TEXEL * texels * texture_count(textures.present)
