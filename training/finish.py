"""The end of a run: export, figures, pictures, report and summary; and `--mode infer`."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from baselines.standing import Standing, stand_beside_astc
from configs import Config, compares_with_astc, config_to_dict
from dataset import TextureSet, load_texture_set
from formats.figures import State, figure, show
from formats.manifest import update_manifest
from model.decoder.canonical import canonical_weights, stored_precision
from reporting.console import say, with_unit
from reporting.metrics import material_psnr
from reporting.pictures import contact_sheets, map_images, png_bytes
from reporting.quality import similarity_figures
from reporting.sections import RunRecord
from reporting.summary import print_summary
from training.checkpoint import Checkpoint
from training.evaluate import decode_mip
from training.export_source import ExportSource, checkpoint_source
from training.exporting import Export, export_material
from training.resume import check_same_material
from training.run_log import RunLog
from training.run_report import add_similarity, write_run_report
from training.session import Session
from utils.arguments import command_path
from utils.clock import Stopwatch
from utils.files import require_writable_folder, write_bytes, write_json

REPORT = "figures and report"
"""Phase of what follows the export."""
COMPARISON = "ASTC"
"""Phase of encoding the material as ASTC."""
BETTER_PRESET = "quality"
"""The preset with the most quality per bit, which takes a shader that `export.py --shaders` writes."""


def command_line() -> str:
    """Return the command that this process runs, as it is typed."""
    return " ".join(["python", *map(command_path, sys.argv)])


def finish(session: Session, folder: Path, log: RunLog, watch: Stopwatch) -> dict:
    """Export a trained session into its checkpoint's `folder`, with figures, pictures and a report.

    Returns the manifest. `watch` is left in a phase of its own, so that it tells how long this took.
    """
    config, texture_set, layout, run_dir = session.config, session.texture_set, session.layout, session.run_dir
    present = texture_set.present
    watch.enter("export")
    export = export_material(
        ExportSource(
            layout,
            [[level.numpy() for level in levels] for levels in session.host_grids()],
            canonical_weights(session.texture.decoder).numpy(),
            present,
            texture_set.normal_convention,
            config.export.storage,
            config.export.dds_mips,
            texture_set.map_facts,
            session.notices,
        ),
        folder,
        texture_set,
    )
    watch.enter(REPORT)
    add_similarity(export, folder, texture_set)
    log.figures(session.iteration, export.manifest)
    standing = None
    if compares_with_astc(config):
        watch.enter(COMPARISON)
        standing = stand_beside_astc(texture_set, export.decoded[0], export.manifest["bpp"])
        if isinstance(standing, Standing):
            export.manifest = update_manifest(folder, {"beside_astc": standing.record()})
        watch.enter(REPORT)
    report = None
    if config.export.report and run_dir:
        sheets = contact_sheets(dict(enumerate(texture_set.mips)), export.decoded, present)
        record = RunRecord(
            config_to_dict(config),
            command_line(),
            session.lineage,
            session.history,
            {phase: time_s for phase, time_s in watch.seconds().items() if phase != REPORT},
            "until the report",
        )
        report = write_run_report(run_dir, export, texture_set, session.iteration, record, sheets)
        log.pictures(session.iteration, sheets)
    if not config.quantize.quantize:
        _say_rounding(session, export.manifest)
    print_summary(export.manifest, folder, watch.seconds())
    if isinstance(standing, str):
        say("beside ASTC", standing)
    if config.run.preset != BETTER_PRESET:
        say(
            "more quality per bit",
            f"--preset {BETTER_PRESET}, for a shader of your own, which export.py --shaders writes",
        )
    if report:
        say("report", report)
    return export.manifest


def _say_rounding(session: Session, manifest: dict) -> None:
    """Say what rounding at the export cost a run that was trained without it."""
    with stored_precision(session.texture.decoder):
        unrounded = decode_mip(session.texture, 0, False)
    trained = material_psnr(session.texture_set.mips[0], unrounded, session.texture_set.present)["overall"]
    shipped = figure(manifest, "psnr", "overall", 0)
    cost = "" if isinstance(shipped, State) or math.isinf(trained) else f": it cost {trained - shipped:.2f} dB"
    say("rounding", f"trained without it at {with_unit(trained)}, exported {with_unit(shipped)}{cost}")


def infer(config: Config, saved: Checkpoint, path: Path) -> Path:
    """Decode every mip of a checkpoint, write metrics and pictures into `<load_dir>/infer`; returns that folder.

    The checkpoint is exported into a temporary folder and read back, so that figures and pictures are those of the
    files.
    """
    texture_set = load_texture_set(config.run.data_dir, images=config.images)
    check_same_material(saved, texture_set, path)
    folder = require_writable_folder(path.parent.parent.parent / "infer")
    say("checkpoint", path)
    source = checkpoint_source(saved)
    source.storage, source.dds_mips = config.export.storage, config.export.dds_mips
    with tempfile.TemporaryDirectory() as scratch:
        export = export_material(source, scratch, texture_set)
    references, present = dict(enumerate(texture_set.mips)), texture_set.present
    export.manifest |= similarity_figures(references, export.decoded, present)
    sheets = contact_sheets(references, export.decoded, present)
    for mip, (height, width) in enumerate(reference.shape[:2] for reference in texture_set.mips):
        psnr, ssim = (figure(export.manifest, metric, "overall", mip) for metric in ("psnr", "ssim"))
        if mip not in export.decoded:
            say(f"mip {mip}", f"{width} x {height}, not stored: the export holds the finest levels alone")
            continue
        say(
            f"mip {mip}",
            f"{width} x {height}, PSNR {with_unit(psnr)}"
            + ("" if isinstance(ssim, State) else f", SSIM {show(ssim, 4)}"),
        )
        for name, image in map_images(export.decoded[mip], present):
            write_bytes(folder / f"mip{mip}_{name}.png", png_bytes(image))
        write_bytes(folder / f"mip{mip}_compare.png", sheets[mip])
    write_json(
        folder / "metrics.json",
        {
            "iteration": saved.iteration,
            "checkpoint": str(path),
            "null": "identical to the original; a figure that was not measured is left out",
            "mips": [_mip_metrics(export, texture_set, mip) for mip in references],
        },
    )
    say("files", folder)
    return folder


def _mip_metrics(export: Export, texture_set: TextureSet, mip: int) -> dict[str, object]:
    """Return one mip's entry of metrics.json; null is identical, and a mip that is not stored has no figures."""
    height, width = texture_set.mips[mip].shape[:2]
    entry: dict[str, object] = {"mip": mip, "width": width, "height": height, "stored": mip in export.decoded}
    for metric in ("psnr", "psnr_used", "psnr_16bit", "ssim", "normal_angle_deg", "flip"):
        listed = export.manifest.get(metric, {})
        names = listed if isinstance(listed, Mapping) else ["normal"]
        found = {name: figure(export.manifest, metric, name, mip) for name in names}
        values = {
            name: None if value is State.IDENTICAL else value
            for name, value in found.items()
            if value not in (State.NOT_STORED, State.NOT_MEASURED)
        }
        if values:
            entry[metric] = values if isinstance(listed, Mapping) else values["normal"]
    return entry
