"""Tables, plots and report sections from records alone."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from baselines.bjontegaard import Point, bd_psnr, bd_rate
from baselines.codecs import CODECS
from baselines.equal import Figure, gain_at_equal_rate, rate_of_equal_error
from reporting.charts import Series, line_chart
from reporting.metrics import channel_ranges
from reporting.report import Picture, Section, Table

ANCHOR = "astc"
"""The codec that others are compared with."""
BOUND = "bound"
"""What the Gaussian bound is called among codecs."""
CHART_CAPTION = "Dashed: no random access; also the bound, which is the limit and no codec."


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
    """Draw one material's overall PSNR over bits per texel, a line per codec, as `CHART_CAPTION` says."""
    sequential = {curve_name(record) for record in records if not record["random_access"] or record["codec"] == BOUND}
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


def below_bound(record: dict) -> float | None:
    """Return how many decibels a record lies below the bound at its rate; `None` where one of both has no number."""
    bound, psnr = record.get("bound_psnr_db"), record["psnr"]["overall"]
    return None if bound is None or psnr is None or record["codec"] == BOUND else bound - psnr


def closed_form_curve(record: dict, records: Sequence[dict]) -> list[Point]:
    """Return the curve of the KLT with the largest blocks that the record's image has enough of; empty without one.

    A transform of larger blocks than the bound was taken from would know the image by heart, for its basis is not
    counted.
    """
    sides = {int(codec.removeprefix("klt")): curve for codec, curve in curves_of(records).items() if "klt" in codec}
    fitting = [side for side in sides if side <= record.get("bound_side", 0)]
    return sides[max(fitting)] if fitting else []


def error_curve(records: Sequence[dict], codec: str, figure: str) -> list[Point]:
    """Return (bits per texel, error) of the records of a codec that have this figure, such as `flip_lit`."""
    return [
        (record["bpp"], record[figure])
        for record in records
        if record["codec"] == codec and record.get(figure) is not None
    ]


def over_anchor(record: dict, records: Sequence[dict], anchor: str = ANCHOR) -> Figure | None:
    """Return a record's gain in dB over a codec's curve at its rate; `None` for that codec itself."""
    if record["psnr"]["overall"] is None or record["codec"] == anchor:
        return None
    return gain_at_equal_rate(curves_of(records).get(anchor, []), record["bpp"], record["psnr"]["overall"])


def anchor_rate(record: dict, records: Sequence[dict], figure: str) -> Figure | None:
    """Return the bits per texel at which ASTC has the record's `flip` or `flip_lit`; `None` for ASTC itself."""
    if record["codec"] == ANCHOR or record.get(figure) is None:
        return None
    return rate_of_equal_error(error_curve(records, ANCHOR, figure), record[figure])


def _shown(figure: Figure | None, form: str) -> str | None:
    return None if figure is None else figure.text(form)


def _decimals(value: float | None, form: str) -> str | None:
    return None if value is None else f"{value:{form}}"


Column = tuple[str, Callable[[dict], object]]
"""Head of a column and what it shows of a record."""


def _table(records: Sequence[dict], columns: Sequence[Column], caption: str) -> Table:
    """Return records by rate, the highest first; columns that no record has are left out."""
    ordered = sorted(records, key=lambda record: -record["bpp"])
    cells = [(name, [value(record) for record in ordered]) for name, value in columns]
    kept = [(name, values) for name, values in cells if any(value is not None for value in values)]
    return Table([name for name, _ in kept], [list(row) for row in zip(*(values for _, values in kept))], caption)


def summary_table(records: Sequence[dict]) -> Table:
    """Return one material's records as a table, by rate.

    `below bound` is the distance to the Gaussian bound, `over ASTC` the PSNR gain at equal bits per texel; the column of
    ASTC after each FLIP has the bits per texel at which ASTC has the same.
    """
    columns: list[Column] = [
        ("codec", lambda record: record["label"]),
        ("bpp", lambda record: record["bpp"]),
        ("below bound dB", lambda record: _decimals(below_bound(record), ".2f")),
        ("PSNR dB", lambda record: _psnr(record, "overall")),
        ("over ASTC dB", lambda record: _shown(over_anchor(record, records), "+.2f")),
        ("FLIP lit", lambda record: _decimals(record.get("flip_lit"), ".4f")),
        ("ASTC bpp, equal FLIP lit", lambda record: _shown(anchor_rate(record, records, "flip_lit"), ".1f")),
        ("FLIP diffuse", lambda record: _decimals(record["flip"], ".4f")),
        ("ASTC bpp, equal FLIP diffuse", lambda record: _shown(anchor_rate(record, records, "flip"), ".1f")),
        ("MACs/texel", lambda record: record["macs_per_texel"]),
        ("fetches/texel", lambda record: record.get("fetches_per_texel")),
        ("bytes/texel", lambda record: _decimals(record["bytes_fetched_per_texel"], "g")),
        ("encode s", lambda record: record["encode_time_s"]),
        ("random access", lambda record: record["random_access"]),
    ]
    return _table(records, columns, encoders_line(records))


def map_table(records: Sequence[dict]) -> Table:
    """Return the figures of single maps of one material's records, by rate; the bound has none and is left out.

    `bpp with basis` counts what a KLT's decoder needs beside the blocks, which `bpp` does not.
    """
    names = [name for name in channel_ranges() if any(name in record["psnr"] for record in records)]

    def of_map(name: str) -> Column:
        return name, lambda record: _psnr(record, name)

    columns: list[Column] = [
        ("codec", lambda record: record["label"]),
        ("bpp", lambda record: record["bpp"]),
        ("bpp with basis", lambda record: record.get("bpp_with_tables")),
        *map(of_map, names),
        ("SSIM", _ssim),
        ("normal angle deg", lambda record: record["normal_angle_deg"]),
    ]
    return _table([record for record in records if record["codec"] != BOUND], columns, "PSNR of every map, dB.")


def bjontegaard_table(records: Sequence[dict]) -> Table | None:
    """Return the mean gain and change of rate of every codec against ASTC, per material; `None` without ASTC."""
    rows = []
    for material in materials_of(records):
        curves = curves_of([record for record in records if record["material"] == material and not record["mip"]])
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
        ours = [record for record in records if record["material"] == material and not record["mip"]]
        size = f"{ours[0]['width']} x {ours[0]['height']} texels"
        sections.append(
            Section(
                material,
                [
                    f"{size}, finest mip. Measured on {ours[0]['hardware']}.",
                    Picture(rate_distortion_chart(ours), CHART_CAPTION),
                    summary_table(ours),
                    map_table(ours),
                    *crops.get(material, []),
                ],
            )
        )
    return sections


def shown_beside(records: Sequence[dict], focus: dict) -> list[dict]:
    """Return, for each other codec, the bound not among them, the record whose rate is nearest to that of `focus`."""
    others: dict[str, dict] = {}
    for record in records:
        if record["codec"] not in (focus["codec"], BOUND):
            best = others.get(record["codec"])
            distance = abs(math.log(record["bpp"] / focus["bpp"]))
            if best is None or distance < abs(math.log(best["bpp"] / focus["bpp"])):
                others[record["codec"]] = record
    return list(others.values())


def crop_label(record: dict) -> str:
    """Return the two lines above a codec's column of crops: what it is, and its rate and PSNR."""
    psnr = record["psnr"]["overall"]
    return f"{record['label']}\n{record['bpp']:.1f} bpp, {'identical' if psnr is None else f'{psnr:.1f} dB'}"
