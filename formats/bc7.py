"""BC7 blocks by Intel's ISPC Texture Compressor, or by etcpak where `ispc-texcomp` cannot be had.

At equal channel weights Intel's encoder is about 3 dB better than etcpak's, so a figure of BC7 says little without its
encoder: `bc7_encoder` names it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

import numpy as np

from images.mips import mip_size
from utils.errors import UserError

BLOCK = 4
"""Texels of a block's side."""
BLOCK_BYTES = 16
"""Bytes of a block."""
TEXELS_AT_ONCE = 1 << 16
"""Texels of a strip. An encoder does not return before its end, and neither shows progress nor heeds Ctrl-C until then."""
SETTINGS = ("linear", "thorough", "perceptual")
"""Equal channel weights, the same with a longer search, and weights that favour green, which etcpak alone has."""
_PROFILES = {"linear": "basic", "thorough": "slow"}


@cache
def _intel() -> ModuleType | None:
    """Return `ispc_texcomp`, `None` where it is not installed or cannot be loaded."""
    try:
        return importlib.import_module("ispc_texcomp")
    except ImportError:
        return None


def bc7_bytes(manifest: Mapping) -> int:
    """Return what a material's present maps take as BC7 textures with all mips, scalars three to a texture."""
    present = {channel["name"]: channel["present"] for channel in manifest["channels"]}
    scalars = sum(there for name, there in present.items() if name not in ("diffuse", "normal"))
    textures = present["diffuse"] + present["normal"] + -(-scalars // 3)
    sizes = (mip_size(manifest["width"], manifest["height"], mip) for mip in range(manifest["mips"]))
    return textures * sum(BLOCK_BYTES * -(-width // BLOCK) * -(-height // BLOCK) for width, height in sizes)


def package_version(package: str) -> str:
    """Return a package's name with its version, its name alone where the module came with another package."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return package


def bc7_encoder(setting: str = "linear") -> str:
    """Return what encodes at one of `SETTINGS`, with its version: results are comparable where this is equal."""
    if setting in _PROFILES and _intel():
        return f"{package_version('ispc-texcomp')} {_PROFILES[setting]}"
    return package_version("etcpak")


def _intel_encoder(intel: ModuleType, setting: str, has_alpha: bool) -> Callable[[np.ndarray], bytes]:
    # The plain profiles take alpha for opaque, leave its modes out, and are a third faster.
    settings = intel.BC7EncSettings.from_profile(f"{'alpha_' if has_alpha else ''}{_PROFILES[setting]}")

    def encode(texels: np.ndarray) -> bytes:
        rows, columns = texels.shape[:2]
        return bytes(intel.compress_blocks_bc7(intel.RGBASurface(texels.tobytes(), columns, rows), settings))

    return encode


def _etcpak_encoder(setting: str) -> Callable[[np.ndarray], bytes]:
    try:
        import etcpak
    except ImportError as error:
        raise UserError(f"no BC7 encoder can be loaded ({error}); pip install ispc-texcomp, or etcpak") from error

    options = etcpak.BC7CompressBlockParams()
    # "perceptual", etcpak's default, weighs green over blue: worse in PSNR, and wrong for packed data maps.
    (options.init_perceptual_weights if setting == "perceptual" else options.init_linear_weights)()
    options.m_uber_level = 4 if setting == "thorough" else 0

    def encode(texels: np.ndarray) -> bytes:
        rows, columns = texels.shape[:2]
        return bytes(etcpak.compress_bc7(texels.tobytes(), columns, rows, options))

    return encode


def bc7_blocks(rgba: np.ndarray, setting: str = "linear", progress: Callable[[int], None] | None = None) -> bytes:
    """Compress uint8 `[H, W, 4]` at one of `SETTINGS` to 16 bytes a block, row of blocks after row.

    The last row and column are repeated up to whole blocks of 4 x 4. `progress` is called with the rows done since the
    last call. Raises `UserError` where no encoder is installed, `ValueError` for another setting.
    """
    if setting not in SETTINGS:
        raise ValueError(f"setting {setting!r} is none of {', '.join(SETTINGS)}")
    height, width = rgba.shape[:2]
    padded = np.pad(rgba, ((0, -height % BLOCK), (0, -width % BLOCK), (0, 0)), mode="edge")
    rows_at_once = max(BLOCK, TEXELS_AT_ONCE // padded.shape[1] // BLOCK * BLOCK)
    strips = [padded[top : top + rows_at_once] for top in range(0, len(padded), rows_at_once)]
    intel = _intel() if setting in _PROFILES else None
    encode = _intel_encoder(intel, setting, bool((rgba[..., 3] < 255).any())) if intel else _etcpak_encoder(setting)
    # Only Intel's encoder lets other threads run meanwhile.
    pool = ThreadPoolExecutor(min(len(strips), os.cpu_count() or 1) if intel else 1)
    parts = []
    try:
        for number, part in enumerate(pool.map(encode, strips)):
            parts.append(part)
            if progress:
                progress(min(rows_at_once, height - number * rows_at_once))
    finally:
        # After Ctrl-C the strips that wait are not begun.
        pool.shutdown(cancel_futures=True)
    return b"".join(parts)
