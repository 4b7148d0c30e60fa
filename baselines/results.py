"""One record for every codec and for a run's export, measured on decoded 8-bit maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from baselines.cache import FIGURES_VERSION, ResultCache
from baselines.codec import Codec, CodecResult
from baselines.codecs import choose_codecs
from baselines.gaussian_bound import GaussianBound
from baselines.hardware import hardware_name
from baselines.summary import encoders_line
from formats.dds import FORMATS
from formats.reader import NeuralTextureReader
from reporting.console import say
from reporting.lit import lit_flip
from reporting.metrics import channel_ranges, flip, material_psnr, material_ssim, normal_angle
from utils.errors import UsageError

if TYPE_CHECKING:
    from dataset import TextureSet


def _json_psnr(values: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def measure(textures: TextureSet, result: CodecResult, mip: int = 0, **more: object) -> dict:
    """Return the record of one codec at one setting.

    PSNR in dB (`None`: identical) and SSIM overall and per map, the normals' mean angle in degrees, FLIP on diffuse and
    on the lit material, all on the first mip of `textures`, which is mip `mip` of the material; `more` is added as it is.
    """
    reference, decoded, ranges = textures.mips[0], result.decoded, channel_ranges()
    diffuse, normal = ranges["diffuse"], ranges["normal"]
    texels = textures.width * textures.height
    with_tables = 8 * (result.size_bytes + result.table_bytes) / texels
    return {
        "material": textures.name,
        "width": textures.width,
        "height": textures.height,
        "mip": mip,
        "codec": result.name,
        "setting": result.setting,
        "label": result.label,
        "bpp": 8 * result.size_bytes / texels,
        "bpp_with_tables": with_tables if result.table_bytes else None,
        "size_bytes": result.size_bytes,
        "encode_time_s": result.encode_time_s,
        "psnr": _json_psnr(material_psnr(reference, decoded, textures.present)),
        "ssim": material_ssim(reference, decoded, textures.present),
        "normal_angle_deg": normal_angle(reference[..., normal], decoded[..., normal])
        if textures.present["normal"]
        else None,
        "flip": flip(reference[..., diffuse], decoded[..., diffuse]) if textures.present["diffuse"] else None,
        "flip_lit": lit_flip(reference, decoded, textures.shading_maps, textures.normal_convention),
        "macs_per_texel": result.macs_per_texel,
        "fetches_per_texel": result.fetches_per_texel,
        "bytes_fetched_per_texel": result.bytes_fetched_per_texel,
        "random_access": result.random_access,
        "hardware": hardware_name(),
        "fingerprint": textures.fingerprint,
        "figures_version": FIGURES_VERSION,
        **more,
    }


def bound_record(textures: TextureSet, bound: GaussianBound, bpp: float, mip: int = 0) -> dict:
    """Return the bound at a rate as a record with the keys of `measure`: rate and overall PSNR, all else `None`."""
    return {
        "material": textures.name,
        "width": textures.width,
        "height": textures.height,
        "mip": mip,
        "codec": "bound",
        "setting": f"{bpp:g}",
        "label": f"bound {bpp:g} bpp",
        "bpp": float(bpp),
        **dict.fromkeys(("bpp_with_tables", "size_bytes", "encode_time_s")),
        "psnr": _json_psnr({"overall": bound.psnr_db(bpp)}),
        "ssim": {"overall": None},
        **dict.fromkeys(("normal_angle_deg", "flip", "flip_lit")),
        **dict.fromkeys(("macs_per_texel", "fetches_per_texel", "bytes_fetched_per_texel", "random_access")),
        "hardware": hardware_name(),
        "fingerprint": textures.fingerprint,
        "figures_version": FIGURES_VERSION,
        "encoder": None,
    }


def beside_bound(record: dict, bound: GaussianBound) -> dict:
    """Return a record with the PSNR of the bound at its rate (`None`: identical) and the side of the bound's blocks."""
    psnr_db = bound.psnr_db(record["bpp"])
    return {**record, "bound_psnr_db": psnr_db if math.isfinite(psnr_db) else None, "bound_side": bound.side}


def texture_fetches(manifest: Mapping) -> int:
    """Return the texels that a shader fetches for one texel of the material.

    Four taps of every texture of a gathered grid. Of a blended grid one, where the sampler does the blending; four where
    features are bit fields, or pass through a curve before they are blended.
    """
    return sum(
        len(grid["files"])
        * (
            1
            if grid["interpolation"] == "bilinear" and not grid.get("fields") and grid.get("curve_offset") is None
            else 4
        )
        for grid in manifest["grids"]
    )


def export_result(
    reader: NeuralTextureReader,
    decoded: np.ndarray,
    bpp: float,
    codec: str,
    setting: str,
    label: str,
    time_s: float | None,
) -> CodecResult:
    """Return a decoded mip of an export, uint8 `[H, W, 11]`, as what a codec gives."""
    manifest, network = reader.manifest, reader.manifest["network"]
    fetched = manifest.get("bytes_per_texel")
    if fetched is None:
        texel_bytes = {entry.name: entry.texel_bytes for entry in FORMATS.values()}
        fetched = sum(4 * len(grid["files"]) * texel_bytes[grid["format"]] for grid in manifest["grids"])
    size_bytes = round(bpp * decoded.shape[0] * decoded.shape[1] / 8)
    macs = network.get("macs_as_run") or network["macs_per_texel"]
    return CodecResult(
        codec, setting, label, decoded, size_bytes, time_s, True, fetched, texture_fetches(manifest), macs
    )


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
    result = export_result(reader, decoded, manifest["bpp"], codec, setting, label, time_s)
    return measure(textures, result, 0, bpp_mips=manifest["bpp_mips"], **more)


def _encode_and_measure(textures: TextureSet, codec: Codec, setting: str, mip: int) -> tuple[dict, np.ndarray]:
    """Return a codec's record and its decoded mip."""
    result = codec.run(textures, setting)
    return measure(textures, result, mip=mip, encoder=codec.encoder(setting)), result.decoded


def measure_baselines(textures: TextureSet, names: Sequence[str], cache: ResultCache, mip: int = 0) -> list[dict]:
    """Return the records of the named codecs; a codec whose package is missing is left out with a line.

    `textures` has the mip alone, where it is another than the finest.
    """
    records, missing = [], set()
    for codec, setting in choose_codecs(names):
        if codec.missing():
            missing.add(codec.missing())
            continue
        run = partial(_encode_and_measure, textures, codec, setting, mip)
        records.append(reported(*cache.get(textures, codec.name, setting, run, codec.encoder(setting), mip)))
    if mip == 0:
        if records:
            say("note", encoders_line(records))
        for line in sorted(missing):
            say("note", line)
    return records


def reported(record: dict, was_kept: bool) -> dict:
    """Print a record in one line and return it."""
    psnr, time_s = record["psnr"]["overall"], record["encode_time_s"]
    label = f"mip {record['mip']} {record['label']}" if record["mip"] else record["label"]
    say(
        record["material"],
        f"{label:<28}{record['bpp']:7.2f} bpp"
        f"{'  identical' if psnr is None else f'{psnr:8.2f} dB'}"
        + ("" if time_s is None else f"{time_s:9.2f} s")
        + ("  (kept)" if was_kept else ""),
    )
    return record
