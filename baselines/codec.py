"""What a conventional codec is: a texture set goes in, payload sizes and decoded maps come out.

Every codec sees the finest mip of a texture set in file coding: one texture for the diffuse map, one for the normal
map, and the scalar maps packed three to a texture in canonical order. Sizes are payload bytes, without a container.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from configs import N_CHANNELS
from formats.bc7 import package_version
from reporting.metrics import present_ranges
from utils.errors import UsageError

if TYPE_CHECKING:
    from dataset import TextureSet


@dataclass
class CodecResult:
    """One texture set through one codec at one setting."""

    name: str
    setting: str
    label: str
    decoded: np.ndarray
    """uint8 `[H, W, 11]`, file coding, missing maps 0."""
    size_bytes: int
    encode_time_s: float | None
    """`None` where it was not recorded."""
    random_access: bool
    bytes_fetched_per_texel: float | None
    """Bytes of the blocks that hold one texel of every texture; `None` without random access."""
    fetches_per_texel: int | None = None
    """Texels of textures that are read for one texel of the material; `None` without random access."""
    macs_per_texel: int = 0
    """Multiply-adds of a decoder that runs in a shader; 0 where the hardware decodes."""
    table_bytes: int = 0
    """What a decoder needs beside `size_bytes` and an engine would store with every material."""


@dataclass
class Texture:
    """Channels that share a texture, and what the codec made of them."""

    channels: list[int]
    image: np.ndarray
    """uint8 `[H, W, C]`."""
    content: str
    """diffuse, normal or scalars."""


@dataclass
class Encoded:
    """A texture's payload, its decoded image `[H, W, C]` and the bytes of one block (0: no random access)."""

    size_bytes: int
    decoded: np.ndarray
    block_bytes: int
    encode_time_s: float


@dataclass(frozen=True)
class Codec:
    """A codec with its usual settings and the packages it needs."""

    name: str
    title: str
    encode: Callable[[Texture, str], Encoded] | None
    settings: tuple[str, ...]
    accepts: str
    """Pattern of every setting it takes."""
    hint: str
    packages: dict[str, str] = field(default_factory=dict)
    """Module -> what to install."""
    random_access: bool = True
    scalars_alone: bool = False
    """Each scalar map in a texture of its own instead of three to one."""
    encode_set: Callable[[TextureSet, str], CodecResult] | None = None
    """In place of `encode`, for codecs that take all maps together."""
    encoded_by: Callable[[str], str] | None = None
    """What encodes at a setting, with versions, where that is not all of `packages`."""

    def encoder(self, setting: str) -> str:
        """Return what encodes, with versions: results that another encoder gave are measured again."""
        if self.encoded_by:
            return self.encoded_by(setting)
        return ", ".join(map(package_version, self.packages.values()))

    def missing(self) -> str:
        """Return "" where the codec can run, or one line that says what to install."""
        for module, package in self.packages.items():
            if importlib.util.find_spec(module) is None:
                return f"{self.title} is left out: pip install {package}"
        return ""

    def check(self, setting: str) -> None:
        """Raise `UsageError` for a setting the codec does not have."""
        if not re.fullmatch(self.accepts, setting):
            raise UsageError(f"codec {self.name} has no setting {setting}; {self.hint}")

    def run(self, textures: TextureSet, setting: str) -> CodecResult:
        """Encode and decode the finest mip; raises `UsageError` for a setting the codec does not have."""
        self.check(setting)
        if self.encode is None:
            if self.encode_set is None:
                raise ValueError(f"codec {self.name} has nothing that encodes")
            return self.encode_set(textures, setting)
        image = textures.mips[0]
        decoded = np.zeros_like(image)
        encoded = []
        for texture in pack_textures(image, textures.present, 1 if self.scalars_alone else 3):
            encoded.append(self.encode(texture, setting))
            decoded[..., texture.channels] = encoded[-1].decoded
        label = self.title if self.settings == (setting,) else f"{self.title} {setting}"
        return CodecResult(
            self.name,
            setting,
            label,
            decoded,
            sum(each.size_bytes for each in encoded),
            sum(each.encode_time_s for each in encoded),
            self.random_access,
            float(sum(each.block_bytes for each in encoded)) if self.random_access else None,
            len(encoded) if self.random_access else None,
        )


def pack_textures(image: np.ndarray, present: Mapping[str, bool], scalars_per_texture: int = 3) -> list[Texture]:
    """Split `[H, W, 11]` into textures of up to three channels: diffuse, normal, and the scalar maps in order."""
    textures: list[tuple[str, list[int]]] = []
    scalars: list[int] = []
    for name, channels in present_ranges(present).items():
        if channels.stop - channels.start == 3:
            textures.append((name, list(range(channels.start, channels.stop))))
        else:
            scalars += range(channels.start, channels.stop)
    textures += [
        ("scalars", scalars[first : first + scalars_per_texture])
        for first in range(0, len(scalars), scalars_per_texture)
    ]
    return [Texture(channels, np.ascontiguousarray(image[..., channels]), content) for content, channels in textures]


def texture_count(present: Mapping[str, bool]) -> int:
    """Return how many textures hold the maps that are present, scalars three to a texture.

    >>> texture_count({"diffuse": True, "roughness": True, "occlusion": True})
    2
    """
    return len(pack_textures(np.empty((1, 1, N_CHANNELS), np.uint8), present))
