"""One record for every codec and for a run's export, measured on decoded 8-bit maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from baselines.cache import ResultCache
from baselines.codec import Codec, CodecResult
from baselines.codecs import choose_codecs
from baselines.hardware import hardware_name
from baselines.summary import encoders_line
from formats.dds import FORMATS
from formats.reader import NeuralTextureReader
from reporting.console import say
from reporting.metrics import channel_ranges, flip, material_psnr, material_ssim, normal_angle
from utils.errors import UsageError

if TYPE_CHECKING:
    from dataset import TextureSet


def _json_psnr(values: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def measure(textures: TextureSet, result: CodecResult, *, macs_per_texel: int = 0, **more: object) -> dict:
    """Return the record of one codec at one setting.

    PSNR in dB (`None`: identical) and SSIM overall and per map, the normals' mean angle in degrees and FLIP on diffuse,
    all on the finest mip; `more` is added as it is.
    """
    reference, decoded, ranges = textures.mips[0], result.decoded, channel_ranges()
    diffuse, normal = ranges["diffuse"], ranges["normal"]
    return {
        "material": textures.name,
        "width": textures.width,
        "height": textures.height,
        "codec": result.name,
        "setting": result.setting,
        "label": result.label,
        "bpp": 8 * result.size_bytes / (textures.width * textures.height),
        "size_bytes": result.size_bytes,
        "encode_time_s": result.encode_time_s,
        "psnr": _json_psnr(material_psnr(reference, decoded, textures.present)),
        "ssim": material_ssim(reference, decoded, textures.present),
        "normal_angle_deg": normal_angle(reference[..., normal], decoded[..., normal])
        if textures.present["normal"]
        else None,
        "flip": flip(reference[..., diffuse], decoded[..., diffuse]) if textures.present["diffuse"] else None,
        "macs_per_texel": macs_per_texel,
        "bytes_fetched_per_texel": result.bytes_fetched_per_texel,
        "random_access": result.random_access,
        "hardware": hardware_name(),
        "fingerprint": textures.fingerprint,
        **more,
    }


def measure_export(
    textures: TextureSet,
    reader: NeuralTextureReader,
    decoded: np.ndarray,
    *,
    codec: str = "neural",
    setting: str = "",
    label: str = "neural texture",
    time_s: float | None = None,
    **more: object,
) -> dict:
    """Return the record of an export whose finest mip decodes to `decoded`; its bpp counts the finest levels alone."""
    manifest = reader.manifest
    if (manifest["width"], manifest["height"]) != (textures.width, textures.height) or any(
        textures.present[name] != present for name, present in reader.present.items()
    ):
        raise UsageError(
            f"{reader.folder} was trained on another material than {textures.name} (sizes or maps "
            "differ); give the folder of images that it was trained on"
        )
    size_bytes = round(manifest["bpp"] * manifest["width"] * manifest["height"] / 8)
    fetched = manifest.get("bytes_per_texel")
    if fetched is None:
        texel_bytes = {entry.name: entry.texel_bytes for entry in FORMATS.values()}
        fetched = sum(4 * len(grid["files"]) * texel_bytes[grid["format"]] for grid in manifest["grids"])
    result = CodecResult(codec, setting, label, decoded, size_bytes, time_s, True, fetched)
    return measure(
        textures, result, macs_per_texel=manifest["network"]["macs_per_texel"], bpp_mips=manifest["bpp_mips"], **more
    )


def _encode_and_measure(textures: TextureSet, codec: Codec, setting: str) -> tuple[dict, np.ndarray]:
    """Return a codec's record and its decoded finest mip."""
    result = codec.run(textures, setting)
    return measure(textures, result, encoder=codec.encoder(setting)), result.decoded


def measure_baselines(textures: TextureSet, names: Sequence[str], cache: ResultCache) -> list[dict]:
    """Return the records of the named codecs; a codec whose package is missing is left out with a line."""
    records, missing = [], set()
    for codec, setting in choose_codecs(names):
        if codec.missing():
            missing.add(codec.missing())
            continue
        run = partial(_encode_and_measure, textures, codec, setting)
        records.append(reported(*cache.get(textures, codec.name, setting, run, codec.encoder(setting))))
    if records:
        say("note", encoders_line(records))
    for line in sorted(missing):
        say("note", line)
    return records


def reported(record: dict, was_kept: bool) -> dict:
    """Print a record in one line and return it."""
    psnr, time_s = record["psnr"]["overall"], record["encode_time_s"]
    say(
        record["material"],
        f"{record['label']:<28}{record['bpp']:7.2f} bpp"
        f"{'  identical' if psnr is None else f'{psnr:8.2f} dB'}{time_s:9.2f} s" + ("  (kept)" if was_kept else ""),
    )
    return record
