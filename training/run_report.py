"""Pictures and report of a run: at its end, and afterwards from its newest checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dataset import TextureSet
from formats.manifest import update_manifest
from formats.reader import NeuralTextureReader
from formats.storage import storage_name
from reporting.decoding import decode_and_measure
from reporting.pictures import contact_sheets
from reporting.quality import deep_figures, error_figures, perceptual_figures, similarity_figures
from reporting.rendered import render_beside
from reporting.report import write_report
from reporting.sections import RunRecord, run_sections
from reporting.summary import view_command
from training.checkpoint import Checkpoint
from training.exporting import Export
from utils.arguments import command_path
from utils.files import write_bytes


def read_export(folder: Path, texture_set: TextureSet) -> Export:
    """Decode an export's mips and take PSNR and the normals' error against `texture_set` anew."""
    reader = NeuralTextureReader(folder)
    decoded, deep_errors = decode_and_measure(reader, texture_set)
    mask = texture_set.mask_for(reader.manifest["wrap"])
    figures = error_figures(dict(enumerate(texture_set.mips)), decoded, texture_set.present, mask)
    figures |= deep_figures(deep_errors)
    # Whatever was measured with a mask that is no longer there goes.
    return Export(
        update_manifest(folder, {"psnr_used": {}, **figures} if "psnr_used" in reader.manifest else figures), decoded
    )


def add_similarity(export: Export, folder: Path, texture_set: TextureSet) -> None:
    """Take SSIM, FLIP and LPIPS of an export's decoded mips and add them to its manifest."""
    references = dict(enumerate(texture_set.mips))
    export.manifest = update_manifest(
        folder,
        {
            **similarity_figures(references, export.decoded, texture_set.present),
            **perceptual_figures(references, export.decoded, texture_set.present),
        },
    )


def write_run_report(
    out: Path, export: Export, texture_set: TextureSet, iteration: int, record: RunRecord, sheets: Mapping[int, bytes]
) -> Path:
    """Write the contact sheets, PNG by mip, and renders into `out`'s `media`, and report.html; returns its path."""
    for mip, png in sheets.items():
        write_bytes(out / "media" / f"iteration_{iteration}_mip{mip}.png", png)
    rendered = render_beside(
        texture_set.mips[0],
        {"neural texture": export.decoded[0]},
        texture_set.shading_maps,
        texture_set.normal_convention,
    )
    write_bytes(out / "media" / f"iteration_{iteration}_rendered.png", rendered.picture)
    path = out / "report.html"
    write_report(
        path,
        f"{texture_set.name} as a neural texture",
        run_sections(
            export.manifest,
            dict(enumerate(texture_set.mips)),
            export.decoded,
            record,
            sheets=sheets,
            rendered=rendered,
            viewer=view_command(out),
        ),
    )
    return path


def _exported_settings(settings: Mapping[str, object], manifest: Mapping) -> dict[str, object]:
    """Return the export's settings as they were, which may not be those of the run."""
    storage = storage_name(manifest) or settings["storage"]
    return {**settings, "dds_mips": manifest.get("dds_mips", True), "storage": storage}


def report_checkpoint(
    run_dir: Path, saved: Checkpoint, export: Export, folder: Path, texture_set: TextureSet, out: Path | None = None
) -> Path:
    """Write figures, pictures and report of a checkpoint whose `export` lies in `folder`; returns the report's path.

    Pictures and report go to `out`, by default the run's folder. The report shows the command that repeats the run, as
    its own is not recorded, and the settings that the files were exported with.
    """
    add_similarity(export, folder, texture_set)
    sheets = contact_sheets(dict(enumerate(texture_set.mips)), export.decoded, texture_set.present)
    exported = _exported_settings(saved.config["export"], export.manifest)
    command = f"python train.py --config {command_path(run_dir / 'config.json')}"
    for name in ("storage", "dds_mips"):
        if exported[name] != saved.config["export"][name]:
            command += f" --{name} {exported[name]}"
    config = {**saved.config, "export": exported}
    record = RunRecord(config, command, saved.lineage, saved.history, {"training": saved.training_time_s})
    return write_run_report(out or run_dir, export, texture_set, saved.iteration, record, sheets)
