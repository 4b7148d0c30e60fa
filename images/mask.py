"""Which texels of a sheet are used: as a mask file says, or all but a plain background that the pixels show."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from images.reading import read_image
from images.resampling import area_average
from images.sources import SourceImage
from utils.errors import UserError

AUTO, NONE = "auto", "none"
"""Values of `--mask` beside the name of a file."""
GUTTER = 2
"""Texels around the used ones, of each mip, that count as used: what filters read across a border."""
BLACK = 1 / 16
"""Up to this share of full brightness, or of full opacity, a mask's texel is unused; noise of JPEG stays below it."""
LEAST_IDLE, MOST_IDLE = 0.05, 0.95
"""Shares of a sheet between which a background is taken for one: below it is not worth it, above it is the material."""
LEAST_REGION = 1e-3
"""Share of a sheet that a connected region of the background has at least."""
CLEAR_STEPS = 2
"""How far a channel of a background may lie from none, half and full, in 8-bit steps; JPEG moves flat areas by one."""
CANDIDATES = 4
"""Values of the border that are tried as the background."""


@dataclass(frozen=True)
class Mask:
    """The used share of every mip's texels."""

    shares: list[np.ndarray]
    """uint8 `[H_m, W_m]` for each mip, 255 where all of a texel's area is used, 0 where none of it is."""
    file: str | None
    """The name of the file that says so; None: the pixels do."""

    @cached_property
    def idle(self) -> float:
        """The share of the finest mip's texels that are not used."""
        return 1 - np.count_nonzero(self.shares[0]) / self.shares[0].size

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what is used of the finest mip."""
        return hashlib.sha256(np.packbits(self.shares[0] > 0).data).hexdigest()

    def kept(self, mip: int, wrap: bool = False) -> np.ndarray:
        """Return where texels of a mip are used or lie within `GUTTER` of used ones: bool `[H_m, W_m]`.

        `wrap`: across the sheet's border as well.
        """
        return _with_gutter(self.shares[mip] > 0, wrap)

    @property
    def line(self) -> str:
        """What is idle, and why, in one line."""
        if self.file:
            return f"{self.idle:.1%} of the texels are unused by {self.file} and left out of the loss"
        return (
            f"{self.idle:.1%} of the texels are a plain background and left out of the loss; "
            "--mask none trains them like the others"
        )


def _with_gutter(used: np.ndarray, wrap: bool) -> np.ndarray:
    """Return used texels and all in the square around each, bool `[H, W]`."""
    height, width = used.shape
    padded = np.pad(used, GUTTER, mode="wrap" if wrap else "constant")
    # The square is separable.
    rows = np.logical_or.reduce([padded[shift : shift + height] for shift in range(2 * GUTTER + 1)])
    return np.logical_or.reduce([rows[:, shift : shift + width] for shift in range(2 * GUTTER + 1)])


def coverage(used: np.ndarray, sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Return the used share of the texels of each mip, `sizes` in width and height: float32 `[H_m, W_m]` in [0, 1]."""
    shares = [used.astype(np.float32)]
    for width, height in sizes[1:]:
        shares.append(area_average(shares[-1][..., None], width, height, None)[..., 0])
    return shares


def make_mask(shares: Sequence[np.ndarray], file: str | None) -> Mask:
    """Return a mask of `coverage`; a texel of which anything is used has a share of at least 1 of 255."""
    return Mask([np.ceil(share.clip(0, 1) * 255 - 1e-3).clip(0, 255).astype(np.uint8) for share in shares], file)


def mask_path(name: str, data_dir: str | Path) -> Path | None:
    """Return the file that `--mask` names: in the material's folder, else as a path; None where it names no file.

    Raises `UserError` where there is none.
    """
    if name in (AUTO, NONE):
        return None
    inside, path = Path(data_dir) / name, Path(name)
    for found in (inside, path):
        if found.is_file():
            return found
    raise UserError(
        f"--mask {name} is neither in {data_dir} nor a file; give an image that is black where texels are unused, "
        f"{AUTO} or {NONE}"
    )


def read_mask(path: Path, width: int, height: int, max_pixels: int) -> tuple[np.ndarray, list[str]]:
    """Read which texels a file calls used: bool `[height, width]`, and notices.

    Where its alpha varies, transparent texels are unused, otherwise black ones. A mask of another size is resized, and
    a texel of which any part is used is used. Raises `UserError` where the file cannot be read or nothing is used.
    """
    image = read_image(SourceImage(path), max_pixels)
    texels, by_alpha = image.texels, False
    if image.has_alpha:
        alpha, texels = texels[..., -1:], texels[..., :-1]
        by_alpha = bool((alpha != alpha[:1, :1]).any())
        texels = alpha if by_alpha else texels
    full = 1.0 if texels.dtype.kind == "f" else float(np.iinfo(texels.dtype).max)
    used = texels.max(2) > BLACK * full
    notices = [f"mask: {path.name} is read by its alpha"] if by_alpha else []
    if used.shape != (height, width):
        notices.append(
            f"mask: {path.name} resized from {used.shape[1]} x {used.shape[0]} to {width} x {height}, the maps' size"
        )
        used = _resized(used, width, height)
    if not used.any():
        raise UserError(
            f"--mask: all of {path} is {'transparent' if by_alpha else 'black'}; used texels are white in it"
        )
    return used, notices


def _resized(used: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize a mask, each texel used where any of the area that it covers is."""
    first_y, first_x = (np.arange(n) * size // n for n, size in zip((height, width), used.shape))
    last_y, last_x = (-(-np.arange(1, n + 1) * size // n) - 1 for n, size in zip((height, width), used.shape))
    total = np.zeros((used.shape[0] + 1, used.shape[1] + 1), np.int32)
    np.cumsum(np.cumsum(used, 0, np.int32), 1, out=total[1:, 1:])
    top, bottom, left, right = first_y[:, None], last_y[:, None] + 1, first_x, last_x + 1
    return total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left] > 0


def plain_background(texels: np.ndarray, channels: Sequence[int], normal: slice | None) -> np.ndarray | None:
    """Return where a sheet shows nothing but a plain background: bool `[H, W]`, or None where it has none.

    `texels`: uint8 `[H, W, C]`; `channels` are those of maps that are present, `normal` a normal map's. Pixels alone
    cannot tell a flat material from a background, so a region is one only where all of this holds: it has one value in
    every channel of every map, it is connected to the sheet's border, and that value is what tools clear textures with:
    its normal is no unit vector, or every channel is none, half or full and the regions reach all four sides, as the
    space between islands does. With its gutter left out it takes at least `LEAST_IDLE` of the sheet, at most
    `MOST_IDLE` with it.
    """
    border = np.concatenate([texels[0], texels[-1], texels[:, 0], texels[:, -1]])
    present = np.zeros(texels.shape[2], bool)
    present[channels] = True
    border[:, ~present] = 0
    values, counts = np.unique(border, axis=0, return_counts=True)
    best, least = None, LEAST_IDLE * texels.shape[0] * texels.shape[1]
    for value in values[np.argsort(-counts, kind="stable")][:CANDIDATES]:
        impossible = normal is not None and _no_unit_vector(value[normal])
        if not impossible and not _is_clear(value):
            continue
        idle = _border_regions(texels, value, channels)
        if (
            idle is None
            or not impossible
            and not all(side.any() for side in (idle[0], idle[-1], idle[:, 0], idle[:, -1]))
        ):
            continue
        if least <= np.count_nonzero(~_with_gutter(~idle, False)) and np.count_nonzero(idle) <= MOST_IDLE * idle.size:
            best, least = idle, np.count_nonzero(idle)
    return best


def _no_unit_vector(normal: np.ndarray) -> bool:
    """Whether a normal's code is further from unit length than any filter or compression makes it."""
    return not 0.5 <= float(np.linalg.norm(normal / 127.5 - 1)) <= 1.4


def _is_clear(value: np.ndarray) -> bool:
    """Whether every channel is none, half or full."""
    distance = np.abs(value[:, None] - np.array([0, 127.5, 255])).min(1)
    return bool((distance <= CLEAR_STEPS).all())


def _border_regions(texels: np.ndarray, value: np.ndarray, channels: Sequence[int]) -> np.ndarray | None:
    """Return the connected regions of one value that touch the border, without small ones: bool `[H, W]`."""
    from scipy.ndimage import label

    same = np.ones(texels.shape[:2], bool)
    for channel in channels:
        same &= texels[..., channel] == value[channel]
    if np.count_nonzero(same) < LEAST_IDLE * same.size:
        return None
    regions, count = label(same, np.ones((3, 3), bool))
    allowed = np.bincount(regions.reshape(-1), minlength=count + 1) >= LEAST_REGION * same.size
    touching = np.zeros(count + 1, bool)
    for side in (regions[0], regions[-1], regions[:, 0], regions[:, -1]):
        touching[side] = True
    touching[0] = False
    return (touching & allowed)[regions]
