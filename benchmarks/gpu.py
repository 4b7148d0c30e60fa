"""Training speed on one machine: both backends against a plain PyTorch trainer, beside what the hardware can do.

    python -m benchmarks.gpu --data_dir DIR --out results.json

Writes `results.json` and the same as a table, `results.md`. `--device cpu --quick` runs every part at tiny sizes.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import multiprocessing
import platform
import queue
import shlex
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from benchmarks.gpu_table import seconds_to_psnr, table
from benchmarks.plain_trainer import train_plain, wait
from configs import PRESETS, ModelConfig, config_from_dict
from dataset import TextureSet, load_texture_set
from evaluate import evaluate_psnr
from loss import present_channels
from model.backend import choose_backend, choose_device, cuda_problem
from model.layout import model_layout
from session import open_session
from train import schedule
from utils.errors import UserError, run_command
from utils.files import require_writable_folder, write_bytes, write_json

PLAIN = "plain PyTorch"
GRAPHS = "torch, CUDA graphs"
OURS = {"torch": ("torch", False), GRAPHS: ("torch", True), "tcnn": ("tcnn", False)}
"""The toolkit's trainers: backend, and whether its steps are captured as CUDA graphs."""


@dataclass
class Scale:
    """How large and how long the parts are."""

    train_s: float = 30.0
    """Training time of each trainer on each material."""
    rate_s: float = 5.0
    """Time over which steps are counted."""
    large: int = 4096
    """Side of the large sets, texels."""
    copy_bytes: int = 1 << 30
    matmul: int = 8192
    evaluations: int = 30


QUICK = Scale(train_s=2.0, rate_s=0.5, large=128, copy_bytes=1 << 24, matmul=256, evaluations=3)


@dataclass
class Run:
    """One trainer on one material."""

    material: str
    preset: str
    trainer: str
    precision: str
    steps_per_s: float
    texels_per_s: float
    flop_per_s: float
    """Multiply-adds of the decoder's forward and backward pass, counted twice each, over time; an estimate."""
    grid_bytes_per_s: float
    """Bytes of grid taps read, and of their gradients written, in float32, over time; an estimate."""
    peak_bytes: int | None
    """Most memory held on the device; None on the CPU."""
    history: list[dict[str, float]]
    """Finest mip: iteration, texels and time_s of training until then, psnr_db."""
    seconds_to_psnr: dict[str, float] = field(default_factory=dict)
    """Training time to each whole dB first reached."""


def train_ours(texture_set: TextureSet, preset: str, trainer: str, device: torch.device, *, seconds: float,
               n_evaluations: int, batch_size: int) -> tuple[list[dict[str, float]], str]:
    """Train with one of `OURS` as `train.py` does with a preset; returns the history and the precision."""
    backend_name, graphs = OURS[trainer]
    config = config_from_dict(PRESETS[preset])
    settings = dataclasses.replace(config.train, backend=backend_name, device=str(device), batch_size=batch_size)
    session = open_session(dataclasses.replace(config, train=settings), texture_set)
    step = session.training_step(graphs)
    finest = TextureSet(**{**vars(texture_set), "mips": texture_set.mips[:1]})
    history, iteration, texels, evaluated, evaluation_s, progress, started = [], 0, 0, 0, 0.0, 0.0, wait(device)
    while progress < 1:
        groups, index = session.sampler.draw()
        step(groups, index, session.noise(progress), schedule(progress, settings.learning_rate_final))
        iteration, texels = iteration + 1, texels + len(index)
        progress = (time.perf_counter() - started - evaluation_s) / seconds
        if progress * n_evaluations >= evaluated + 1 or progress >= 1:
            now = wait(device)
            evaluated = int(progress * n_evaluations)
            psnr = evaluate_psnr(session.backend, finest, session.channels, config.quantize.quantize)[0]["overall"]
            history.append({"iteration": iteration, "texels": texels, "time_s": now - started - evaluation_s,
                            "psnr_db": psnr})
            evaluation_s += wait(device) - now
    if hasattr(session.backend, "release"):
        session.backend.release()
    return history, session.precision


def measure(texture_set: TextureSet, preset: str, trainer: str, device: torch.device, scale: Scale,
            batch_size: int) -> Run:
    """Train once to warm up and once to count, and gather the figures of one trainer on one material."""
    layout = model_layout(config_from_dict(PRESETS[preset]).model, texture_set.width, texture_set.height)
    channels = present_channels(texture_set.present)

    def train(seconds: float, n_evaluations: int) -> tuple[list[dict[str, float]], str]:
        if trainer == PLAIN:
            return train_plain(texture_set, layout, channels, seconds=seconds, device=device, batch_size=batch_size,
                               n_evaluations=n_evaluations), "float32"
        return train_ours(texture_set, preset, trainer, device, seconds=seconds, n_evaluations=n_evaluations,
                          batch_size=batch_size)

    train(scale.rate_s / 5, 1)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    counted, precision = train(scale.rate_s, 1)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    history, _ = train(scale.train_s, scale.evaluations)
    rate, texels = (counted[-1][what] / counted[-1]["time_s"] for what in ("iteration", "texels"))
    taps_bytes = sum(4 * grid.n_features * 4 for grid in layout.grids)
    return Run(texture_set.name, preset, trainer, precision, rate, texels, texels * layout.macs_per_texel * 2 * 3,
               texels * taps_bytes * 2, peak, history, seconds_to_psnr(history))


def ceilings(device: torch.device, scale: Scale) -> dict[str, float]:
    """Measure what the device reaches: bytes/s of a large copy, FLOP/s of a large bfloat16 product."""
    def best(run, repeats: int = 10) -> float:
        run()
        times = []
        for _ in range(repeats):
            start = wait(device)
            run()
            times.append(wait(device) - start)
        return min(times)
    source = torch.zeros(scale.copy_bytes // 4, device=device)
    target = torch.empty_like(source)
    copy_s = best(lambda: target.copy_(source))
    a = torch.randn(scale.matmul, scale.matmul, device=device).to(torch.bfloat16)
    product_s = best(lambda: torch.mm(a, a))
    return {"copy_bytes_per_s": 2 * scale.copy_bytes / copy_s, "bf16_flop_per_s": 2 * scale.matmul ** 3 / product_s}


def upscaled_material(folder: Path, side: int, out: Path) -> Path:
    """Write a material's maps enlarged to `side` texels (Lanczos) into `out`, under their own names; returns `out`."""
    from PIL import Image
    texture_set = load_texture_set(folder)
    for name in dict.fromkeys(texture_set.files.values()):
        with Image.open(folder / Path(name).name) as image:
            image.convert("L" if image.mode in ("L", "1", "I", "I;16", "F") else "RGB").resize(
                (side, side), Image.Resampling.LANCZOS).save(out / f"{Path(name).stem}.png", compress_level=1)
    return out


def _train_in_process(folder: str, trainer: str, device_name: str, seconds: float, batch_size: int, ready, start,
                      results) -> None:
    """One of several processes that train at once; puts its steps per second into `results`."""
    device = torch.device(device_name)
    texture_set = load_texture_set(folder)
    train_ours(texture_set, "ue5", trainer, device, seconds=seconds / 5, n_evaluations=1, batch_size=batch_size)
    ready.release()
    start.wait()
    history, _ = train_ours(texture_set, "ue5", trainer, device, seconds=seconds, n_evaluations=1,
                            batch_size=batch_size)
    results.put(history[-1]["iteration"] / history[-1]["time_s"])


def at_once(folder: Path, trainer: str, device: torch.device, count: int, seconds: float,
            batch_size: int) -> list[float]:
    """Train `count` materials at the same time in processes of their own; returns each one's steps per second.

    Raises `UserError` where one of them dies.
    """
    context = multiprocessing.get_context("spawn")
    ready, start, results = context.Semaphore(0), context.Event(), context.Queue()
    processes = [context.Process(target=_train_in_process, args=(
        str(folder), trainer, str(device), seconds, batch_size, ready, start, results)) for _ in range(count)]
    for process in processes:
        process.start()

    def alive() -> None:
        if any(process.exitcode not in (None, 0) for process in processes):
            for process in processes:
                process.terminate()
            raise UserError(f"one of {count} processes that train at once died; free some device memory and run again")
    for _ in processes:
        while not ready.acquire(timeout=1):
            alive()
    start.set()
    rates = []
    while len(rates) < count:
        try:
            rates.append(results.get(timeout=1))
        except queue.Empty:
            alive()
    for process in processes:
        process.join()
    return rates


def hardware(device: torch.device) -> dict[str, object]:
    """Name the device and the software that ran."""
    names = {"system": platform.platform(), "python": platform.python_version(), "torch": torch.__version__,
             "cuda": torch.version.cuda, "threads": torch.get_num_threads()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return {"name": properties.name, "memory_bytes": properties.total_memory,
                "compute_capability": f"{properties.major}.{properties.minor}", **names}
    return {"name": platform.processor() or platform.machine(), **names}


def main() -> None:
    """Measure everything and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of images, one material (1K)")
    parser.add_argument("--out", type=Path, required=True, help="JSON file; a .md file is written beside it")
    parser.add_argument("--device", default="cuda", help="cuda or cuda:N; cpu to try the script (default: cuda)")
    parser.add_argument("--presets", nargs="+", default=["ue5", "quality"], choices=list(PRESETS), help="models")
    parser.add_argument("--batch_size", type=int, default=16384, help="texels in one step (default: 16384)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes and times, to try the script")
    options = parser.parse_args()
    if options.device.startswith("cuda") and cuda_problem():
        raise UserError(f"this benchmark needs an NVIDIA GPU and there is none ({cuda_problem()}); "
                        "`python -m model.doctor` says more, --device cpu --quick tries the script")
    device, scale = choose_device(options.device), QUICK if options.quick else Scale()
    require_writable_folder(options.out.parent)
    from benchmarks.materials import make_materials
    layout = model_layout(ModelConfig(), 64, 64)
    tcnn = choose_backend("auto", device, layout)
    trainers = [PLAIN, "torch"] + ([GRAPHS] if device.type == "cuda" else []) + (["tcnn"] if tcnn[0] == "tcnn" else [])
    results = {"command": f"python -m benchmarks.gpu {shlex.join(sys.argv[1:])}",
               "hardware": hardware(device), "scale": asdict(scale), "ceilings": ceilings(device, scale), "runs": [],
               "notes": [] if tcnn[0] == "tcnn" else [f"tcnn was not measured: {tcnn[1].removeprefix('torch: ')}"]}
    with tempfile.TemporaryDirectory() as scratch:
        large = Path(scratch) / f"{options.data_dir.resolve().name}_{scale.large}"
        large.mkdir()
        procedural = make_materials(Path(scratch) / f"procedural_{scale.large}", scale.large, ["tiles"])[0]
        folders = [(options.data_dir, scale.large if options.quick else None),
                   (upscaled_material(options.data_dir, scale.large, large), None), (procedural, None)]
        for folder, max_size in folders:
            texture_set = load_texture_set(folder, max_size=max_size)
            texture_set.name = f"{folder.resolve().name} {texture_set.width} x {texture_set.height}"
            for preset in options.presets:
                for trainer in trainers:
                    run = measure(texture_set, preset, trainer, device, scale, options.batch_size)
                    results["runs"].append(asdict(run))
                    print(f"{run.material:<28} {preset:<8} {trainer:<18} {run.steps_per_s:8.1f} steps/s "
                          f"{run.history[-1]['psnr_db']:6.2f} dB", flush=True)
        name = trainers[-1]
        shared = procedural if options.quick else options.data_dir
        alone, together = (at_once(shared, name, device, count, scale.rate_s, options.batch_size) for count in (1, 2))
        results["at_once"] = {"trainer": name, "alone": alone[0], "together": together}
    text = table(results)
    for run in results["runs"]:
        for entry in run["history"]:
            entry["psnr_db"] = entry["psnr_db"] if math.isfinite(entry["psnr_db"]) else None
    write_json(options.out, results)
    write_bytes(options.out.with_suffix(".md"), text.encode("utf-8"))
    print(f"\n{text}\n{options.out}\n{options.out.with_suffix('.md')}")


if __name__ == "__main__":
    run_command(main)
