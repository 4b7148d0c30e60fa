"""Training speed on one machine: both backends against a plain PyTorch trainer, beside what the hardware can do.

    python -m benchmarks.gpu --data_dir DIR --out results.json

Writes `results.json` and the same as a table, `results.md`. `--device cpu --quick` runs every part at tiny sizes.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import math
import multiprocessing
import queue
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import product
from pathlib import Path

import torch

from benchmarks.gpu_device import ceilings, hardware
from benchmarks.gpu_table import seconds_to_psnr, table
from benchmarks.plain_trainer import train_plain, wait
from configs import PRESETS, config_from_dict
from dataset import TextureSet, load_texture_set
from model.backends.choose import choose_device, cuda_problem
from model.backends.tcnn_backend import tinycudann_problem
from model.layout import model_layout
from model.precision import set_training_products
from training.cuda_graphs import CudaGraphs
from training.evaluate import evaluate_psnr
from training.loss import present_channels
from training.schedule import rate_factor as schedule
from training.session import open_session
from utils.errors import UsageError, UserError, run_command
from utils.files import require_writable_folder, write_bytes, write_json

PLAIN = "plain PyTorch"
GRAPHS = "torch, CUDA graphs"
OURS = {"torch": ("torch", False), GRAPHS: ("torch", True), "tcnn": ("tcnn", False)}
"""The toolkit's trainers: backend, and whether its steps are captured as CUDA graphs."""
MATERIALS = ("given", "upscaled", "procedural")


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
    batch_size: int
    arithmetic: str
    setup_s: float | None
    """From the loaded images to the first step; None for the plain trainer."""
    steps_per_s: float
    texels_per_s: float
    flop_per_s: float
    """Multiply-adds of the decoder's forward and backward pass, counted twice each, over time; an estimate."""
    grid_bytes_per_s: float
    """Bytes of grid taps read, and of their gradients written, in float32, over time; an estimate."""
    held_bytes: int | None
    """Memory that the training took on the device; None on the CPU."""
    history: list[dict[str, float]]
    """Finest mip: iteration, texels and time_s of training until then, psnr_db."""
    seconds_to_psnr: dict[str, float] = field(default_factory=dict)
    """Training time to each whole dB first reached."""


@dataclass
class Trained:
    """What one training gives: its history as in `Run`, and what went before and beside it."""

    history: list[dict[str, float]]
    arithmetic: str
    setup_s: float | None
    held_bytes: int


def held_bytes(device: torch.device) -> int:
    """Return the memory in use on the device, whoever uses it: tiny-cuda-nn's is not PyTorch's; 0 on the CPU."""
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    return total - free


def train_ours(
    texture_set: TextureSet,
    preset: str,
    trainer: str,
    device: torch.device,
    *,
    seconds: float,
    n_evaluations: int,
    batch_size: int,
) -> Trained:
    """Train with one of `OURS` as `train.py` does with a preset."""
    backend_name, graphs = OURS[trainer]
    config = config_from_dict(PRESETS[preset])
    settings = dataclasses.replace(config.train, backend=backend_name, device=str(device), batch_size=batch_size)
    opened = wait(device)
    session = open_session(dataclasses.replace(config, train=settings), texture_set)
    step = session.training_step(graphs)
    history, iteration, texels, evaluated, evaluation_s, progress, started = [], 0, 0, 0, 0.0, 0.0, wait(device)
    setup_s = started - opened
    while progress < 1:
        batch = session.sampler.draw()
        step(
            batch,
            session.noise(progress),
            schedule(progress, settings.learning_rate_final, settings.learning_rate_schedule),
        )
        iteration, texels = iteration + 1, texels + len(batch.targets)
        progress = (time.perf_counter() - started - evaluation_s) / seconds
        if progress * n_evaluations >= evaluated + 1 or progress >= 1:
            now = wait(device)
            evaluated = int(progress * n_evaluations)
            psnr = evaluate_psnr(session.texture, session.sampler, texture_set.present, config.quantize.quantize, 1)[0][
                "overall"
            ]
            history.append(
                {"iteration": iteration, "texels": texels, "time_s": now - started - evaluation_s, "psnr_db": psnr}
            )
            evaluation_s += wait(device) - now
    held = held_bytes(device)
    session.backend.release()
    notes = "" if not graphs or step.capture else ", no graphs"
    return Trained(history, session.backend.arithmetic + notes, setup_s, held)


def measure(
    texture_set: TextureSet, preset: str, trainer: str, device: torch.device, scale: Scale, batch_size: int
) -> Run:
    """Train once to warm up and once to count, and gather the figures of one trainer on one material."""
    layout = model_layout(config_from_dict(PRESETS[preset]).model, texture_set.width, texture_set.height)
    channels = present_channels(texture_set.present)

    def train(seconds: float, n_evaluations: int) -> Trained:
        if trainer == PLAIN:
            history = train_plain(
                texture_set,
                layout,
                channels,
                seconds=seconds,
                device=device,
                batch_size=batch_size,
                n_evaluations=n_evaluations,
            )
            return Trained(history, "float32", None, held_bytes(device))
        return train_ours(
            texture_set, preset, trainer, device, seconds=seconds, n_evaluations=n_evaluations, batch_size=batch_size
        )

    train(scale.rate_s / 5, 1)
    gc.collect()
    if device.type == "cuda" and not CudaGraphs.failed:
        torch.cuda.empty_cache()
    held = held_bytes(device)
    # The first half of it warms up: every form of batch has its graph by then.
    counted = train(2 * scale.rate_s, 2)
    if len(counted.history) < 2:
        raise UserError(f"a step takes longer than {2 * scale.rate_s:g} s; lower --batch_size")
    first, last = counted.history[0], counted.history[-1]
    rate, texels = ((last[what] - first[what]) / (last["time_s"] - first["time_s"]) for what in ("iteration", "texels"))
    trained = train(scale.train_s, scale.evaluations)
    taps_bytes = sum(4 * grid.n_features * 4 for grid in layout.grids)
    return Run(
        texture_set.name,
        preset,
        trainer,
        batch_size,
        trained.arithmetic,
        trained.setup_s,
        rate,
        texels,
        texels * layout.macs_per_texel * 2 * 3,
        texels * taps_bytes * 2,
        max(counted.held_bytes - held, 0) if device.type == "cuda" else None,
        trained.history,
        seconds_to_psnr(trained.history),
    )


def upscaled_material(folder: Path, side: int, out: Path) -> Path:
    """Write a material's maps enlarged to `side` texels (Lanczos) into `out`, under their own names; returns `out`."""
    from PIL import Image

    texture_set = load_texture_set(folder)
    for name in dict.fromkeys(texture_set.files.values()):
        with Image.open(folder / Path(name).name) as image:
            image.convert("L" if image.mode in ("L", "1", "I", "I;16", "F") else "RGB").resize(
                (side, side), Image.Resampling.LANCZOS
            ).save(out / f"{Path(name).stem}.png", compress_level=1)
    return out


def _train_in_process(
    folder: str,
    max_size: int | None,
    trainer: str,
    device_name: str,
    seconds: float,
    batch_size: int,
    ready,
    start,
    results,
) -> None:
    """One of several processes that train at once; puts its steps per second into `results`."""
    device = torch.device(device_name)
    texture_set = load_texture_set(folder, max_size=max_size)
    train_ours(texture_set, "ue5", trainer, device, seconds=seconds / 5, n_evaluations=1, batch_size=batch_size)
    ready.release()
    start.wait()
    history = train_ours(
        texture_set, "ue5", trainer, device, seconds=seconds, n_evaluations=1, batch_size=batch_size
    ).history
    results.put(history[-1]["iteration"] / history[-1]["time_s"])


def at_once(
    folder: Path, max_size: int | None, trainer: str, device: torch.device, count: int, seconds: float, batch_size: int
) -> list[float]:
    """Train `count` materials at the same time in processes of their own; returns each one's steps per second.

    `max_size`: of the material's longer side, which is reduced to it; None: as it is.

    Raises `UserError` where one of them dies.
    """
    context = multiprocessing.get_context("spawn")
    ready, start, results = context.Semaphore(0), context.Event(), context.Queue()
    processes = [
        context.Process(
            target=_train_in_process,
            args=(str(folder), max_size, trainer, str(device), seconds, batch_size, ready, start, results),
        )
        for _ in range(count)
    ]
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


def materials(data_dir: Path, origins: list[str], scratch: Path, scale: Scale, quick: bool) -> Iterator[TextureSet]:
    """Yield the sets of `MATERIALS` that are asked for."""
    from benchmarks.materials import make_materials

    for origin in dict.fromkeys(origins):
        folder = data_dir
        if origin == "upscaled":
            (scratch / data_dir.name).mkdir()
            folder = upscaled_material(data_dir, scale.large, scratch / data_dir.name)
        elif origin == "procedural":
            folder = make_materials(scratch / "procedural", scale.large, ["tiles"])[0]
        texture_set = load_texture_set(folder, max_size=scale.large if quick else None)
        title = {"given": "", "upscaled": "enlarged ", "procedural": "procedural "}[origin]
        texture_set.name = f"{folder.name} {title}{texture_set.width} x {texture_set.height}"
        yield texture_set


def write_results(results: dict, out: Path) -> str:
    """Write the results so far, as JSON and as a table; returns the table."""
    text = table(results)
    runs = [
        run
        | {
            "history": [
                entry | {"psnr_db": entry["psnr_db"] if math.isfinite(entry["psnr_db"]) else None}
                for entry in run["history"]
            ]
        }
        for run in results["runs"]
    ]
    write_json(out, results | {"runs": runs})
    write_bytes(out.with_suffix(".md"), text.encode("utf-8"))
    return text


def main() -> None:
    """Measure everything and write the results after every training, so that none is lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of images, one material (1K)")
    parser.add_argument("--out", type=Path, required=True, help="JSON file; a .md file is written beside it")
    parser.add_argument("--device", default="cuda", help="cuda or cuda:N; cpu to try the script (default: cuda)")
    parser.add_argument("--presets", nargs="+", default=["ue5", "quality"], choices=list(PRESETS), help="models")
    parser.add_argument(
        "--trainers",
        nargs="+",
        default=[PLAIN, *OURS],
        choices=[PLAIN, *OURS],
        help="trainers; those that this machine cannot run are left out",
    )
    parser.add_argument(
        "--materials",
        nargs="+",
        default=list(MATERIALS),
        choices=MATERIALS,
        help="the folder's own, the same enlarged to 4096, and a procedural one of 4096",
    )
    parser.add_argument(
        "--batch_size",
        type=int,
        nargs="+",
        default=[16384],
        help="texels in one step, one size or several (default: 16384)",
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes and times, to try the script")
    options = parser.parse_args()
    if min(options.batch_size) < 1:
        raise UsageError(f"--batch_size {min(options.batch_size)} is not above 0; give texels, such as 16384")
    if options.device.startswith("cuda") and cuda_problem():
        raise UserError(
            f"this benchmark needs an NVIDIA GPU and there is none ({cuda_problem()}); "
            "`python -m model.doctor` says more, --device cpu --quick tries the script"
        )
    device, scale = choose_device(options.device), QUICK if options.quick else Scale()
    require_writable_folder(options.out.parent)
    if device.index is not None:
        torch.cuda.set_device(device)
    missing = {}
    if device.type != "cuda":
        missing = {GRAPHS: "it needs an NVIDIA GPU", "tcnn": "it needs an NVIDIA GPU"}
    elif tinycudann_problem():
        missing = {"tcnn": tinycudann_problem()}
    trainers = [trainer for trainer in options.trainers if trainer not in missing]
    results = {
        "command": f"python -m benchmarks.gpu {shlex.join(sys.argv[1:])}",
        "hardware": hardware(device),
        "scale": asdict(scale),
        "ceilings": ceilings(device, scale.copy_bytes, scale.matmul),
        "runs": [],
        "notes": [
            f"{trainer} was not measured: {why}" for trainer, why in missing.items() if trainer in options.trainers
        ],
    }

    def attempt(what: str, run: Callable[[], None]) -> None:
        """Do a part; one that fails becomes a note."""
        try:
            run()
        except (RuntimeError, UserError) as error:
            results["notes"].append(f"{what} failed: {' '.join(str(error).split())}")
            print(results["notes"][-1], flush=True)
        write_results(results, options.out)

    def train(texture_set: TextureSet, preset: str, trainer: str, batch_size: int) -> None:
        # Of the plain trainer too, whose products would otherwise be of another precision until ours have run.
        set_training_products(device, True)
        run = measure(texture_set, preset, trainer, device, scale, batch_size)
        results["runs"].append(asdict(run))
        print(
            f"{run.material:<28} {preset:<8} {trainer:<18} {batch_size:>6} {run.steps_per_s:8.1f} steps/s "
            f"{run.history[-1]['psnr_db']:6.2f} dB",
            flush=True,
        )

    def share(trainer: str) -> None:
        alone, together = (
            at_once(
                options.data_dir,
                scale.large if options.quick else None,
                trainer,
                device,
                count,
                scale.rate_s,
                options.batch_size[0],
            )
            for count in (1, 2)
        )
        results["at_once"] = {"trainer": trainer, "alone": alone[0], "together": together}

    data_dir = options.data_dir = options.data_dir.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        for texture_set in materials(data_dir, options.materials, Path(scratch), scale, options.quick):
            for preset, trainer, batch_size in product(options.presets, trainers, options.batch_size):
                attempt(
                    f"{trainer} on {texture_set.name} with {preset}, {batch_size} texels a step,",
                    partial(train, texture_set, preset, trainer, batch_size),
                )
    ours = [trainer for trainer in trainers if trainer != PLAIN]
    if ours:
        attempt("training two materials at once", partial(share, ours[-1]))
    print(f"\n{write_results(results, options.out)}\n{options.out}\n{options.out.with_suffix('.md')}")


if __name__ == "__main__":
    run_command(main)
