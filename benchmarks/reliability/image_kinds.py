"""Damaged images: one of a material's maps is damaged, another is whole, and the material is loaded."""

from __future__ import annotations

import functools
import random
from pathlib import Path

from PIL import Image

from benchmarks.reliability import structures
from benchmarks.reliability.caged import Kind
from benchmarks.reliability.damage import Structure, damaged_bytes
from benchmarks.reliability.samples import texels

MAX_PIXELS = 1 << 20
"""What `--max_pixels` is while damaged images are read, so that no case may need much memory."""
_MAPS = ("albedo", "albedo", "normal", "roughness", "height", "arm")
_FORMATS: dict[str, tuple[str, Structure, int]] = {
    "png": (".png", structures.PNG, 600),
    "png16": (".png", structures.PNG, 400),
    "jpg": (".jpg", structures.JPEG, 500),
    "tif": (".tif", structures.TIFF, 600),
    "tga": (".tga", structures.TGA, 250),
    "bmp": (".bmp", structures.BMP, 250),
    "webp": (".webp", structures.WEBP, 300),
    "exr": (".exr", structures.EXR, 350),
    "hdr": (".hdr", structures.HDR, 200),
}
"""By the name of the samples: suffix, where the parts lie, and cases of the full run."""


def _sample(samples: Path, name: str, chance: random.Random) -> bytes:
    return chance.choice(sorted((samples / name).iterdir())).read_bytes()


def _write(folder: Path, file_name: str, data: bytes) -> None:
    (folder / file_name).write_bytes(data)
    # The whole one has another size, so that the damaged one sets the size or is resized.
    other = "roughness" if "albedo" in file_name else "albedo"
    Image.fromarray(texels(1)[:8, :12, 0]).save(folder / f"rock_{other}.png")


def make_image(name: str, samples: Path, folder: Path, chance: random.Random) -> None:
    """Write a material whose one map, of the samples `name`, is damaged; sometimes its suffix is another format's."""
    suffix, structure, _ = _FORMATS[name]
    other = chance.choice([other for other in _FORMATS if other != name])
    data = damaged_bytes(_sample(samples, name, chance), structure, chance, [_sample(samples, other, chance)])
    if chance.random() < 0.03:
        suffix = _FORMATS[other][0]
    _write(folder, f"rock_{chance.choice(_MAPS)}{suffix}", data)


def whole_image(name: str, samples: Path, folder: Path) -> None:
    """Write a material of whole images."""
    _write(folder, f"rock_albedo{_FORMATS[name][0]}", _sample(samples, name, random.Random(0)))


def load(folder: Path, _out: Path) -> None:
    """Load a material as the commands do."""
    from configs import ImageConfig
    from dataset import load_texture_set

    load_texture_set(folder, images=ImageConfig(max_pixels=MAX_PIXELS))


KINDS = [
    Kind(name, functools.partial(make_image, name), load, share, functools.partial(whole_image, name))
    for name, (_, _, share) in _FORMATS.items()
]
