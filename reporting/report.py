"""Self-contained HTML reports: one file with every picture inside, that a double click opens."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from reporting.charts import Series, line_chart
from reporting.metrics import channel_ranges, material_psnr, material_ssim, normal_angle
from reporting.pictures import contact_sheet, zoom_crops
from utils.files import write_bytes

_STYLE = """
:root { color-scheme: light dark; --ink: #1d1d1f; --soft: #6e6e73; --ground: #ffffff; --line: #d8d8dc; --row: #f5f5f7; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ea; --soft: #9a9aa0; --ground: #18181a; --line: #3a3a3e; --row: #222225; } }
body { margin: 2rem auto; max-width: 84rem; padding: 0 1rem; color: var(--ink); background: var(--ground);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p { margin: .4rem 0; } .table, figure { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; } thead th { color: var(--soft); font-weight: 600; }
tbody tr:nth-child(even) { background: var(--row); }
img { display: block; max-width: 100%; height: auto; } img.texels { max-width: none; image-rendering: pixelated; }
figcaption, caption { color: var(--soft); font-size: .9rem; text-align: left; }
"""


CROP_CAPTIONS = {"worst": "The region where the first codec's error is largest.",
                 "typical": "A region where the first codec's error is the median."}


@dataclass
class Table:
    """Rows of strings and numbers; numbers get two decimals, `None` a dash."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""


@dataclass
class Picture:
    """A Pillow image, PNG bytes or an SVG chart."""

    image: Image.Image | bytes
    caption: str = ""


@dataclass
class Section:
    """A titled part of a report: paragraphs (plain strings), tables and pictures in order."""

    title: str
    blocks: list[str | Table | Picture] = field(default_factory=list)


def format_cell(value: object) -> str:
    """Write a table cell: floats with two decimals, whole numbers with separators, `None` as a dash.

    >>> format_cell(3.14159), format_cell(1048576), format_cell(None), format_cell(float("inf"))
    ('3.14', '1,048,576', '-', 'identical')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return "identical" if math.isinf(value) else f"{value:.2f}"
    return str(value)


def markdown_table(table: Table) -> str:
    """Return a table as Markdown, numbers aligned right."""
    lines = [list(table.header), ["---"] + ["---:"] * (len(table.header) - 1)]
    lines += [[format_cell(cell).replace("|", "\\|") for cell in row] for row in table.rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _table_html(table: Table) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in table.header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(format_cell(cell))}</td>" for cell in row) + "</tr>\n"
                   for row in table.rows)
    caption = f"<caption>{html.escape(table.caption)}</caption>" if table.caption else ""
    return f'<div class="table"><table>{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n'


def _picture_html(picture: Picture) -> str:
    data = picture.image
    if isinstance(data, Image.Image):
        buffer = io.BytesIO()
        data.save(buffer, "PNG", optimize=True)
        data = buffer.getvalue()
    is_png = data.startswith(b"\x89PNG")
    source = f"data:image/{'png' if is_png else 'svg+xml'};base64,{base64.b64encode(data).decode('ascii')}"
    kind = ' class="texels"' if is_png else ""
    caption = f"<figcaption>{html.escape(picture.caption)}</figcaption>" if picture.caption else ""
    return f'<figure><img{kind} src="{source}" alt="{html.escape(picture.caption)}">{caption}</figure>\n'


def write_report(path: str | Path, title: str, sections: Sequence[Section]) -> None:
    """Write one HTML file with everything inside; raises `UserError` where it cannot be written."""
    parts = [f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
             f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
             f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style></head>\n"
             f"<body>\n<h1>{html.escape(title)}</h1>\n"]
    for section in sections:
        parts.append(f"<section><h2>{html.escape(section.title)}</h2>\n")
        for block in section.blocks:
            if isinstance(block, Table):
                parts.append(_table_html(block))
            elif isinstance(block, Picture):
                parts.append(_picture_html(block))
            else:
                parts.append(f"<p>{html.escape(block)}</p>\n")
        parts.append("</section>\n")
    parts.append("</body></html>\n")
    write_bytes(path, "".join(parts).encode("utf-8"))


def quality_tables(references: Mapping[int, np.ndarray], decoded: Mapping[int, np.ndarray],
                   present: Mapping[str, bool]) -> list[Table]:
    """Measure PSNR, SSIM and the normals' mean angle of decoded mips: a row per mip, a column per map."""
    names = ["overall"] + [name for name in channel_ranges() if present.get(name)]
    rows: dict[str, list[list[object]]] = {"psnr": [], "ssim": []}
    for mip, ours in references.items():
        size = f"{mip} ({ours.shape[1]} x {ours.shape[0]})"
        psnr = material_psnr(ours, decoded[mip], present)
        ssim = material_ssim(ours, decoded[mip], present)
        row: list[object] = [size] + [psnr[name] for name in names]
        if present.get("normal"):
            normal = channel_ranges()["normal"]
            row.append(normal_angle(ours[..., normal], decoded[mip][..., normal]))
        rows["psnr"].append(row)
        if ssim["overall"] is not None:
            rows["ssim"].append([size] + [f"{ssim[name]:.4f}" for name in names])
    header = ["mip"] + names + (["normal angle, degrees"] if present.get("normal") else [])
    tables = [Table(header, rows["psnr"], "PSNR in dB, 8-bit output in the file's coding")]
    if rows["ssim"]:
        tables.append(Table(["mip"] + names, rows["ssim"], "SSIM (mips of at least 11 texels a side)"))
    return tables


def training_section(history: Sequence[Mapping[str, float]]) -> Section:
    """Draw PSNR of the finest mip and the loss over iterations; `history` has one entry per evaluation."""
    section = Section("Training")
    for key, y_label, log_y in (("psnr_db", "PSNR, dB", False), ("loss", "loss", True)):
        points = [(entry["iteration"], entry[key]) for entry in history if math.isfinite(entry.get(key, math.nan))]
        if len(points) > 1:
            x, y = zip(*points)
            section.blocks.append(Picture(line_chart([Series(y_label, x, y)], "iteration", y_label, log_y=log_y,
                                                     markers=len(points) < 50, size=(8, 2.8))))
    if not section.blocks:
        section.blocks.append("There is no training curve: fewer than two evaluations were recorded.")
    return section


def run_sections(manifest: Mapping, references: Mapping[int, np.ndarray], decoded: Mapping[int, np.ndarray], *,
                 history: Sequence[Mapping[str, float]] = (), time_s: float | None = None,
                 others: Mapping[str, np.ndarray] | None = None, label: str = "neural texture") -> list[Section]:
    """Describe one exported run.

    `references` and `decoded` are mip -> uint8 `[H, W, 11]`; `others` are other codecs' finest mips by label, shown
    beside this run's in the zoomed crops; `time_s` is the training time; `history` as a checkpoint holds it.
    """
    present = {channel["name"]: channel["present"] for channel in manifest["channels"]}
    raw_bpp = 8 * sum(channel["count"] for channel in manifest["channels"] if channel["present"])
    finest = min(references)
    rows = [["texture set", f"{manifest['width']} x {manifest['height']}, {manifest['mips']} mips"],
            ["maps", ", ".join(name for name, is_present in present.items() if is_present)],
            ["bits per texel", f"{manifest['bpp']:.2f} (with all mips {manifest['bpp_mips']:.2f})"],
            ["compression ratio", f"{raw_bpp / manifest['bpp']:.1f} : 1 against 8-bit maps ({raw_bpp} bits per texel)"],
            ["bytes on disk", sum(entry["bytes"] for entry in manifest["files"])],
            ["runtime cost", f"{manifest['network']['macs_per_texel']:,} multiply-adds and "
                             f"{manifest['bytes_per_texel']:g} bytes fetched per texel"],
            ["UE5 plugin can read it", bool(manifest["ue5_plugin"])]]
    if time_s is not None:
        rows.append(["training time", f"{time_s:.1f} s"])
    sheets = Section("Contact sheets")
    for mip in references:
        sheets.blocks.append(Picture(contact_sheet(references[mip], decoded[mip], present), f"mip {mip}"))
    crops = Section("Zoomed crops of the finest mip")
    for name, image in zoom_crops(references[finest], {label: decoded[finest], **(others or {})}, present).items():
        crops.blocks.append(Picture(image, CROP_CAPTIONS[name]))
    return [Section("Summary", [Table(["property", "value"], rows), *quality_tables(references, decoded, present)]),
            training_section(history), crops, sheets]
