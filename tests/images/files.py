"""Small image files to test with, and how a folder that cannot be used is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset import load_texture_set
from utils.errors import UserError


def save(path: Path, values: object, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(np.asarray(values, np.uint8))
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def flat(height: int, width: int, color: tuple[int, ...] | int) -> np.ndarray:
    shape = (height, width) if isinstance(color, int) else (height, width, len(color))
    return np.broadcast_to(np.asarray(color, np.uint8), shape)


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        load_texture_set(folder)
    assert "\n" not in str(error.value)
    return str(error.value)
