"""The table of conventional codecs, and their names on a command line."""

from __future__ import annotations

from collections.abc import Sequence

from baselines.block_codecs import encode_astc, encode_bc7, encode_bc7_bc4, encode_bc7_bc5
from baselines.codec import Codec
from baselines.image_codecs import avif_packages, encode_avif, encode_jxl
from baselines.transform_codec import TRANSFORM_VERSION, encode_klt4, encode_klt8
from formats.bc4 import BC4_ENCODER_VERSION
from formats.bc7 import SETTINGS, bc7_encoder, package_version
from utils.errors import UsageError

_BC_PACKAGES = {"etcpak": "etcpak", "texture2ddecoder": "texture2ddecoder"}
_BC_SETTINGS = (("linear",), "|".join(SETTINGS), f"choose {', '.join(SETTINGS[:-1])} or {SETTINGS[-1]}")
_RATES = (("1.5", "2.5", "5", "10.5", "16"), r"\d{1,2}(\.\d{1,3})?", "choose bits per texel such as 4.56")
_QUALITY = ("q[1-9][0-9]?", "choose q1 to q99")


def _bc7_encoder(setting: str) -> str:
    return f"{bc7_encoder(setting)}, {package_version('texture2ddecoder')}"


def _bc4_encoder(setting: str) -> str:
    return f"own BC4 {BC4_ENCODER_VERSION}, {_bc7_encoder(setting)}"


def _klt_encoder(setting: str) -> str:
    return f"block KLT {TRANSFORM_VERSION}"


def _avif_encoder(setting: str) -> str:
    return ", ".join(map(package_version, ["Pillow", *avif_packages().values()]))


ASTC_BLOCKS = (
    *("4x4", "5x4", "5x5", "6x5", "6x6", "8x5", "8x6"),
    *("8x8", "10x5", "10x6", "10x8", "10x10", "12x10", "12x12"),
)
"""Every size that a block of a 2D texture can have."""
CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec("bc7", "BC7", encode_bc7, *_BC_SETTINGS, _BC_PACKAGES, encoded_by=_bc7_encoder),
        Codec("bc7+bc5", "BC7 + BC5 normal", encode_bc7_bc5, *_BC_SETTINGS, _BC_PACKAGES, encoded_by=_bc4_encoder),
        Codec(
            "bc7+bc4",
            "BC7 + BC4 scalars",
            encode_bc7_bc4,
            *_BC_SETTINGS,
            _BC_PACKAGES,
            scalars_alone=True,
            encoded_by=_bc4_encoder,
        ),
        Codec(
            "astc",
            "ASTC",
            encode_astc,
            ("4x4", "5x5", "6x6", "8x8", "10x10", "12x12"),
            f"({'|'.join(ASTC_BLOCKS)})(-thorough)?",
            f"choose {', '.join(ASTC_BLOCKS[:-1])} or {ASTC_BLOCKS[-1]}, or one of them with -thorough",
            {"astc_encoder": "astc-encoder-py"},
        ),
        Codec("klt8", "KLT 8", None, *_RATES, encode_set=encode_klt8, encoded_by=_klt_encoder),
        Codec("klt4", "KLT 4", None, *_RATES, encode_set=encode_klt4, encoded_by=_klt_encoder),
        Codec(
            "jxl",
            "JPEG XL",
            encode_jxl,
            ("q95", "q85", "q70", "q50"),
            *_QUALITY,
            {"pillow_jxl": "pillow-jxl-plugin"},
            random_access=False,
        ),
        Codec(
            "avif",
            "AVIF",
            encode_avif,
            ("q80", "q65", "q50", "q35"),
            *_QUALITY,
            avif_packages(),
            random_access=False,
            encoded_by=_avif_encoder,
        ),
    )
}
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
