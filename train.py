"""Train a neural texture from a folder of images, or decode a trained one: `python train.py --help`."""

from __future__ import annotations

import utils.threads  # noqa: F401, before torch

import math
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import torch

import cli
from checkpoint import Checkpoint, checkpoint_folder, find_checkpoint, load_checkpoint, save_checkpoint
from configs import Config, config_to_dict
from console import console, decibels, print_summary, say, training_bar
from dataset import TextureSet, load_texture_set
from evaluate import decode_mip, evaluate_psnr, map_images, stored_precision
from loss import channel_weights, present_channels, texture_loss
from model.backend import choose_backend, choose_device, choose_precision, make_backend
from model.layout import ModelLayout, model_layout
from quantize import noise_amplitude
from sampler import TileSampler
from utils.errors import UsageError, UserError, run_command
from utils.files import require_writable_folder, write_json, written_aside
from utils.interrupt import deferred_interrupt

MAX_GRID_SIDE = 16384
"""Largest side of a 2D texture in Direct3D 12, texels."""
LOG_INTERVAL = 50
"""Iterations between two readings of the loss, which makes the device wait."""


def schedule(fraction: float, final: float) -> float:
    """Return the cosine schedule's factor at a fraction of the run: 1 at 0, `final` at 1.

    >>> schedule(0.0, 0.01), round(schedule(1.0, 0.01), 4)
    (1.0, 0.01)
    """
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0)))


def stalled(history: list[dict[str, float]], interval: int, threshold_db: float) -> str | None:
    """Return why to stop where the mean PSNR of the last `interval` iterations gained less than the threshold.

    The interval before it is compared; None where both are not complete yet or the gain suffices.
    """
    end = history[-1]["iteration"]
    if end % interval or end < 2 * interval:
        return None
    def mean(first: int, last: int) -> float | None:
        values = [entry["psnr_db"] for entry in history if first < entry["iteration"] <= last]
        return sum(values) / len(values) if values else None
    before, after = mean(end - 2 * interval, end - interval), mean(end - interval, end)
    if before is None or after is None:
        return None
    # Two exact intervals are both infinite, and their difference is not a number.
    gain = 0.0 if after == before else after - before
    if not gain < threshold_db:
        return None
    return (f"mean PSNR of iterations {end - interval} to {end} is {after:.3f} dB, {gain:+.3f} dB on the "
            f"{interval} before, below early_stop_psnr_threshold {threshold_db}")


def new_run_folder(save_dir: Path) -> Path:
    """Create a run folder named after the present second, or the next free one."""
    moment = datetime.now()
    while True:
        folder = save_dir / moment.strftime("%Y-%m-%d-%H-%M-%S")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            moment += timedelta(seconds=1)


def check_same_material(saved: Checkpoint, texture_set: TextureSet, path: Path) -> None:
    """Raise `UsageError` where a checkpoint was trained on a material of another size or other maps."""
    found, expected = (texture_set.width, texture_set.height), (saved.width, saved.height)
    if found != expected:
        raise UsageError(f"data_dir holds a {found[0]} x {found[1]} material, {path} was trained on "
                         f"{expected[0]} x {expected[1]}; give the data_dir it was trained on")
    if texture_set.present != saved.present:
        raise UsageError(f"data_dir holds the maps {', '.join(k for k, v in texture_set.present.items() if v)}, {path} "
                         f"was trained on {', '.join(k for k, v in saved.present.items() if v)}; "
                         "give the data_dir it was trained on")


def describe(texture_set: TextureSet, layout: ModelLayout, config: Config, backend: str, precision: str,
             device: torch.device) -> None:
    """Print what is about to be trained."""
    for notice in texture_set.notices:
        say("note", notice)
    say("material", f"{texture_set.name}, {texture_set.width} x {texture_set.height}, {layout.mips} mips: "
                    + ", ".join(name for name, there in texture_set.present.items() if there))
    for index, grid in enumerate(layout.grids):
        say(f"grid {index}", f"{grid.max_resolution} x {grid.max_resolution}, {grid.n_levels} levels, "
                             f"{grid.n_features} features of {grid.quantize_bits} bits, {grid.interpolation}")
    say("decoder", f"{layout.n_inputs} inputs, {layout.n_hidden_layers} x {layout.n_neurons} "
                   f"{config.model.activation}, {layout.n_weights} weights, {layout.macs_per_texel} multiply-adds")
    say("training on", f"{device} with backend {backend}, {precision}, {torch.get_num_threads()} threads")


def train(config: Config, resumed: Checkpoint | None = None, resumed_path: Path | None = None) -> Path:
    """Train, evaluate and export one material; returns the folder of the last checkpoint and its exports."""
    from export import ExportSource, export_material
    from metrics import Lpips
    from run_log import RunLog
    settings, device = config.train, choose_device(config.train.device)
    texture_set = load_texture_set(config.run.data_dir)
    if resumed:
        check_same_material(resumed, texture_set, resumed_path)
        if resumed.iteration >= settings.max_iter:
            raise UsageError(f"{resumed_path} has done {resumed.iteration} iterations, max_iter is "
                             f"{settings.max_iter}; raise --max_iter, the absolute end")
    layout = model_layout(config.model, texture_set.width, texture_set.height)
    for index, grid in enumerate(layout.grids):
        if grid.max_resolution > MAX_GRID_SIDE:
            raise UsageError(f"grid {index} has max_resolution {grid.max_resolution}, GPUs take {MAX_GRID_SIDE} at "
                             "most; lower max_resolution or raise texels_per_cell")
    channels = present_channels(texture_set.present)
    try:
        weights = channel_weights(settings.texture_loss_weights, texture_set.present)
    except ValueError as error:
        raise UsageError(f"texture_loss_weights: {error}; give one of them a weight above 0") from error
    backend_name, why = choose_backend(settings.backend, device, layout)
    if resumed and settings.precision == "auto":
        precision = resumed.precision
    else:
        precision = choose_precision(settings.precision, device)
    if not 0 <= settings.seed < 1 << 64:
        raise UsageError(f"seed is {settings.seed}; give 0 or more, below 2^64")
    save_dir = require_writable_folder(config.run.save_dir)

    generator = torch.Generator().manual_seed(settings.seed)
    backend = make_backend(backend_name, layout, channels, device, precision, generator)
    backend.make_optimizers(settings.optimizer, settings.learning_rate)
    sampler = TileSampler(texture_set, layout, channels, batch_size=settings.batch_size, tile_size=settings.tile_size,
                          mip_floor=settings.mip_floor, seed=settings.seed, device=device)
    noise_generator = torch.Generator(device).manual_seed(settings.seed)
    history, iteration, time_before, lineage = [], 0, 0.0, []
    if resumed:
        backend.load_grids(resumed.grids)
        backend.load_network(resumed.network)
        backend.load_optimizer_state(resumed.optimizer)
        sampler.load_state(resumed.sampler)
        if resumed.noise_rng.numel() == noise_generator.get_state().numel():
            noise_generator.set_state(resumed.noise_rng)
        history, iteration, time_before = list(resumed.history), resumed.iteration, resumed.training_time_s
        lineage = [*resumed.lineage, str(resumed_path.parent.parent.parent)]

    run_dir = new_run_folder(save_dir)
    record = config_to_dict(config) | {"lineage": lineage}
    write_json(run_dir / "config.json", record)
    describe(texture_set, layout, config, backend_name, precision, device)
    if why:
        say("backend", why)
    say("run folder", run_dir)
    lpips = Lpips(device="cpu")
    if not lpips.available:
        say("note", lpips.reason)
    log = RunLog(save_dir / "tensorboard" / run_dir.name, texture_set, lpips)

    def save() -> Path:
        folder = checkpoint_folder(run_dir, iteration)
        save_checkpoint(Checkpoint(
            config_to_dict(config), layout.width, layout.height, dict(texture_set.present),
            texture_set.normal_convention, iteration, training_time_s,
            [[level.detach().cpu() for level in levels] for levels in backend.grids], backend.network(), backend_name,
            precision, backend.optimizer_state(), sampler.state(), noise_generator.get_state(), history, lineage),
            folder)
        return folder

    weights = None if weights is None else weights.to(device)
    linear_diffuse = layout.diffuse_space == "linear" and texture_set.present["diffuse"]
    quantize, stop_reason, loss_value, latest_db = config.quantize, None, math.nan, math.nan
    started, outside_s, training_time_s = time.perf_counter(), 0.0, time_before

    with training_bar(settings.max_iter, iteration) as bar, deferred_interrupt() as interrupted:
        while iteration < settings.max_iter and not stop_reason and not interrupted():
            fraction = iteration / settings.max_iter
            groups, target = sampler.draw()
            noise = [noise_amplitude(iteration, settings.max_iter, quantize.noise_std,
                                     quantize.noise_anneal_fraction, grid.quantize_bits) for grid in layout.grids]
            values = backend.predict(groups, quantize.quantize, noise if quantize.quantize else None, noise_generator)
            loss = texture_loss(values, target, linear_diffuse, weights)
            loss.backward()
            backend.step(schedule(fraction, settings.learning_rate_final))
            iteration += 1

            evaluates = iteration % settings.eval_interval == 0 or iteration == settings.max_iter
            saves = iteration % settings.save_interval == 0 and iteration < settings.max_iter
            if evaluates or saves or iteration % LOG_INTERVAL == 0:
                loss_value = loss.item()
                if not math.isfinite(loss_value):
                    raise UserError(f"the loss is {loss_value} at iteration {iteration}; lower --learning_rate or "
                                    "use --precision float32; checkpoints so far are kept")
                log.loss(iteration, loss_value)
                bar.update(iteration - bar.n)
                bar.set_postfix_str(f"loss {loss_value:.6f}, PSNR {decibels(latest_db)} dB")
            pause = time.perf_counter()
            training_time_s = time_before + pause - started - outside_s
            if evaluates:
                psnr = evaluate_psnr(backend, texture_set, channels, quantize.quantize)
                latest_db = psnr[0]["overall"]
                history.append({"iteration": iteration, "psnr_db": latest_db, "loss": loss_value,
                                "time_s": training_time_s})
                log.psnr(iteration, [mip["overall"] for mip in psnr])
                if not console.is_terminal:
                    say(f"iteration {iteration}", f"loss {loss_value:.6f}, PSNR {decibels(latest_db)} dB, "
                                                  f"{training_time_s:.1f} s")
                if settings.early_stop:
                    stop_reason = stalled(history, settings.early_stop_interval, settings.early_stop_psnr_threshold)
            if saves and not stop_reason:
                save()
            outside_s += time.perf_counter() - pause
    if interrupted():
        say("interrupted", f"saved {save()}; --load_dir {run_dir} goes on from there")
        raise KeyboardInterrupt
    if stop_reason:
        say("early stop", stop_reason)
    folder = save()

    with stored_precision(backend, config.model.network_precision):
        decoded = [decode_mip(backend, channels, mip, True) for mip in range(layout.mips)]
        trained = evaluate_psnr(backend, texture_set, channels, quantize.quantize)[0]["overall"]
    log.decoded(iteration, decoded)
    log.close()
    for mip, reference in enumerate(texture_set.mips):
        save_sheet(run_dir / "media" / f"iteration_{iteration}_mip{mip}.png", reference, decoded[mip],
                   texture_set.present)
    manifest = export_material(ExportSource(
        layout, [[level.detach().cpu().numpy() for level in levels] for levels in backend.grids],
        backend.network().numpy(), texture_set.present, texture_set.normal_convention, config.model.network_precision,
        config.export.storage, config.export.dds_mips), folder, texture_set)
    if not quantize.quantize:
        shipped = manifest["psnr"]["overall"][0]
        say("rounding", f"trained without it at {decibels(trained)} dB, exported {decibels(shipped)} dB"
                        + (f": it cost {trained - shipped:.2f} dB" if shipped is not None else ""))
    print_summary(manifest, folder, 8 * len(channels), training_time_s)
    return folder


def save_sheet(path: Path, reference: np.ndarray, decoded: np.ndarray, present: dict[str, bool]) -> None:
    """Write a contact sheet of a decoded mip beside its reference, both uint8 [H, W, 11], as PNG."""
    from pictures import contact_sheet
    with written_aside(path) as aside:
        contact_sheet(reference, decoded, present).save(aside)


def infer(config: Config, saved: Checkpoint, path: Path) -> Path:
    """Decode every mip of a checkpoint, write metrics and pictures into `<load_dir>/infer`; returns that folder."""
    from metrics import material_psnr, material_ssim
    device = choose_device(config.train.device)
    texture_set = load_texture_set(config.run.data_dir)
    check_same_material(saved, texture_set, path)
    layout = model_layout(config.model, texture_set.width, texture_set.height)
    channels = present_channels(texture_set.present)
    backend_name, _ = choose_backend(config.train.backend, device, layout)
    backend = make_backend(backend_name, layout, channels, device, "float32", torch.Generator().manual_seed(0))
    backend.load_grids(saved.grids)
    backend.load_network(saved.network)
    folder = require_writable_folder(Path(config.run.load_dir) / "infer")
    say("checkpoint", path)
    metrics = {"iteration": saved.iteration, "checkpoint": str(path), "mips": []}
    with stored_precision(backend, config.model.network_precision):
        for mip, reference in enumerate(texture_set.mips):
            decoded = decode_mip(backend, channels, mip, True)
            psnr = material_psnr(reference, decoded, texture_set.present)
            similarity = material_ssim(reference, decoded, texture_set.present)
            metrics["mips"].append({"mip": mip, "width": reference.shape[1], "height": reference.shape[0],
                                    "psnr": {k: None if math.isinf(v) else v for k, v in psnr.items()},
                                    "ssim": similarity})
            say(f"mip {mip}", f"{reference.shape[1]} x {reference.shape[0]}, PSNR {decibels(psnr['overall'])} dB"
                + (f", SSIM {similarity['overall']:.4f}" if similarity["overall"] is not None else ""))
            for kind, image in map_images(decoded, texture_set.present):
                with written_aside(folder / f"mip{mip}_{kind}.png") as aside:
                    image.save(aside)
            save_sheet(folder / f"mip{mip}_compare.png", reference, decoded, texture_set.present)
    write_json(folder / "metrics.json", metrics)
    say("files", folder)
    return folder


def main(argv: list[str] | None = None) -> int:
    """Read the command line and do what it says; returns the exit code."""
    flags = cli.parse_flags(argv)
    run = cli.run_settings(flags)
    resumes = bool(run.load_dir) or run.load_iter is not None or run.mode == "infer"
    if run.groups_batching:
        from groups import train_groups
        if resumes:
            raise UsageError("--groups_batching trains every material anew; leave out --load_dir, --load_iter and "
                             "--mode infer")
        return train_groups(cli.make_config(flags), flags)
    if not resumes:
        train(cli.make_config(flags))
        return 0
    if not run.load_dir:
        raise UsageError("--load_dir is missing; give the run folder, such as outputs/2025-01-31-12-00-00")
    path = find_checkpoint(run.load_dir, run.load_iter)
    saved = load_checkpoint(path)
    config = cli.resume_config(saved.config, flags, path)
    (infer if config.run.mode == "infer" else train)(config, saved, path)
    return 0


def memory_error(error: Exception) -> UserError | None:
    """Return the one line for memory that ran out, of the host or of the GPU; None for any other error."""
    text = str(error)
    if not isinstance(error, MemoryError) and not any(words in text for words in ("out of memory", "allocate memory")):
        return None
    return UserError("not enough memory; lower n_neurons, the grids' max_resolution or batch_size, or use smaller "
                     "images")


def run() -> int:
    """Run `main`; memory that runs out ends it like any other `UserError`."""
    # A terminal that lacks a letter of a path shows ? for it.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    try:
        return main()
    except (MemoryError, RuntimeError) as error:
        if memory_error(error):
            raise memory_error(error) from error
        raise


if __name__ == "__main__":
    run_command(run)
