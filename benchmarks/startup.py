"""Seconds around a training: `python -m benchmarks.startup --data_dir DIR --out FILE.json`.

Runs `train.py` for a few steps, several times, and looks at it from outside: from the command to the last step
(training aside), training, and from the last step, when its checkpoint is written, to the prompt. One more run tells
what the imports cost.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from baselines.hardware import hardware_name
from formats.manifest import find_export
from utils.arguments import OneLineParser
from utils.errors import UsageError, UserError, run_command
from utils.files import write_json

ROOT = Path(__file__).resolve().parent.parent
SECTIONS = ("command to last step, training aside", "training", "last step to prompt", "in all")


def run_once(
    data_dir: Path, preset: str, steps: int, save_dir: Path, interpreter_flags: Sequence[str] = ()
) -> tuple[dict[str, float], subprocess.CompletedProcess]:
    """Train for `steps` into a new folder; returns seconds by section and the finished process.

    Raises `UserError` with the trainer's last words.
    """
    from benchmarks.toolkit import newest_run
    from training.checkpoint import load_checkpoint

    command = [
        sys.executable,
        *interpreter_flags,
        "train.py",
        "--data_dir",
        data_dir,
        "--save_dir",
        save_dir,
        "--preset",
        preset,
        "--max_iter",
        steps,
        "--eval_interval",
        steps,
        "--save_interval",
        steps,
        "--early_stop",
        False,
        "--time_budget",
        0,
    ]
    started = time.time()
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL,
    )
    ended = time.time()
    if done.returncode:
        raise UserError(f"train.py ended with code {done.returncode}: {(done.stderr.strip() or 'no output')[-300:]}")
    checkpoint = find_export(newest_run(save_dir)) / "model.pth"
    last_step = checkpoint.stat().st_mtime
    training_s = load_checkpoint(checkpoint).training_time_s
    return dict(
        zip(SECTIONS, (last_step - started - training_s, training_s, ended - last_step, ended - started), strict=True)
    ), done


def import_seconds(importtime: str, most: int = 8) -> dict[str, float]:
    """Add up what `-X importtime` wrote to stderr: seconds of the costliest packages, each without what it imports.

    >>> import_seconds("import time: 2000 | 9000 | torch.nn\\nimport time: 1000000 | 1000000 | torch")
    {'torch': 1.002}
    """
    seconds: dict[str, float] = {}
    for self_us, module in re.findall(r"^import time:\s*(\d+) \|\s*\d+ \|\s*([\w.]+)", importtime, re.M):
        package = module.partition(".")[0]
        seconds[package] = seconds.get(package, 0.0) + int(self_us) / 1e6
    return dict(sorted(seconds.items(), key=lambda item: -item[1])[:most])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write the results."""
    parser = OneLineParser(prog="python -m benchmarks.startup", description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True, type=Path, help="material folder")
    parser.add_argument("--preset", default="ue5")
    parser.add_argument("--steps", type=int, default=20, help="training steps (default: 20)")
    parser.add_argument("--turns", type=int, default=3, help="runs, of which minimum and median count (default: 3)")
    parser.add_argument("--out", help="JSON file for the results")
    options = parser.parse_args(argv)
    if min(options.steps, options.turns) < 1:
        raise UsageError("--steps and --turns must be above 0; give whole numbers")
    data_dir, runs = options.data_dir.resolve(), []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.turns):
            runs.append(run_once(data_dir, options.preset, options.steps, Path(folder) / str(turn))[0])
        _, done = run_once(data_dir, options.preset, options.steps, Path(folder) / "imports", ["-X", "importtime"])
    imports = import_seconds(done.stderr)
    for section in SECTIONS:
        times = [run[section] for run in runs]
        print(f"{section:<40}{min(times):6.1f} s minimum, {statistics.median(times):.1f} s median of {len(times)}")
    for package, package_s in imports.items():
        print(f"{'import of ' + package:<40}{package_s:6.1f} s")
    if options.out:
        write_json(
            options.out,
            {
                "hardware": hardware_name(),
                "data_dir": str(options.data_dir),
                "preset": options.preset,
                "steps": options.steps,
                "seconds": runs,
                "import_seconds": imports,
            },
        )
        print(f"{'results':<40}{options.out}")
    return 0


if __name__ == "__main__":
    run_command(main)
