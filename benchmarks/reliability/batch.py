"""A batch as it is left running overnight: good groups and poisoned ones, and what a second worker brings."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.reliability.outputs import check_outputs
from benchmarks.reliability.parts import Options
from benchmarks.reliability.poison import POISONS
from benchmarks.reliability.trained import FLAGS, arguments, write_material
from utils.files import read_json

ROOT = Path(__file__).resolve().parent.parent.parent
GROUPS, SHORT_GROUPS = 100, 13
"""Groups, ten of them poisoned."""
TIMED_GROUPS, TIMED_ITERATIONS = 12, 1500
ASKED_RATIO = 1.7
LIMIT_S = 1800


def run(options: Options) -> dict:
    """Train good and poisoned groups by one command, then, unless `short`, good ones by one worker and by two."""
    poisoned, faults = _with_poison(options.work / "poisoned", SHORT_GROUPS if options.short else GROUPS)
    timed, found = ([], []) if options.short else _two_workers(options.work / "timed")
    return {"rows": [poisoned, *timed], "faults": faults + found, "poisons": poisoned.pop("poisons")}


def _with_poison(work: Path, groups: int) -> tuple[dict[str, Any], list[str]]:
    names = {f"group_{10 * number + 5:03d}_{what.replace(' ', '_')}": what for number, what in enumerate(POISONS)}
    for name, what in names.items():
        POISONS[what](work / "materials" / name)
    good = [f"group_{number:03d}_good" for number in range(groups - len(names))]
    for number, name in enumerate(good):
        write_material(work / "materials" / name, 64, number)
    settings = {**FLAGS, "max_iter": 20, "report": False}
    print(f"  {groups} groups by 2 workers", flush=True)
    code, time_s, printed = _batch(work, settings, workers=2, threads=2)
    summary: Any = read_json(work / "out" / "summary.json")
    states = {entry["name"]: entry for entry in summary["groups"]}
    faults = [f"{name} is {states.get(name, {}).get('state')}" for name in good if not _is_done(states.get(name))]
    causes = {}
    for name, what in names.items():
        entry = states.get(name)
        # A folder without images is no group, but named all the same.
        lines = [line for line in printed.splitlines() if name in line and not line.endswith(f" {name}")]
        cause = entry["cause"] if entry and entry["state"] == "failed" else (lines or [""])[-1].strip()
        causes[what] = cause.replace(f"{work / 'materials'}{os.sep}", "")
        if _is_done(entry):
            faults.append(f"{what}: trained as if nothing were wrong")
        elif not causes[what]:
            faults.append(f"{what}: named nowhere")
    if code != 1:
        faults.append(f"exit code {code}, not 1")
    if "Traceback" in printed:
        faults.append("a traceback on the terminal")
    faults += check_outputs(work / "out").broken
    row = {
        "what": f"{groups} groups, {len(names)} poisoned",
        "workers": 2,
        "threads each": 1,
        "done": sum(_is_done(states.get(name)) for name in good),
        "named": sum(bool(cause) for cause in causes.values()),
        "time s": time_s,
        "groups per minute": "-",
    }
    return row | {"poisons": causes}, faults


def _is_done(entry: dict[str, Any] | None) -> bool:
    return bool(entry) and entry["state"] == "done"  # type: ignore[index]


def _two_workers(work: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Time good groups, without what it takes to train one, which is the command's start."""
    groups = TIMED_GROUPS
    settings = {**FLAGS, "max_iter": TIMED_ITERATIONS, "batch_size": 4096}
    settings |= {"eval_interval": 100, "save_interval": 100, "report": False}
    for number in range(groups):
        write_material(work / "materials" / f"group_{number:02d}", 128, number)
    rows, faults, per_minute = [], [], []
    for workers in (1, 2):
        print(f"  {groups} groups, {workers} at a time", flush=True)
        code, time_s, printed = _batch(work / str(workers), settings, workers, workers, work / "materials")
        if code != 0:
            faults.append(f"{workers} workers: exit code {code}: {printed.strip()[-300:]}")
        per_minute.append(60 * groups / time_s)
        rows.append(
            {
                "what": f"{groups} good groups" + (f", {per_minute[1] / per_minute[0]:.2f} x" if workers == 2 else ""),
                "workers": workers,
                "threads each": 1,
                "done": groups if code == 0 else 0,
                "named": 0,
                "time s": time_s,
                "groups per minute": f"{per_minute[-1]:.1f}",
            }
        )
    ratio = per_minute[1] / per_minute[0]
    if (os.cpu_count() or 1) >= 2 and ratio < ASKED_RATIO:
        faults.append(f"two workers have {ratio:.2f} times the throughput of one, {ASKED_RATIO} is asked")
    return rows, faults


def _batch(
    work: Path, settings: dict[str, object], workers: int, threads: int, materials: Path | None = None
) -> tuple[int, float, str]:
    """Train a folder of materials; returns exit code, seconds and all that was printed."""
    flags: Sequence[str] = [
        "--groups_batching",
        *arguments(**settings, groups_max_workers=workers),
        *arguments(groups_batch_dir=materials or work / "materials", groups_save_dir=work / "out"),
    ]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "train.py", *flags],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=LIMIT_S,
    )
    return done.returncode, round(time.perf_counter() - started, 1), done.stdout
