"""The sections of a run's report; every figure in them is the manifest's."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from formats.figures import State, figure, show
from images.mips import mip_size
from reporting.charts import Series, line_chart
from reporting.metrics import SSIM_WINDOW
from reporting.pictures import contact_sheets, zoom_crops
from reporting.rendered import Rendered, rendered_section
from reporting.report import Block, Command, Picture, Section, Table
from reporting.summary import mip_label, present_maps, summary_lines

CROP_CAPTIONS = {
    "worst": "The region with the largest error of the first column beside the reference.",
    "typical": "A region with the median of that error.",
}


@dataclass
class RunRecord:
    """What is known of a run beside its files."""

    config: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Settings by section, plain values."""
    command: str = ""
    lineage: Sequence[str] = ()
    """Run folders that this run goes back to, the oldest first."""
    history: Sequence[Mapping[str, float]] = ()
    """Evaluations, as a checkpoint holds them."""
    times: Mapping[str, float] = field(default_factory=dict)
    """Seconds by what they were spent on."""
    span: str = ""
    """What part of the run the times are, where that is not all of it."""


def quality_tables(manifest: Mapping) -> list[Block]:
    """Return PSNR with the figures of single maps beside it, and SSIM: a row per mip."""
    names = list(manifest["psnr"])
    if not names:
        return ["Quality was not measured: the images were not there."]
    extra = [
        ("normal_angle_deg", "normal", "normal angle, degrees", 2),
        ("flip", "diffuse", "FLIP of diffuse", 4),
        ("lpips", "diffuse", "LPIPS of diffuse", 4),
    ]
    extra = [column for column in extra if manifest.get(column[0])]
    used = manifest.get("psnr_used")
    if used:
        extra.insert(0, ("psnr_used", "overall", "overall, used texels", 2))
    extra = [("psnr_16bit", name, f"{name}, 16 bits", 2) for name in manifest.get("psnr_16bit", ())] + extra
    mips = range(manifest["mips"])

    def row(mip: int, cells: list[tuple[str, str, int]]) -> list[str]:
        return [
            f"{mip}: {mip_label(manifest, mip)}",
            *(show(figure(manifest, metric, name, mip), decimals) for metric, name, decimals in cells),
        ]

    psnr = [("psnr", name, 2) for name in names] + [(metric, name, decimals) for metric, name, _, decimals in extra]
    tables: list[Block] = [
        Table(
            ["mip", *names, *(title for _, _, title, _ in extra)],
            [row(mip, psnr) for mip in mips],
            "PSNR in dB, 8-bit output in the file's coding, read back from the exported files. Overall: from the mean "
            "squared error over all channels."
            + (" Used texels: the same, each texel by the share that a mask does not leave out." if used else "")
            + (" 16 bits: the same of 16-bit output, of maps that are deeper." if manifest.get("psnr_16bit") else ""),
        )
    ]
    ssim = [
        mip
        for mip in mips
        if min(mip_size(manifest["width"], manifest["height"], mip)) >= SSIM_WINDOW
        and figure(manifest, "ssim", "overall", mip) is not State.NOT_MEASURED
    ]
    if manifest.get("ssim") and ssim:
        tables.append(
            Table(
                ["mip", *names],
                [row(mip, [("ssim", name, 4) for name in names]) for mip in ssim],
                f"SSIM, of mips with at least {SSIM_WINDOW} texels a side. Overall: mean over the maps.",
            )
        )
    return tables


def training_section(history: Sequence[Mapping[str, float]]) -> Section:
    """Draw PSNR of the finest mip and the loss over iterations; `history` has one entry per evaluation."""
    section = Section("Training")
    for key, y_label, log_y, caption in (
        ("psnr_db", "PSNR, dB", False, "PSNR of the finest mip, overall, at the evaluations on the way."),
        ("loss", "loss", True, "Loss of the batch at those iterations."),
    ):
        points = [
            (entry["iteration"], entry[key])
            for entry in history
            if math.isfinite(entry.get(key, math.nan)) and (entry[key] > 0 or not log_y)
        ]
        if len(points) > 1:
            x, y = zip(*points)
            section.blocks.append(
                Picture(
                    line_chart(
                        [Series(y_label, x, y)],
                        "iteration",
                        y_label,
                        log_y=log_y,
                        markers=len(points) < 50,
                        size=(8, 2.8),
                    ),
                    caption,
                )
            )
    if not section.blocks:
        section.blocks.append("There is no training curve: fewer than two evaluations were recorded.")
    return section


def _setting(value: object) -> str:
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return "-" if value in (None, "") else str(value)


def origin_section(manifest: Mapping, record: RunRecord) -> Section:
    """Say what a run was made from: its command, source files and settings, and the runs it goes back to."""
    section = Section("How it was made")
    if record.command:
        section.blocks.append(Command(record.command))
    if record.lineage:
        section.blocks.append("Resumed from " + ", which was resumed from ".join(reversed(record.lineage)) + ".")
    if manifest.get("sources"):
        section.blocks.append(Table(["map", "source file"], list(manifest["sources"].items()), is_text=True))
    rows = [
        [f"{group}.{name}", _setting(value)]
        for group, values in record.config.items()
        for name, value in values.items()
    ]
    if rows:
        section.blocks.append(Table(["setting", "value"], rows, "Settings", is_text=True))
    return section


def run_sections(
    manifest: Mapping,
    references: Mapping[int, np.ndarray],
    decoded: Mapping[int, np.ndarray],
    record: RunRecord | None = None,
    *,
    others: Mapping[str, np.ndarray] | None = None,
    label: str = "neural texture",
    sheets: Mapping[int, bytes] | None = None,
    rendered: Rendered | None = None,
    viewer: str = "",
) -> list[Section]:
    """Describe one exported run.

    `manifest` holds the figures; `references` and `decoded` are mip -> uint8 `[H, W, 11]`, read from the files;
    `others` are other codecs' finest mips by label, shown beside this run's in the zoomed crops; `sheets` are the
    contact sheets by mip where they were drawn before, PNG; `rendered` are renders of the finest mip; `viewer` is the
    command that shows the run live.
    """
    record, present = record or RunRecord(), present_maps(manifest)
    summary = Section(
        "Summary", [Table(["property", "value"], summary_lines(manifest, record.times, record.span), is_text=True)]
    )
    summary.blocks += [f"Note: {notice}." for notice in manifest.get("notices", ())]
    crops = Section("Zoomed crops of the finest mip")
    for name, image in zoom_crops(references[0], {label: decoded[0], **(others or {})}, present).items():
        crops.blocks.append(Picture(image, CROP_CAPTIONS[name], texels=True))
    contact = Section(
        "Contact sheets",
        [
            Picture(sheet, f"mip {mip}, {mip_label(manifest, mip)}")
            for mip, sheet in (sheets or contact_sheets(references, decoded, present)).items()
        ],
    )
    missing = [str(mip) for mip in range(manifest["mips"]) if mip not in decoded]
    if missing:
        contact.blocks.append(f"Not stored in the exported files: mip {', '.join(missing)}.")
    light = [rendered_section(rendered)] if rendered else []
    if viewer:
        light = light or [Section("Under light")]
        light[0].blocks += ["To turn it under other light, beside the original, in a browser:", Command(viewer)]
    quality = Section("Quality", quality_tables(manifest))
    sections = [summary, *light, quality, training_section(record.history), crops, contact]
    origin = origin_section(manifest, record)
    return sections + ([origin] if origin.blocks else [])
