"""The files that the page's shader decodes from: generated WGSL, its bindings, and grids and weights for the GPU."""

from __future__ import annotations

from pathlib import Path

from utils.errors import UserError

SHADER, BINDINGS = "decoder.wgsl", "bindings.json"


def decoder_files(folder: Path) -> dict[str, bytes]:
    """Return the decoder of an export as files: `SHADER`, `BINDINGS` and every file that the bindings name.

    Raises `UserError` where it cannot be made, with what to install.
    """
    raise UserError("this release has no WGSL decoder yet; the maps decoded before are shown instead")
