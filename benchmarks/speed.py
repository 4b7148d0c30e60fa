"""Speed and memory of training on this machine: `python -m benchmarks.speed --data_dir DIR --out speed.json`.

Measures the time of a training step, the time to a PSNR, peak memory at the material's size and at 4096 x 4096 x 11,
and, side by side in one run, our trainer against a plain one (`--plain`), this checkout against another one
(`--baseline FOLDER`) and sleeping against spinning worker threads (`--threads`). Every measurement runs in a process of
its own, so that peak memory is its own too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import utils.threads  # noqa: F401, before torch
from baselines.hardware import hardware_name
from utils.arguments import OneLineParser
from utils.errors import UsageError, UserError, run_command
from utils.files import write_bytes, write_json

ROOT = Path(__file__).resolve().parent.parent


def peak_memory_bytes() -> int:
    """Return the most memory this process has held, bytes."""
    try:
        import resource
    except ImportError:  # Windows
        import ctypes
        from ctypes import wintypes

        class Counters(ctypes.Structure):
            _fields_ = [
                ("cb", wintypes.DWORD),
                ("faults", wintypes.DWORD),
                *(
                    (name, ctypes.c_size_t)
                    for name in ("peak", "working", "a", "b", "c", "d", "pagefile", "peak_pagefile")
                ),
            ]

        counters = Counters()
        counters.cb = ctypes.sizeof(counters)
        handle = ctypes.WinDLL("kernel32").GetCurrentProcess
        handle.restype = wintypes.HANDLE
        ctypes.WinDLL("psapi").GetProcessMemoryInfo(wintypes.HANDLE(handle()), ctypes.byref(counters), counters.cb)
        return counters.peak
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def run_training(options: argparse.Namespace) -> dict[str, object]:
    """Train for `options.seconds` of clock, or for `options.steps` steps if there are any, evaluating mip 0 off the
    clock; returns steps, times, history, memory.
    """
    from dataset import load_texture_set
    from training import flags as cli
    from training.evaluate import evaluate_psnr
    from training.rates import estimated_bpp
    from training.schedule import rate_factor as schedule
    from training.session import open_session, planned_config

    texture_set = load_texture_set(options.data_dir, max_size=options.size or None)
    config = cli.make_config({"preset": options.preset, **json.loads(options.flags)})
    session = open_session(planned_config(config, texture_set), texture_set)
    config, layout = session.config, session.layout
    step = session.training_step()
    clock, steps, texels, history, next_look = 0.0, 0, 0, [], 1.0

    def look() -> None:
        psnr = evaluate_psnr(session.texture, session.sampler, texture_set.present, True, 1)[0]["overall"]
        history.append({"time_s": round(clock, 2), "iteration": steps, "psnr_db": round(psnr, 3)})

    while (done := steps / options.steps if options.steps else clock / options.seconds) < 1:
        start = time.perf_counter()
        batch = session.sampler.draw()
        step(
            batch,
            session.noise(done),
            schedule(done, config.train.learning_rate_final, config.train.learning_rate_schedule),
        )
        clock += time.perf_counter() - start
        steps += 1
        texels += len(batch.targets)
        if options.look and clock >= next_look:
            next_look += options.look
            look()
    look()
    return {
        "material": texture_set.name,
        "width": texture_set.width,
        "height": texture_set.height,
        "preset": options.preset,
        "precision": session.precision,
        "steps": steps,
        "step_ms": 1000 * clock / steps,
        "texels_per_step": texels / steps,
        "nanoseconds_per_texel": 1e9 * clock / texels,
        "bpp": estimated_bpp(layout, config.export.storage, len(session.channels)),
        "psnr_db": history[-1]["psnr_db"],
        "history": history,
        "peak_memory_bytes": peak_memory_bytes(),
    }


def run_plain(options: argparse.Namespace) -> dict[str, object]:
    """Train the same model with the plain trainer for `options.seconds` of clock."""
    import torch

    from benchmarks.plain_trainer import train_plain
    from dataset import load_texture_set
    from model.layout import model_layout
    from training import flags as cli
    from training.loss import present_channels

    config = cli.make_config({"preset": options.preset, **json.loads(options.flags)})
    texture_set = load_texture_set(options.data_dir, max_size=options.size or None)
    layout = model_layout(config.model, texture_set.width, texture_set.height)
    history = train_plain(
        texture_set, layout, present_channels(texture_set.present), seconds=options.seconds, device=torch.device("cpu")
    )
    return {
        "material": texture_set.name,
        "preset": options.preset,
        "history": history,
        "peak_memory_bytes": peak_memory_bytes(),
    }


def in_process(
    job: str, environment: dict[str, str] | None = None, checkout: Path = ROOT, **options: object
) -> dict[str, object]:
    """Run one job of this module, or of that in another checkout, in a fresh process and return what it measured."""
    command = [sys.executable, "-m", "benchmarks.speed", "--job", job]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(
        command, cwd=checkout, env={**os.environ, **(environment or {})}, capture_output=True, text=True
    )
    if done.returncode:
        last_words = done.stderr.strip().splitlines()[-1:] or ["no output"]
        raise UserError(f"the measurement in {checkout} failed: {last_words[0]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare_checkouts(baseline: Path, turns: int, **options: object) -> dict[str, object]:
    """Time training steps of another checkout and of this one in turns; returns step times in ms and their ratio.

    In turns, because a machine's speed drifts: what slows one down then slows the other one too.
    """
    step_ms: dict[str, list[float]] = {"baseline": [], "this": []}
    psnr_db = {}
    for _ in range(turns):
        for name, checkout in (("baseline", baseline), ("this", ROOT)):
            run = in_process("train", checkout=checkout, **options)
            step_ms[name].append(run["step_ms"])
            psnr_db[name] = run["psnr_db"]
    summary = {
        name: {
            "step_ms": times,
            "minimum_ms": min(times),
            "median_ms": statistics.median(times),
            "psnr_db": psnr_db[name],
        }
        for name, times in step_ms.items()
    }
    return {
        "baseline_folder": str(baseline),
        "steps": options["steps"],
        **summary,
        **{
            f"{which}_ratio": summary["this"][f"{which}_ms"] / summary["baseline"][f"{which}_ms"]
            for which in ("minimum", "median")
        },
    }


def print_comparison(compared: dict[str, object]) -> None:
    """Print what `compare_checkouts` gives."""
    for name, label in (("baseline", "baseline"), ("this", "this checkout")):
        times = compared[name]
        print(
            f"{label:<24}{times['minimum_ms']:.2f} ms minimum, {times['median_ms']:.2f} ms median of "
            f"{len(times['step_ms'])} turns of {compared['steps']} steps, {times['psnr_db']:.2f} dB after them"
        )
    print(f"{'this / baseline':<24}{compared['minimum_ratio']:.3f} minimum, {compared['median_ratio']:.3f} median")


def seconds_to(history: list[dict[str, float]], psnr_db: float) -> float | None:
    """Return the first time at which a history reaches a PSNR, None where it never does."""
    return next((entry["time_s"] for entry in history if entry["psnr_db"] >= psnr_db), None)


def write_charts(results: dict, path: Path) -> list[Path]:
    """Draw quality over time and cost over size as SVG beside the results at `path`; returns what was written."""
    from reporting.charts import Series, line_chart

    charts = {}
    lines = [
        Series(
            label,
            [entry["time_s"] for entry in results[job]["history"]],
            [entry["psnr_db"] for entry in results[job]["history"]],
        )
        for job, label in (("training", "this toolkit"), ("plain", "plain trainer"))
        if job in results
    ]
    if any(len(line.x) > 1 for line in lines):
        charts["progress"] = line_chart(lines, "training time, s", "overall PSNR, dB", log_x=True)
    sides = sorted(int(name.split("_")[1]) for name in results if name.startswith("side_"))
    if len(sides) > 1:
        cost = Series("time", sides, [results[f"side_{side}"]["nanoseconds_per_texel"] for side in sides])
        charts["sizes"] = line_chart([cost], "texels on a side", "training time per drawn texel, ns", log_x=True)
    written = []
    for name, chart in charts.items():
        written.append(path.with_name(f"{path.stem}_{name}.svg"))
        write_bytes(written[-1], chart)
    return written


def main() -> int:
    parser = OneLineParser(prog="benchmarks.speed", description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True, help="material folder")
    parser.add_argument("--preset", default="ue5")
    parser.add_argument("--seconds", type=float, default=8.0, help="training clock of each measurement, s")
    parser.add_argument("--steps", type=int, default=0, help="fixed steps of each measurement instead of seconds")
    parser.add_argument("--size", type=int, default=0, help="longer side that the material is reduced to; 0: as it is")
    parser.add_argument("--look", type=float, default=1, help="clock between two evaluations, s; 0: at the end alone")
    parser.add_argument("--flags", default="{}", help="JSON object of further train.py flags")
    parser.add_argument("--plain", type=float, default=0, metavar="S", help="also run the plain trainer for S seconds")
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="FOLDER",
        help="only time another checkout of this repository and this one in turns",
    )
    parser.add_argument("--turns", type=int, default=5, help="turns of each checkout (default: 5)")
    parser.add_argument("--threads", action="store_true", help="also compare sleeping with spinning worker threads")
    parser.add_argument("--memory_4k", action="store_true", help="also train a 4096 x 4096 x 11 set for a few steps")
    parser.add_argument("--sizes", action="store_true", help="also time 512 to 4096 on a side (linear cost)")
    parser.add_argument("--out", default="", help="JSON file for the results")
    parser.add_argument("--job", choices=("train", "plain"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps((run_training if options.job == "train" else run_plain)(options)))
        return 0

    common = {
        "data_dir": Path(options.data_dir).resolve(),
        "preset": options.preset,
        "size": options.size,
        "flags": options.flags,
    }
    results: dict[str, object] = {
        "hardware": hardware_name(),
        "command": " ".join(["python -m benchmarks.speed", *sys.argv[1:]]),
    }
    if options.baseline:
        if not (options.baseline / "benchmarks" / "speed.py").is_file():
            raise UsageError(f"{options.baseline} is no checkout of this repository: it has no benchmarks/speed.py")
        if options.turns < 1:
            raise UsageError(f"--turns {options.turns} is not above 0; give a number such as 5")
        results["comparison"] = compare_checkouts(
            options.baseline.resolve(), options.turns, steps=options.steps or 200, look=0, **common
        )
        print_comparison(results["comparison"])
        if options.out:
            write_json(options.out, results)
            print(f"{'results':<24}{options.out}")
        return 0
    ours = in_process("train", seconds=options.seconds, steps=options.steps, look=options.look, **common)
    results["training"] = ours
    print(f"{'step':<24}{ours['step_ms']:.2f} ms for {ours['texels_per_step']:.0f} texels, {ours['precision']}")
    print(
        f"{'quality':<24}{ours['psnr_db']:.2f} dB after {ours['history'][-1]['time_s']:g} s at {ours['bpp']:.2f} "
        "bits per texel"
    )
    print(f"{'peak memory':<24}{ours['peak_memory_bytes'] / 2**30:.2f} GiB at {ours['width']} x {ours['height']}")
    if options.plain:
        plain = in_process("plain", seconds=options.plain, look=0, **common)
        results["plain"] = plain
        best = plain["history"][-1]["psnr_db"]
        reached = seconds_to(ours["history"], best)
        factor = f"{options.plain / reached:.1f} times faster" if reached else "our run did not reach it"
        print(f"{'plain trainer':<24}{best:.2f} dB after {options.plain:g} s; ours {reached} s: {factor}")
    if options.threads:
        for policy in ("PASSIVE", "ACTIVE"):
            timed = in_process("train", {"OMP_WAIT_POLICY": policy}, seconds=options.seconds / 2, look=0, **common)
            results[f"threads_{policy.lower()}"] = timed
            print(f"{'OMP_WAIT_POLICY ' + policy:<24}{timed['step_ms']:.2f} ms a step")
    if options.sizes or options.memory_4k:
        import tempfile

        from benchmarks.materials import make_materials

        with tempfile.TemporaryDirectory() as folder:
            made = make_materials(Path(folder), 4096, ["painted_metal"])[0]
            for side in (512, 1024, 2048, 4096) if options.sizes else (4096,):
                timed = in_process(
                    "train",
                    seconds=options.seconds,
                    look=0,
                    preset=options.preset,
                    data_dir=made,
                    size=side,
                    flags=options.flags,
                )
                results[f"side_{side}"] = timed
                print(
                    f"{f'{side} x {side}':<24}{timed['nanoseconds_per_texel']:.0f} ns a texel, peak memory "
                    f"{timed['peak_memory_bytes'] / 2**30:.2f} GiB"
                )
    if options.out:
        write_json(options.out, results)
        print(f"{'results':<24}{options.out}")
        for path in write_charts(results, Path(options.out)):
            print(f"{'chart':<24}{path}")
    return 0


if __name__ == "__main__":
    run_command(main)
