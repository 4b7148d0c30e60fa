"""Several materials, or the mips of some, in one table each: means, and the worst of all."""

from __future__ import annotations

from collections.abc import Sequence

from baselines.equal import Figure, gain_at_equal_rate, mean_figure
from baselines.summary import ANCHOR, BOUND, anchor_rate, below_bound, closed_form_curve, materials_of, over_anchor
from reporting.report import Table


def _finest(records: Sequence[dict]) -> list[dict]:
    return [record for record in records if not record.get("mip")]


def _least(figures: Sequence[tuple[str, Figure | None]]) -> str | None:
    known = [(name, figure) for name, figure in figures if figure is not None]
    if not known:
        return None
    name, figure = min(known, key=lambda entry: entry[1].value)
    return f"{figure.text('+.2f')} ({name})"


def _farthest(distances: Sequence[tuple[str, float | None]]) -> str | None:
    known = [(distance, name) for name, distance in distances if distance is not None]
    return f"{max(known)[0]:.2f} ({max(known)[1]})" if known else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _text(value: float | None, form: str) -> str | None:
    return None if value is None else f"{value:{form}}"


def _figure(figure: Figure | None, form: str) -> str | None:
    return None if figure is None else figure.text(form)


def _over_closed_form(record: dict, own: Sequence[dict]) -> Figure | None:
    if record["codec"].startswith(("klt", BOUND)) or record["psnr"]["overall"] is None:
        return None
    return gain_at_equal_rate(closed_form_curve(record, own), record["bpp"], record["psnr"]["overall"])


def overview_table(records: Sequence[dict]) -> Table:
    """Return a row for every codec and setting that all materials were measured with, the finest mips alone.

    Means are over materials; `farthest` and `least` name the material. `>` and `<` mark means of limits, where a curve
    ends before the rate or the error in question, `~` means of limits in both directions.
    """
    finest = _finest(records)
    by_material = {name: [record for record in finest if record["material"] == name] for name in materials_of(finest)}
    groups: dict[tuple[str, str], list[dict]] = {}
    for record in finest:
        groups.setdefault((record["codec"], record["setting"]), []).append(record)
    rows = []
    for group in groups.values():
        if {record["material"] for record in group} != set(by_material):
            continue
        own = [by_material[record["material"]] for record in group]
        names = [record["material"] for record in group]
        distances = [below_bound(record) for record in group]
        gains = [over_anchor(record, others) for record, others in zip(group, own)]
        closed = [_over_closed_form(record, others) for record, others in zip(group, own)]
        lit = [anchor_rate(record, others, "flip_lit") for record, others in zip(group, own)]
        diffuse = [anchor_rate(record, others, "flip") for record, others in zip(group, own)]
        macs = [record["macs_per_texel"] for record in group]
        fetches = [record.get("fetches_per_texel") for record in group]
        rows.append(
            [
                group[0]["label"],
                _mean([record["bpp"] for record in group]),
                _farthest(list(zip(names, distances))),
                _text(_mean(distances), ".2f"),
                _mean([record["psnr"]["overall"] for record in group]),
                _figure(mean_figure(gains), "+.2f"),
                _least(list(zip(names, gains))),
                _figure(mean_figure(closed), "+.2f"),
                _figure(mean_figure(lit), ".1f"),
                _figure(mean_figure(diffuse), ".1f"),
                _text(max((value for value in macs if value is not None), default=None), ",.0f"),
                _text(max((value for value in fetches if value is not None), default=None), ",.0f"),
            ]
        )
    rows.sort(key=lambda row: -row[1])
    header = [
        "codec",
        "bpp",
        "farthest below bound dB",
        "mean below bound dB",
        "mean PSNR dB",
        "mean over ASTC dB",
        "least over ASTC dB",
        "mean over KLT dB",
        "mean ASTC bpp, equal FLIP lit",
        "mean ASTC bpp, equal FLIP diffuse",
        "most MACs/texel",
        "most fetches/texel",
    ]
    count = f"{len(by_material)} material{'s' if len(by_material) > 1 else ''}"
    return Table(header, rows, f"{count}, finest mip, at equal bits per texel.")


def mip_table(records: Sequence[dict]) -> Table | None:
    """Return the records of this toolkit by mip beside ASTC, the closed-form coder and the bound of the same mip.

    Without any, the closed-form coder's are shown. `None` where no mip but the finest was measured. Columns of ASTC and
    KLT are at the record's rate, interpolated.
    """
    rows = []
    for material in materials_of(records):
        ours = [record for record in records if record["material"] == material]
        mips = sorted({record["mip"] for record in ours})
        if mips == [0]:
            continue
        trained = [record for record in ours if record["codec"].startswith("neural")]
        shown = trained or [record for record in ours if record["codec"].startswith("klt")]
        for label in dict.fromkeys(record["label"] for record in shown):
            for record in sorted((each for each in shown if each["label"] == label), key=lambda each: each["mip"]):
                same_mip = [each for each in ours if each["mip"] == record["mip"]]
                rows.append(
                    [
                        material,
                        record["label"],
                        str(record["mip"]),
                        f"{record['width']} x {record['height']}",
                        record["bpp"],
                        _text(below_bound(record), ".2f"),
                        str(record["bound_side"]),
                        record["psnr"]["overall"],
                        _figure(over_anchor(record, same_mip), "+.2f"),
                        _figure(_over_closed_form(record, same_mip), "+.2f"),
                        _text(record.get("flip_lit"), ".4f"),
                        _figure(anchor_rate(record, same_mip, "flip_lit"), ".1f"),
                    ]
                )
    if not rows:
        return None
    header = [
        "material",
        "codec",
        "mip",
        "texels",
        "bpp",
        "below bound dB",
        "bound's blocks",
        "PSNR dB",
        f"over {ANCHOR.upper()} dB",
        "over KLT dB",
        "FLIP lit",
        "ASTC bpp, equal FLIP lit",
    ]
    return Table(
        header,
        rows,
        "Every mip beside other codecs of the same mip at equal bits per texel. A level of the grids counts for the mips "
        "that read it, the decoder for all texels of all mips.",
    )
