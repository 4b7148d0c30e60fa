"""The end of a run: last evaluation, export, pictures, report and summary; and `--mode infer`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from configs import Config
from dataset import load_texture_set
from model.backends.choose import choose_device, make_backend
from model.layout import model_layout
from reporting.console import decibels, print_summary, say
from reporting.metrics import material_psnr, material_ssim
from reporting.pictures import contact_sheet, map_images
from reporting.report import run_sections, write_report
from training.checkpoint import Checkpoint
from training.evaluate import decode_mip, stored_precision
from training.exporting import ExportSource, export_material
from training.loss import present_channels
from training.resume import check_same_material
from training.run_log import RunLog
from training.session import Session
from utils.clock import Stopwatch
from utils.files import require_writable_folder, write_json, written_aside

SSIM_MOST_TEXELS = 1 << 23
"""SSIM takes minutes on larger mips and is left out there."""
PICTURE_SIDE = 16
"""Smaller mips get no picture in the report."""


def _save_sheet(path: Path, reference: np.ndarray, decoded: np.ndarray, present: dict[str, bool]) -> None:
    """Write a contact sheet of a decoded mip beside its reference, both uint8 [H, W, 11], as PNG."""
    with written_aside(path) as aside:
        contact_sheet(reference, decoded, present).save(aside)


def _similarity(reference: np.ndarray, decoded: np.ndarray, present: dict[str, bool]) -> dict[str, float | None]:
    """Return `material_ssim`, or nothing but None for mips that are too large for it."""
    if reference.shape[0] * reference.shape[1] > SSIM_MOST_TEXELS:
        return {"overall": None, **{name: None for name, there in present.items() if there}}
    return material_ssim(reference, decoded, present)


def finish(session: Session, folder: Path, log: RunLog, watch: Stopwatch) -> dict:
    """Export a trained session into its checkpoint's `folder`, with pictures and a report; returns the manifest."""
    config, texture_set, layout = session.config, session.texture_set, session.layout
    present = texture_set.present
    manifest = export_material(ExportSource(
        layout, session.grid_arrays(), session.backend.network().numpy(), present, texture_set.normal_convention,
        config.export.storage, config.export.dds_mips), folder, texture_set)
    watch.enter("pictures and report")
    with stored_precision(session.backend):
        decoded = [decode_mip(session.backend, session.channels, mip, True) for mip in range(layout.mips)]
        if not config.quantize.quantize:
            unrounded = decode_mip(session.backend, session.channels, 0, False)
    similarity = [_similarity(reference, image, present) for reference, image in zip(texture_set.mips, decoded)]
    manifest["ssim"] = {name: [mip[name] for mip in similarity] for name in manifest["psnr"]}
    write_json(folder / "manifest.json", manifest)
    log.decoded(session.iteration, decoded, [mip["overall"] for mip in similarity])
    for mip, reference in enumerate(texture_set.mips):
        _save_sheet(session.run_dir / "media" / f"iteration_{session.iteration}_mip{mip}.png", reference, decoded[mip],
                    present)
    shown = [mip for mip, image in enumerate(decoded) if min(image.shape[:2]) >= PICTURE_SIDE][:4] or [0]
    write_report(session.run_dir / "report.html", f"{texture_set.name} as a neural texture", run_sections(
        manifest, {mip: texture_set.mips[mip] for mip in shown}, {mip: decoded[mip] for mip in shown},
        history=session.history, time_s=session.training_time_s))
    if not config.quantize.quantize:
        trained = material_psnr(texture_set.mips[0], unrounded, present)["overall"]
        shipped = manifest["psnr"]["overall"][0]
        say("rounding", f"trained without it at {decibels(trained)} dB, exported {decibels(shipped)} dB"
                        + (f": it cost {trained - shipped:.2f} dB" if shipped is not None else ""))
    print_summary(manifest, folder, 8 * len(session.channels), session.training_time_s)
    say("report", session.run_dir / "report.html")
    return manifest


def infer(config: Config, saved: Checkpoint, path: Path) -> Path:
    """Decode every mip of a checkpoint, write metrics and pictures into `<load_dir>/infer`; returns that folder."""
    device = choose_device(config.train.device)
    texture_set = load_texture_set(config.run.data_dir)
    check_same_material(saved, texture_set, path)
    layout = model_layout(config.model, texture_set.width, texture_set.height)
    channels = present_channels(texture_set.present)
    backend = make_backend("torch", layout, channels, device, "float32", torch.Generator().manual_seed(0))
    backend.load_grids(saved.grids)
    backend.load_network(saved.network)
    folder = require_writable_folder(Path(config.run.load_dir) / "infer")
    say("checkpoint", path)
    metrics = {"iteration": saved.iteration, "checkpoint": str(path), "mips": []}
    with stored_precision(backend):
        for mip, reference in enumerate(texture_set.mips):
            decoded = decode_mip(backend, channels, mip, True)
            psnr = material_psnr(reference, decoded, texture_set.present)
            similarity = _similarity(reference, decoded, texture_set.present)
            metrics["mips"].append({"mip": mip, "width": reference.shape[1], "height": reference.shape[0],
                                    "psnr": {k: None if math.isinf(v) else v for k, v in psnr.items()},
                                    "ssim": similarity})
            say(f"mip {mip}", f"{reference.shape[1]} x {reference.shape[0]}, PSNR {decibels(psnr['overall'])} dB"
                + (f", SSIM {similarity['overall']:.4f}" if similarity["overall"] is not None else ""))
            for kind, image in map_images(decoded, texture_set.present):
                with written_aside(folder / f"mip{mip}_{kind}.png") as aside:
                    image.save(aside)
            _save_sheet(folder / f"mip{mip}_compare.png", reference, decoded, texture_set.present)
    write_json(folder / "metrics.json", metrics)
    say("files", folder)
    return folder
