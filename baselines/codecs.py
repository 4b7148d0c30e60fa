"""Conventional codecs as baselines: BC7, BC5, BC4, ASTC, and JPEG XL and AVIF as references without random access.

Every codec sees the finest mip of a texture set in file coding: one texture for the diffuse map, one for the normal
map, and the scalar maps packed three to a texture in canonical order. Sizes are payload bytes, without a container.
"""

from __future__ import annotations

import importlib.util
import io
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

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
    encode_time_s: float
    random_access: bool
    bytes_fetched_per_texel: float | None
    """Bytes of the blocks that hold one texel of every texture; `None` without random access."""


@dataclass
class Texture:
    """Channels that share a texture, and what the codec made of them."""

    channels: list[int]
    image: np.ndarray
    """uint8 `[H, W, C]`."""
    kind: str
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
    encode: Callable[[Texture, str], Encoded]
    settings: tuple[str, ...]
    accepts: str
    """Pattern of every setting it takes."""
    hint: str
    packages: dict[str, str] = field(default_factory=dict)
    """Module -> what to install."""
    random_access: bool = True
    scalars_alone: bool = False
    """Each scalar map in a texture of its own instead of three to one."""

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
        image = textures.mips[0]
        decoded = np.zeros_like(image)
        encoded = []
        for texture in pack_textures(image, textures.present, 1 if self.scalars_alone else 3):
            encoded.append(self.encode(texture, setting))
            decoded[..., texture.channels] = encoded[-1].decoded
        label = self.title if self.settings == (setting,) else f"{self.title} {setting}"
        return CodecResult(self.name, setting, label, decoded,
                           sum(each.size_bytes for each in encoded), sum(each.encode_time_s for each in encoded),
                           self.random_access,
                           float(sum(each.block_bytes for each in encoded)) if self.random_access else None)


def pack_textures(image: np.ndarray, present: dict[str, bool], scalars_per_texture: int = 3) -> list[Texture]:
    """Split `[H, W, 11]` into textures of up to three channels: diffuse, normal, and the scalar maps in order."""
    textures, scalars = [], []
    for name, channels in present_ranges(present).items():
        if channels.stop - channels.start == 3:
            textures.append((name, list(range(channels.start, channels.stop))))
        else:
            scalars += range(channels.start, channels.stop)
    textures += [("scalars", scalars[first:first + scalars_per_texture])
                 for first in range(0, len(scalars), scalars_per_texture)]
    return [Texture(channels, np.ascontiguousarray(image[..., channels]), kind) for kind, channels in textures]


def _rgba(image: np.ndarray) -> np.ndarray:
    """Widen `[H, W, 1..3]` to RGBA: grey for one channel, luminance and alpha for two, opaque for three."""
    if image.shape[2] == 2:
        return np.ascontiguousarray(image[..., [0, 0, 0, 1]])
    colour = image if image.shape[2] == 3 else image.repeat(3, axis=2)
    return np.concatenate([colour, np.full((*image.shape[:2], 1), 255, np.uint8)], axis=2)


def _narrow(rgba: np.ndarray, count: int) -> np.ndarray:
    """Undo `_rgba` for `count` channels."""
    return rgba[..., [0, 3]] if count == 2 else rgba[..., :count]


def _pad_to_blocks(image: np.ndarray, block: int = 4) -> np.ndarray:
    """Repeat the last row and column up to whole blocks."""
    height, width = image.shape[:2]
    return np.pad(image, ((0, -height % block), (0, -width % block), (0, 0)), mode="edge")


def _bc(image: np.ndarray, form: str, setting: str) -> Encoded:
    """Encode and decode `[H, W, C]` as BC4 (1 channel), BC5 (2) or BC7 (up to 3, or 2 as luminance and alpha)."""
    import etcpak
    import texture2ddecoder

    height, width, count = image.shape
    start = time.perf_counter()
    # BC4 and BC5 take the first and the first two of four components.
    padded = _pad_to_blocks(_rgba(image) if form == "bc7" else np.pad(image, ((0, 0), (0, 0), (0, 4 - count))))
    rows, columns = padded.shape[:2]
    if form == "bc7":
        options = etcpak.BC7CompressBlockParams()
        # "perceptual", etcpak's default, weighs green over blue: worse in PSNR, and wrong for packed data maps.
        (options.init_perceptual_weights if setting == "perceptual" else options.init_linear_weights)()
        options.m_uber_level = 4 if setting == "thorough" else 0
        payload = etcpak.compress_bc7(padded.tobytes(), columns, rows, options)
    else:
        payload = getattr(etcpak, f"compress_{form}")(padded.tobytes(), columns, rows)
    elapsed = time.perf_counter() - start
    bgra = getattr(texture2ddecoder, f"decode_{form}")(payload, columns, rows)
    rgba = np.frombuffer(bgra, np.uint8).reshape(rows, columns, 4)[:height, :width][..., [2, 1, 0, 3]]
    decoded = _narrow(rgba, count) if form == "bc7" else rgba[..., :count]
    return Encoded(len(payload), decoded, 8 if form == "bc4" else 16, elapsed)


def reconstruct_z(xy: np.ndarray) -> np.ndarray:
    """Complete uint8 `[H, W, 2]` normal x and y to `[H, W, 3]` with z = sqrt(max(0, 1 - x^2 - y^2)).

    >>> reconstruct_z(np.array([[[255, 127]]], np.uint8))[0, 0].tolist()
    [255, 127, 128]
    """
    signed = xy.astype(np.float32) / 127.5 - 1
    z = np.sqrt(np.clip(1 - np.square(signed).sum(axis=2, keepdims=True), 0, 1))
    return np.concatenate([xy, np.floor((z + 1) * 127.5 + 0.5).astype(np.uint8)], axis=2)


def _encode_bc7(texture: Texture, setting: str) -> Encoded:
    return _bc(texture.image, "bc7", setting)


def _encode_bc7_bc5(texture: Texture, setting: str) -> Encoded:
    if texture.kind != "normal":
        return _bc(texture.image, "bc7", setting)
    encoded = _bc(texture.image[..., :2], "bc5", setting)
    encoded.decoded = reconstruct_z(encoded.decoded)
    return encoded


def _encode_bc7_bc4(texture: Texture, setting: str) -> Encoded:
    return _bc(texture.image, "bc4" if texture.kind == "scalars" else "bc7", setting)


def _encode_astc(texture: Texture, setting: str) -> Encoded:
    """Encode as LDR ASTC with blocks such as `6x6`, at medium quality or `6x6-thorough`."""
    from astc_encoder import ASTCConfig, ASTCContext, ASTCImage, ASTCProfile, ASTCQualityPreset, ASTCSwizzle, ASTCType

    blocks, _, quality = setting.partition("-")
    block_x, block_y = (int(side) for side in blocks.split("x"))
    height, width, count = texture.image.shape
    start = time.perf_counter()
    preset = ASTCQualityPreset.THOROUGH if quality == "thorough" else ASTCQualityPreset.MEDIUM
    config = ASTCConfig(ASTCProfile.LDR, block_x, block_y, 1, preset)
    if count == 2:
        # Luminance stands in three components and must count once.
        config.cw_g_weight = config.cw_b_weight = 0
    context = ASTCContext(config, os.cpu_count() or 1)
    payload = context.compress(ASTCImage(ASTCType.U8, width, height, 1, _rgba(texture.image).tobytes()), ASTCSwizzle())
    elapsed = time.perf_counter() - start
    image = context.decompress(payload, ASTCImage(ASTCType.U8, width, height, 1), ASTCSwizzle())
    rgba = np.frombuffer(image.data, np.uint8).reshape(height, width, 4)
    return Encoded(len(payload), _narrow(rgba, count), 16, elapsed)


def _through_pillow(texture: Texture, form: str, options: dict) -> Encoded:
    """Encode and decode with a Pillow format: three channels as RGB, others as grey images one by one."""
    from PIL import Image

    image = texture.image
    parts = [image] if image.shape[2] == 3 and texture.kind != "scalars" else np.split(image, image.shape[2], axis=2)
    size, elapsed, decoded = 0, 0.0, []
    for part in parts:
        start = time.perf_counter()
        grey = part.shape[2] == 1
        if grey and form == "AVIF":
            options = {**options, "subsampling": "4:0:0"}
        file = io.BytesIO()
        Image.fromarray(part[..., 0] if grey else part).save(file, form, **options)
        elapsed += time.perf_counter() - start
        size += file.tell()
        file.seek(0)
        with Image.open(file) as back:
            decoded.append(np.asarray(back.convert("L" if grey else "RGB")).reshape(part.shape))
    return Encoded(size, np.concatenate(decoded, axis=2), 0, elapsed)


def _encode_jxl(texture: Texture, setting: str) -> Encoded:
    import pillow_jxl  # noqa: F401  (registers the format with Pillow)

    return _through_pillow(texture, "JXL", {"quality": int(setting[1:])})


def _encode_avif(texture: Texture, setting: str) -> Encoded:
    from PIL import features

    if not features.check("avif"):
        import pillow_avif  # noqa: F401  (registers the format with a Pillow built without it)
    return _through_pillow(texture, "AVIF", {"quality": int(setting[1:]), "subsampling": "4:4:4"})


def _avif_packages() -> dict[str, str]:
    from PIL import features

    return {} if features.check_module("avif") else {"pillow_avif": "pillow-avif-plugin"}


_BC_PACKAGES = {"etcpak": "etcpak", "texture2ddecoder": "texture2ddecoder"}
_BC_SETTINGS = (("linear",), "linear|thorough|perceptual", "choose linear, thorough or perceptual")
_QUALITY = ("q[1-9][0-9]?", "choose q1 to q99")
CODECS: dict[str, Codec] = {codec.name: codec for codec in (
    Codec("bc7", "BC7", _encode_bc7, *_BC_SETTINGS, _BC_PACKAGES),
    Codec("bc7+bc5", "BC7 + BC5 normal", _encode_bc7_bc5, *_BC_SETTINGS, _BC_PACKAGES),
    Codec("bc7+bc4", "BC7 + BC4 scalars", _encode_bc7_bc4, *_BC_SETTINGS, _BC_PACKAGES, scalars_alone=True),
    Codec("astc", "ASTC", _encode_astc, ("4x4", "5x5", "6x6", "8x8", "10x10", "12x12"),
          "(4x4|5x5|6x6|8x8|10x10|12x12)(-thorough)?", "choose 4x4, 5x5, 6x6, 8x8, 10x10 or 12x12, or one of them "
          "with -thorough", {"astc_encoder": "astc-encoder-py"}),
    Codec("jxl", "JPEG XL", _encode_jxl, ("q95", "q85", "q70", "q50"), *_QUALITY,
          {"pillow_jxl": "pillow-jxl-plugin"}, random_access=False),
    Codec("avif", "AVIF", _encode_avif, ("q80", "q65", "q50", "q35"), *_QUALITY, _avif_packages(),
          random_access=False),
)}
"""The baselines by name."""


def choose_codecs(names: Sequence[str]) -> list[tuple[Codec, str]]:
    """Return the codecs and settings of names such as `astc` (usual settings) or `astc:6x6-thorough`.

    Raises `UsageError` for an unknown codec or setting.
    """
    chosen = []
    for name in names:
        base, _, setting = name.partition(":")
        codec = CODECS.get(base)
        if codec is None:
            raise UsageError(f"no codec is called {base}; choose from {', '.join(CODECS)}")
        if setting:
            codec.check(setting)
        chosen += [(codec, each) for each in ([setting] if setting else codec.settings)]
    return chosen
