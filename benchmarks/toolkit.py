"""This toolkit as one more codec: trained through its command line, measured on the files it exports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.codecs import CodecResult
from benchmarks.results import measure
from reader import NeuralTextureReader
from utils.errors import UsageError, UserError
from utils.files import require_writable_folder

if TYPE_CHECKING:
    import numpy as np

    from dataset import TextureSet

ROOT = Path(__file__).resolve().parent.parent
_RUN_NAME = re.compile(r"\d{4}(-\d\d){5}")
_EXPORT_NAME = re.compile(r"train_result_(\d+)")


def newest_run(save_dir: Path) -> Path:
    """Return the newest run folder below `save_dir`; raises `UserError` where there is none."""
    runs = sorted(path for path in save_dir.glob("*") if path.is_dir() and _RUN_NAME.fullmatch(path.name))
    if not runs:
        raise UserError(f"{save_dir} holds no run folder; train.py must have failed, see its log there")
    return runs[-1]


def find_export(run_dir: Path, load_iter: int = -1) -> Path:
    """Return the exported folder of a run (-1: of the newest iteration), or `run_dir` where it is an export itself.

    Raises `UsageError` where there is none.
    """
    if (run_dir / "manifest.json").is_file():
        return run_dir
    exports = {int(match[1]): path for path in (run_dir / "models").glob("train_result_*")
               if (match := _EXPORT_NAME.fullmatch(path.name)) and (path / "manifest.json").is_file()}
    if not exports:
        raise UsageError(f"{run_dir} holds no export (models/train_result_<iter>/manifest.json); give a run folder, or "
                         "export its checkpoint with export.py")
    if load_iter != -1 and load_iter not in exports:
        raise UsageError(f"iteration {load_iter} of {run_dir} has no export; choose one of "
                         f"{', '.join(map(str, sorted(exports)))}")
    return exports[max(exports) if load_iter == -1 else load_iter]


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


def train_and_measure(textures: TextureSet, data_dir: Path, save_dir: Path, preset: str, target_bpp: float,
                      time_budget_s: float, flags: dict[str, object] | None = None) -> tuple[dict, np.ndarray]:
    """Train with `train.py` in a process of its own and measure the export; returns the record and the finest mip.

    `flags` are further ones of train.py, by name. `encode_time_s` is the whole process's wall-clock time. Raises
    `UserError` with the trainer's last words.
    """
    require_writable_folder(save_dir)
    arguments = ["--data_dir", str(data_dir.resolve()), "--save_dir", str(save_dir.resolve()), "--preset", preset,
                 "--target_bpp", f"{target_bpp:g}", "--time_budget", f"{time_budget_s:g}"]
    for name, value in (flags or {}).items():
        arguments += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
    named = "".join(f" {name} {value}" for name, value in (flags or {}).items())
    log_path = save_dir / "train.log"
    start = time.perf_counter()
    with log_path.open("w", encoding="utf-8") as log:
        code = subprocess.run([sys.executable, "train.py", *arguments], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL).returncode
    elapsed = time.perf_counter() - start
    if code:
        lines = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise UserError(f"train.py --preset {preset} --target_bpp {target_bpp:g} ended with code {code}: "
                        f"{lines[-1] if lines else 'no output'} (see {log_path})")
    reader = NeuralTextureReader(find_export(newest_run(save_dir)))
    decoded = reader.decode_uint8(0)
    shown = ["python", "train.py", "--data_dir", str(data_dir), "--save_dir", str(save_dir), *arguments[4:]]
    record = measure_export(textures, reader, decoded, codec=f"neural-{preset}",
                            setting=toolkit_setting(target_bpp, time_budget_s, flags),
                            label=f"neural {preset} {target_bpp:g} bpp {time_budget_s:g} s{named}", time_s=elapsed,
                            command=" ".join(shown))
    return record, decoded


def toolkit_setting(target_bpp: float, time_budget_s: float, flags: dict[str, object] | None = None) -> str:
    """Return the name of a rate, a time budget and further flags, fit for a file name."""
    named = "".join(f"-{name}-{value}" for name, value in (flags or {}).items())
    return re.sub(r"[^\w.=-]+", "_", f"{target_bpp:g}bpp-{time_budget_s:g}s{named}")
