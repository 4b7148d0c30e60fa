"""The same bytes from the same seed: in fresh processes, resumed, in batches; and what another number of threads changes."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from benchmarks.reliability.parts import Options, progress
from benchmarks.reliability.trained import FLAGS, arguments, export_bytes, exports_below, write_material
from formats.manifest import read_manifest

ROOT = Path(__file__).resolve().parent.parent.parent
PRESETS, SHORT_PRESETS = ("ue5", "quality", "mobile"), ("ue5",)
ITERATIONS, HALF = 60, 30
LIMIT_S = 300


def run(options: Options) -> dict:
    """Compare the bytes of exports, manifests included, between runs that have to be equal."""
    work, rows, faults = options.work, [], []
    for name in ("moss", "wall"):
        write_material(work / "materials" / name, 64, len(name))
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    presets = SHORT_PRESETS if options.short else PRESETS
    with progress(len(presets) * len(devices), "presets") as bar:
        for preset, device in itertools.product(presets, devices):
            row, found = _compared(work / f"{preset}_{device}", work / "materials", preset, device, options.short)
            rows.append(row)
            faults += found
            bar.update()
    return {"rows": rows, "faults": faults}


def _compared(
    work: Path, materials: Path, preset: str, device: str, short: bool
) -> tuple[dict[str, object], list[str]]:
    settings = {**FLAGS, "max_iter": ITERATIONS, "save_interval": HALF, "keep_checkpoints": 9, "report": False}
    settings |= {"preset": preset, "device": device}
    single = arguments(**settings, data_dir=materials / "wall")
    work.mkdir(parents=True)
    # Side by side, as their times are of no interest; another order of Python's sets must not matter either.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {
            "first": pool.submit(_train, work / "first", [*single, "--save_dir", work / "first"], 1, "1"),
            "fresh": pool.submit(_train, work / "fresh", [*single, "--save_dir", work / "fresh"], 1, "2"),
        }
        if not short:
            # Nothing is asked of another number of threads.
            flags = [*single, "--save_dir", work / "threads"]
            jobs["threads"] = pool.submit(_train, work / "threads", flags, 2, "3")
        batch = ["--groups_batching", "--groups_max_workers", "2", *arguments(**settings)]
        batch += ["--groups_batch_dir", materials, "--groups_save_dir", work / "batch"]
        # Two threads are one for each of the workers.
        jobs["batch"] = pool.submit(_train, work / "batch", batch, 2, "4")
        failed = [f"{preset} on {device}, {name}: {job.result()}" for name, job in jobs.items() if job.result()]
    if failed:
        return _row(preset, device, None, None, None, None, None), failed
    run_dir = exports_below(work / "first")[-1].parent.parent
    resumed = ["--load_dir", run_dir, "--load_iter", HALF, "--save_dir", work / "resumed"]
    problem = _train(work / "resumed", resumed, 1, "5")
    if problem:
        return _row(preset, device, None, None, None, None, None), [f"{preset} on {device}, resumed: {problem}"]

    exports = {name: exports_below(work / name)[-1] for name in (*jobs.keys() - {"batch"}, "resumed")}
    exports["batch"] = exports_below(work / "batch" / "wall")[-1]
    files = {name: export_bytes(folder) for name, folder in exports.items()}
    faults = [
        f"{preset} on {device}: {name} differs in {file}"
        for name in ("fresh", "resumed", "batch")
        for file in sorted(files["first"].keys() | files[name].keys())
        if files[name].get(file) != files["first"].get(file)
    ]
    psnr_db = {name: read_manifest(folder)["psnr"]["overall"][0] for name, folder in exports.items()}
    same = {name: files[name] == files["first"] for name in files}
    gain_db = None if short else psnr_db["threads"] - psnr_db["first"]
    row = _row(preset, device, same["fresh"], same["resumed"], same["batch"], same.get("threads"), gain_db)
    return row, faults


def _row(
    preset: str,
    device: str,
    fresh: bool | None,
    resumed: bool | None,
    batch: bool | None,
    threads: bool | None,
    gain_db: float | None,
) -> dict[str, object]:
    return {
        "preset": preset,
        "device": device,
        "fresh process": fresh,
        "resumed": resumed,
        "in a batch": batch,
        "2 threads, not 1": threads,
        "dB by that": "-" if gain_db is None else f"{gain_db:+.3f}",
    }


def _train(log: Path, flags: Sequence[object], threads: int, hash_seed: str) -> str:
    """Train in a process of its own; returns what went wrong, empty where nothing did."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "train.py", *map(str, flags)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace", timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return f"takes longer than {LIMIT_S} s"
    return "" if done.returncode == 0 else f"exit code {done.returncode}: {done.stderr.strip()[-300:]}"
