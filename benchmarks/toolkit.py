"""This toolkit as one more codec: trained through its command line, measured on the files it exports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.results import measure_export
from formats.manifest import find_export
from formats.reader import NeuralTextureReader
from utils.errors import UserError
from utils.files import require_writable_folder

if TYPE_CHECKING:
    import numpy as np

    from dataset import TextureSet

ROOT = Path(__file__).resolve().parent.parent
_RUN_NAME = re.compile(r"\d{4}(-\d\d){5}")


def newest_run(save_dir: Path) -> Path:
    """Return the newest run folder below `save_dir`; raises `UserError` where there is none."""
    runs = sorted(path for path in save_dir.glob("*") if path.is_dir() and _RUN_NAME.fullmatch(path.name))
    if not runs:
        raise UserError(f"{save_dir} holds no run folder; train.py must have failed, see its log there")
    return runs[-1]


def train_and_measure(
    textures: TextureSet,
    data_dir: Path,
    save_dir: Path,
    preset: str,
    target_bpp: float,
    time_budget_s: float | None,
    flags: dict[str, object] | None = None,
) -> tuple[dict, np.ndarray]:
    """Train with `train.py` in a process of its own and measure the export; returns the record and the finest mip.

    `flags` are further ones of train.py, by name; without a time budget they say how long it trains. `encode_time_s`
    is the whole process's wall-clock time. Raises `UserError` with the trainer's last words.
    """
    require_writable_folder(save_dir)
    arguments = [
        "--data_dir",
        str(data_dir.resolve()),
        "--save_dir",
        str(save_dir.resolve()),
        "--preset",
        preset,
        "--target_bpp",
        f"{target_bpp:g}",
    ]
    if time_budget_s:
        arguments += ["--time_budget", f"{time_budget_s:g}"]
    for name, value in (flags or {}).items():
        arguments += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
    named = "".join(f" {name} {value}" for name, value in (flags or {}).items())
    log_path = save_dir / "train.log"
    start = time.perf_counter()
    with log_path.open("w", encoding="utf-8") as log:
        code = subprocess.run(
            [sys.executable, "train.py", *arguments],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        ).returncode
    elapsed = time.perf_counter() - start
    if code:
        lines = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise UserError(
            f"train.py --preset {preset} --target_bpp {target_bpp:g} ended with code {code}: "
            f"{lines[-1] if lines else 'no output'} (see {log_path})"
        )
    reader = NeuralTextureReader(find_export(newest_run(save_dir)))
    decoded = reader.decode_uint8(0)
    shown = ["python", "train.py", "--data_dir", str(data_dir), "--save_dir", str(save_dir), *arguments[4:]]
    record = measure_export(
        textures,
        reader,
        decoded,
        codec=f"neural-{preset}",
        setting=toolkit_setting(target_bpp, time_budget_s, flags),
        label=f"neural {preset} {target_bpp:g} bpp{f' {time_budget_s:g} s' if time_budget_s else ''}{named}",
        time_s=elapsed,
        command=" ".join(shown),
    )
    return record, decoded


def toolkit_setting(target_bpp: float, time_budget_s: float | None, flags: dict[str, object] | None = None) -> str:
    """Return the name of a rate, a time budget and further flags, fit for a file name."""
    named = "".join(f"-{name}-{value}" for name, value in (flags or {}).items())
    time = f"-{time_budget_s:g}s" if time_budget_s else ""
    return re.sub(r"[^\w.=-]+", "_", f"{target_bpp:g}bpp{time}{named}")
