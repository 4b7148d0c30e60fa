"""An export decoded for its figures: every stored mip, and deep maps measured at their depth on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from formats.reader import NeuralTextureReader
from reporting.metrics import mean_squared_error

if TYPE_CHECKING:
    from dataset import TextureSet


def decode_and_measure(
    reader: NeuralTextureReader, reference: TextureSet
) -> tuple[dict[int, np.ndarray], dict[str, list[float]]]:
    """Decode every stored mip to uint8 `[H, W, 11]`, and measure the maps deeper than 8 bits in 16 bits on the way.

    Returns the mips, and each such map's mean squared errors by mip, in 16-bit steps squared.
    """
    decoded: dict[int, np.ndarray] = {}
    errors: dict[str, list[float]] = {name: [] for name in reference.fine}
    for mip in reader.stored_mips:
        decoded[mip], deep = reader.decode_codes(mip, list(reference.fine))
        for name, codes in deep.items():
            errors[name].append(float(mean_squared_error(reference.codes_16bit(name, mip), codes).mean()))
    return decoded, errors
