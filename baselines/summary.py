"""Tables, plots and report sections from records alone."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from baselines.bjontegaard import Point, bd_psnr, bd_rate, psnr_at
from baselines.codecs import CODECS
from reporting.charts import Series, line_chart
from reporting.metrics import channel_ranges
from reporting.report import Picture, Section, Table

ANCHOR = "astc"
"""The codec that others are compared with."""


def materials_of(records: Sequence[dict]) -> list[str]:
    """Return the materials in the order of their first record."""
    return list(dict.fromkeys(record["material"] for record in records))


def curve_name(record: dict) -> str:
    """Return which curve a record lies on: its codec; for this toolkit also the time budget and further flags."""
    return re.sub(r" [\d.]+ bpp\b", "", record["label"]) if record["codec"].startswith("neural") else record["codec"]


def curves_of(records: Sequence[dict]) -> dict[str, list[Point]]:
    """Return curve -> (bits per texel, overall PSNR in dB) of one material; identical outputs have no point."""
    curves: dict[str, list[Point]] = {}
    for record in records:
        if record["psnr"]["overall"] is not None:
            curves.setdefault(curve_name(record), []).append((record["bpp"], record["psnr"]["overall"]))
    return {codec: sorted(points) for codec, points in curves.items()}


def rate_distortion_chart(records: Sequence[dict]) -> bytes:
    """Draw one material's overall PSNR over bits per texel, a line per codec; dashed: without random access."""
    sequential = {curve_name(record) for record in records if not record["random_access"]}
    series = [
        Series(name, [bpp for bpp, _ in points], [psnr_db for _, psnr_db in points], dashed=name in sequential)
        for name, points in curves_of(records).items()
    ]
    return line_chart(series, "bits per texel", "overall PSNR, dB", log_x=True)


def _psnr(record: dict, name: str) -> float | None:
    """Return a record's PSNR in dB for display: `inf` where identical, `None` where the map is missing."""
    return (math.inf if record["psnr"][name] is None else record["psnr"][name]) if name in record["psnr"] else None


def _ssim(record: dict) -> str | None:
    overall = record["ssim"]["overall"]
    return None if overall is None else f"{overall:.4f}"


def encoders_line(records: Sequence[dict]) -> str:
    """Return one line that names what encoded the records, "" where none of them says; encoders differ by decibels."""
    encoders: dict[str, list[str]] = {}
    for record in records:
        if record.get("encoder"):
            encoders.setdefault(record["encoder"], []).append(
                CODECS[record["codec"]].title if record["codec"] in CODECS else record["label"]
            )
    named = (f"{', '.join(dict.fromkeys(titles))} by {encoder}" for encoder, titles in encoders.items())
    return f"Encoded: {'; '.join(named)}." if encoders else ""


def summary_table(records: Sequence[dict]) -> Table:
    """Return one material's records as a table, by rate; `over ASTC` is the PSNR gain at equal bits per texel."""
    names = [name for name in channel_ranges() if any(name in record["psnr"] for record in records)]
    anchor = curves_of(records).get(ANCHOR, [])
    rows = []
    for record in sorted(records, key=lambda record: -record["bpp"]):
        psnr, at_rate = _psnr(record, "overall"), psnr_at(anchor, record["bpp"])
        gain = None if psnr is None or at_rate is None or record["codec"] == ANCHOR else psnr - at_rate
        rows.append(
            [
                record["label"],
                record["bpp"],
                psnr,
                None if gain is None else f"{gain:+.2f}",
                *(_psnr(record, name) for name in names),
                _ssim(record),
                record["normal_angle_deg"],
                None if record["flip"] is None else f"{record['flip']:.4f}",
                record["encode_time_s"],
                record["macs_per_texel"],
                None if record["bytes_fetched_per_texel"] is None else f"{record['bytes_fetched_per_texel']:g}",
                record["random_access"],
            ]
        )
    header = [
        "codec",
        "bpp",
        "PSNR dB",
        "over ASTC dB",
        *names,
        "SSIM",
        "normal angle deg",
        "FLIP",
        "encode s",
        "MACs/texel",
        "bytes/texel",
        "random access",
    ]
    return Table(header, rows, encoders_line(records))


def bjontegaard_table(records: Sequence[dict]) -> Table | None:
    """Return the mean gain and change of rate of every codec against ASTC, per material; `None` without ASTC."""
    rows = []
    for material in materials_of(records):
        curves = curves_of([record for record in records if record["material"] == material])
        anchor = curves.pop(ANCHOR, [])
        for codec, points in curves.items():
            gain, rate = bd_psnr(anchor, points), bd_rate(anchor, points)
            if gain is not None or rate is not None:
                rows.append(
                    [
                        material,
                        codec,
                        None if gain is None else f"{gain:+.2f}",
                        None if rate is None else f"{rate:+.1f}",
                    ]
                )
    return (
        Table(
            ["material", "codec", "BD-PSNR dB", "BD-rate %"],
            rows,
            "Against ASTC; a dash where the curves do not overlap",
        )
        if rows
        else None
    )


def material_sections(records: Sequence[dict], crops: dict[str, list[Picture]]) -> list[Section]:
    """Return a section per material: its curve, its table and its zoomed crops; `crops` is by material."""
    sections = []
    for material in materials_of(records):
        ours = [record for record in records if record["material"] == material]
        size = f"{ours[0]['width']} x {ours[0]['height']} texels"
        sections.append(
            Section(
                material,
                [
                    f"{size}, finest mip. Measured on {ours[0]['hardware']}.",
                    Picture(rate_distortion_chart(ours), "Dashed: no random access."),
                    summary_table(ours),
                    *crops.get(material, []),
                ],
            )
        )
    return sections


def shown_beside(records: Sequence[dict], focus: dict) -> list[dict]:
    """Return, for each other codec, the record whose rate is nearest to that of `focus`."""
    others: dict[str, dict] = {}
    for record in records:
        if record["codec"] != focus["codec"]:
            best = others.get(record["codec"])
            distance = abs(math.log(record["bpp"] / focus["bpp"]))
            if best is None or distance < abs(math.log(best["bpp"] / focus["bpp"])):
                others[record["codec"]] = record
    return list(others.values())


def crop_label(record: dict) -> str:
    """Return the two lines above a codec's column of crops: what it is, and its rate and PSNR."""
    psnr = record["psnr"]["overall"]
    return f"{record['label']}\n{record['bpp']:.1f} bpp, {'identical' if psnr is None else f'{psnr:.1f} dB'}"
