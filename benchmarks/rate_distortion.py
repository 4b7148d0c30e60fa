"""Rate-distortion benchmark beside the limit and other codecs: `python -m benchmarks.rate_distortion --help`.

The limit is the Gaussian rate-distortion bound of each material; among the codecs is a closed-form one, a block KLT.
Every codec gives records of one schema in `results.json`; tables, plots and the report are made from those and from
the crops. What was measured before on the same images is taken from the cache.
"""

from __future__ import annotations

import json
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from baselines.cache import ResultCache
from baselines.codecs import CODECS, choose_codecs
from baselines.gaussian_bound import GaussianBound, gaussian_bound
from baselines.overview import mip_table, overview_table
from baselines.results import beside_bound, bound_record, measure_baselines, reported
from baselines.summary import (
    BOUND,
    bjontegaard_table,
    crop_label,
    map_table,
    material_sections,
    materials_of,
    rate_distortion_chart,
    shown_beside,
    summary_table,
)
from benchmarks.mips import measure_mips, mip_textures
from benchmarks.toolkit import toolkit_setting, train_and_measure
from dataset import TextureSet, load_texture_set
from reporting.console import say
from reporting.pictures import zoom_crops
from reporting.report import Picture, Section, markdown_table, write_report
from reporting.sections import CROP_CAPTIONS
from utils.arguments import OneLineParser
from utils.errors import UsageError, UserError, run_command
from utils.files import read_json, require_writable_folder, write_bytes, write_json, written_aside

TITLE = "Rate and distortion of PBR material codecs"
BOUND_RATES = (1, 1.5, 2.5, 5, 7.5, 10.5, 16, 24)
"""Bits per texel of the bound's own rows; every other row has the bound at its own rate."""


def _parse(argv: Sequence[str] | None) -> Namespace:
    parser = OneLineParser(prog="python -m benchmarks.rate_distortion", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--data_dir", nargs="+", required=True, metavar="DIR", help="folders of images, one material each"
    )
    parser.add_argument(
        "--out", required=True, metavar="FOLDER", help="where results, plots, crops and runs are written"
    )
    parser.add_argument(
        "--presets",
        nargs="*",
        default=["quality", "ue5"],
        metavar="PRESET",
        help="presets of this toolkit to train; none given: baselines alone (default quality ue5)",
    )
    parser.add_argument(
        "--bpp",
        nargs="+",
        type=float,
        default=[5.0, 10.0],
        metavar="BPP",
        help="target bits per texel of every preset (default 5 10)",
    )
    parser.add_argument("--time_budget", type=float, default=60.0, metavar="S", help="seconds of training (default 60)")
    parser.add_argument(
        "--flags", default="{}", metavar="JSON", help='further flags of train.py, for example {"batch_size": 32768}'
    )
    parser.add_argument(
        "--codecs",
        nargs="*",
        default=list(CODECS),
        metavar="CODEC",
        help=f"baselines, all by default: {', '.join(CODECS)}; one setting as codec:setting",
    )
    parser.add_argument(
        "--mips",
        action="store_true",
        help="measure every mip down to 16 x 16 texels, beside ASTC, the KLT and the bound of the same mip",
    )
    parser.add_argument("--fresh", action="store_true", help="measure again what was measured before")
    options = parser.parse_args(argv)
    if options.time_budget <= 0 or min(options.bpp) <= 0:
        raise UsageError("--time_budget and --bpp must be above 0; give seconds and bits per texel")
    try:
        flags = json.loads(options.flags)
    except ValueError:
        flags = None
    if not isinstance(flags, dict):
        raise UsageError(
            f'--flags {options.flags} is no JSON object; write flags of train.py as {{"batch_size": 32768}}'
        )
    options.flags = flags
    return options


def _write_crops(textures: TextureSet, records: list[dict], cache: ResultCache, folder: Path) -> None:
    """Write the worst and a typical region of one record beside the nearest rate of every other codec."""
    trained = [record for record in records if record["codec"].startswith("neural")]
    focus = min(trained, key=lambda record: record["bpp"]) if trained else records[len(records) // 2]
    shown = {crop_label(record): cache.decoded(record) for record in [focus, *shown_beside(records, focus)]}
    for name, image in zoom_crops(textures.mips[0], shown, textures.present).items():
        with written_aside(folder / f"{textures.name}_{name}.png") as aside:
            image.save(aside, "PNG")


def write_results(out: Path) -> None:
    """Make tables, plots and the report from `results.json` and the crops in `out`."""
    results = read_json(out / "results.json")
    records, command = results["records"], results["command"]
    overview = overview_table(records)
    markdown = [f"# {TITLE}\n\n`{command}`\n", f"## Overview\n\n{markdown_table(overview)}\n{overview.caption}\n"]
    crops: dict[str, list[Picture]] = {}
    for material in materials_of(records):
        ours = [record for record in records if record["material"] == material and not record["mip"]]
        write_bytes(out / f"rate_distortion_{material}.svg", rate_distortion_chart(ours))
        table = summary_table(ours)
        maps = map_table(ours)
        markdown.append(
            f"## {material}\n\n{markdown_table(table)}\n{table.caption}\n\n{markdown_table(maps)}\n{maps.caption}\n"
        )
        crops[material] = []
        for name, caption in CROP_CAPTIONS.items():
            path = out / "crops" / f"{material}_{name}.png"
            if path.is_file():
                with Image.open(path) as image:
                    crops[material].append(Picture(image.copy(), caption))
    by_mip, comparison = mip_table(records), bjontegaard_table(records)
    if by_mip:
        markdown.append(f"## Mips\n\n{markdown_table(by_mip)}\n{by_mip.caption}\n")
    if comparison:
        markdown.append(f"## Against ASTC\n\n{markdown_table(comparison)}")
    text = "\n".join(markdown)
    write_bytes(out / "summary.md", text.encode("utf-8"))
    print(text)
    head = Section("Summary", [f"Command: {command}", overview, *([comparison] if comparison else [])])
    mips = [Section("Mips", [by_mip])] if by_mip else []
    write_report(out / "report.html", TITLE, [head, *material_sections(records, crops), *mips])


def _train(
    textures: TextureSet, folder: Path, out: Path, cache: ResultCache, options: Namespace
) -> tuple[list[tuple[dict, Path]], list[str]]:
    """Train every preset at every rate; returns records with the folders of their runs, and what failed."""
    trained, failures = [], []
    for preset in options.presets:
        for bpp in options.bpp:
            setting = toolkit_setting(bpp, options.time_budget, options.flags)
            save_dir = out / "runs" / textures.name / f"{preset}-{setting}"
            try:
                record = reported(
                    *cache.get(
                        textures,
                        f"neural-{preset}",
                        setting,
                        lambda: train_and_measure(
                            textures, folder, save_dir, preset, bpp, options.time_budget, options.flags
                        ),
                    )
                )
            except UserError as error:
                failures.append(str(error))
                print(f"error: {error}", file=sys.stderr)
            else:
                trained.append((record, save_dir))
    return trained, failures


def _with_bounds(textures: TextureSet, records: list[dict], bounds: dict[int, GaussianBound]) -> list[dict]:
    """Return records with the bound beside them, after rows of the bound itself."""
    rows = [
        bound_record(mip_textures(textures, mip), bound, rate, mip)
        for mip, bound in bounds.items()
        for rate in BOUND_RATES
    ]
    return [beside_bound(record, bounds[record["mip"]]) for record in [*rows, *records]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns 1 where a training failed, and keeps what else was measured."""
    options = _parse(argv)
    choose_codecs(options.codecs)
    folders = [Path(folder) for folder in options.data_dir]
    out = require_writable_folder(options.out)
    cache = ResultCache(out / "cache", options.fresh)
    records: list[dict] = []
    failures: list[str] = []
    seen: set[str] = set()
    command = shlex.join(["python", "-m", "benchmarks.rate_distortion", *(sys.argv[1:] if argv is None else argv)])
    for folder in folders:
        textures = load_texture_set(folder)
        if textures.name in seen:
            raise UsageError(f"two materials are called {textures.name}; rename one of the folders")
        seen.add(textures.name)
        for notice in textures.notices:
            say("note", notice)
        ours = measure_baselines(textures, options.codecs, cache)
        trained, failed = _train(textures, folder, out, cache, options)
        failures += failed
        ours += [record for record, _ in trained]
        if ours:
            _write_crops(textures, ours, cache, out / "crops")
        bounds = {0: gaussian_bound(textures)}
        if options.mips:
            of_mips, mip_bounds = measure_mips(textures, options.codecs, trained, cache)
            ours, bounds = ours + of_mips, bounds | mip_bounds
        records += _with_bounds(textures, ours, bounds)
        write_json(
            out / "results.json",
            {"format": "texture-rate-distortion", "version": 2, "command": command, "records": records},
        )
    if all(record["codec"] == BOUND for record in records) and (options.codecs or options.presets):
        raise UserError("nothing but the bound was measured; name a codec with --codecs or a preset with --presets")
    write_results(out)
    say("report", out / "report.html")
    return 1 if failures else 0


if __name__ == "__main__":
    run_command(main)
