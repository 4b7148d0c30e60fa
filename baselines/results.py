"""One record for every codec: measured on decoded 8-bit maps, kept as JSON, resumed where it was measured before."""

from __future__ import annotations

import functools
import math
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from baselines.codecs import CodecResult, choose_codecs
from formats.reader import NeuralTextureReader
from reporting.console import say
from reporting.metrics import channel_ranges, flip, material_psnr, material_ssim, normal_angle
from utils.errors import UsageError, UserError
from utils.files import read_json, write_json, written_aside

if TYPE_CHECKING:
    from dataset import TextureSet


@functools.lru_cache(maxsize=1)
def hardware_name() -> str:
    """Return the processor's name and core count, and the GPU's name where torch sees one."""
    name = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    parts = [f"{name or platform.machine()}, {os.cpu_count()} logical cores"]
    import torch

    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return "; ".join(parts)


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
        "material": textures.name, "width": textures.width, "height": textures.height, "codec": result.name,
        "setting": result.setting, "label": result.label,
        "bpp": 8 * result.size_bytes / (textures.width * textures.height), "size_bytes": result.size_bytes,
        "encode_time_s": result.encode_time_s,
        "psnr": _json_psnr(material_psnr(reference, decoded, textures.present)),
        "ssim": material_ssim(reference, decoded, textures.present),
        "normal_angle_deg": normal_angle(reference[..., normal], decoded[..., normal])
        if textures.present["normal"] else None,
        "flip": flip(reference[..., diffuse], decoded[..., diffuse]) if textures.present["diffuse"] else None,
        "macs_per_texel": macs_per_texel, "bytes_fetched_per_texel": result.bytes_fetched_per_texel,
        "random_access": result.random_access, "hardware": hardware_name(),
        "fingerprint": textures.fingerprint, **more}


class ResultCache:
    """Records and decoded maps of earlier runs, one pair of files per (material, codec, setting)."""

    def __init__(self, folder: Path, fresh: bool = False) -> None:
        self.folder, self.fresh = folder, fresh

    def _paths(self, material: str, codec: str, setting: str) -> tuple[Path, Path]:
        stem = self.folder / material / f"{codec}-{setting}"
        return stem.with_name(stem.name + ".json"), stem.with_name(stem.name + ".npz")

    def get(self, textures: TextureSet, codec: str, setting: str,
            run: Callable[[], tuple[dict, np.ndarray]]) -> tuple[dict, bool]:
        """Return the record kept for this very material, or `run` the codec and keep its record and decoded maps.

        The second value tells whether it was kept before.
        """
        record_path, decoded_path = self._paths(textures.name, codec, setting)
        if not self.fresh and record_path.is_file() and decoded_path.is_file():
            record = read_json(record_path)
            if isinstance(record, dict) and record.get("fingerprint") == textures.fingerprint:
                return record, True
        record, decoded = run()
        with written_aside(decoded_path) as aside:
            np.savez_compressed(aside, decoded=decoded)
        write_json(record_path, record)
        return record, False

    def decoded(self, record: dict) -> np.ndarray:
        """Return the decoded finest mip of a record, uint8 `[H, W, 11]`; raises `UserError` where it is damaged."""
        path = self._paths(record["material"], record["codec"], record["setting"])[1]
        try:
            with np.load(path, allow_pickle=False) as archive:
                return archive["decoded"]
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise UserError(f"{path} cannot be read ({error}); delete it and run the benchmark again") from error


def measure_export(textures: TextureSet, reader: NeuralTextureReader, decoded: np.ndarray, *, codec: str = "neural",
                   setting: str = "", label: str = "neural texture", time_s: float | None = None,
                   **more: object) -> dict:
    """Return the record of an export whose finest mip decodes to `decoded`; its bpp counts the finest levels alone."""
    manifest = reader.manifest
    if (manifest["width"], manifest["height"]) != (textures.width, textures.height) \
            or any(textures.present[name] != present for name, present in reader.present.items()):
        raise UsageError(f"{reader.folder} was trained on another material than {textures.name} (sizes or maps "
                         "differ); give the folder of images that it was trained on")
    size_bytes = round(manifest["bpp"] * manifest["width"] * manifest["height"] / 8)
    fetched = manifest.get("bytes_per_texel")
    if fetched is None:
        fetched = sum(4 * grid["n_features"] * grid["quantize_bits"] / 8 for grid in manifest["grids"])
    result = CodecResult(codec, setting, label, decoded, size_bytes, time_s, True, fetched)
    return measure(textures, result, macs_per_texel=manifest["network"]["macs_per_texel"],
                   bpp_mips=manifest["bpp_mips"], **more)


def measure_baselines(textures: TextureSet, names: Sequence[str], cache: ResultCache) -> list[dict]:
    """Return the records of the named codecs; a codec whose package is missing is left out with a line."""
    records, missing = [], set()
    for codec, setting in choose_codecs(names):
        if codec.missing():
            missing.add(codec.missing())
            continue

        def run() -> tuple[dict, np.ndarray]:
            result = codec.run(textures, setting)
            return measure(textures, result), result.decoded

        records.append(reported(*cache.get(textures, codec.name, setting, run)))
    for line in sorted(missing):
        say("note", line)
    return records


def reported(record: dict, was_kept: bool) -> dict:
    psnr, time_s = record["psnr"]["overall"], record["encode_time_s"]
    say(record["material"], f"{record['label']:<28}{record['bpp']:7.2f} bpp"
                            f"{'  identical' if psnr is None else f'{psnr:8.2f} dB'}{time_s:9.2f} s"
                            + ("  (kept)" if was_kept else ""))
    return record
