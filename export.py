"""Export of a trained material: DDS grids, network_data.npz and the manifest; and PNGs decoded from an export.

python export.py --load_dir RUN [--load_iter N] [--storage packed] [--dds_mips False] [--name N] [--out DIR]
python export.py --load_dir RUN [--load_iter N] --report
python export.py --decode DIR --out PNGS [--mip M]
"""

from __future__ import annotations

if __name__ == "__main__":
    import utils.start  # noqa: F401, before all that takes time

import argparse
import os
import sys
from pathlib import Path

from tqdm import tqdm

import utils.threads  # noqa: F401, before torch
from configs import STORAGES
from formats.export_folder import file_prefix
from formats.manifest import MANIFEST_NAME, find_export, read_manifest
from formats.reader import NeuralTextureReader
from reporting.console import say
from reporting.pictures import map_images, png_bytes
from reporting.summary import print_lines, summary_lines
from training.checkpoint import find_checkpoint, load_checkpoint
from training.export_source import source_from_checkpoint
from training.exporting import export_material
from training.flags import BoolAction
from training.run_report import read_export, report_checkpoint
from utils.arguments import OneLineParser
from utils.errors import UsageError, UserError, run_command
from utils.files import require_writable_folder, write_bytes


def decode_to_pngs(folder: str | os.PathLike, out: str | os.PathLike, mip: int = 0) -> list[Path]:
    """Decode an export to one PNG per present map (`<map>.png`, `<map>_mip<m>.png` for m > 0) and return the paths.

    `mip` -1 decodes every stored mip. Raises `UserError` where the export is damaged or has no such mip.
    """
    reader = NeuralTextureReader(folder)
    out = require_writable_folder(out)
    mips, written = reader.stored_mips if mip == -1 else [mip], []
    rows = sum(reader.mip_size(m)[1] for m in mips)
    with tqdm(total=rows, desc="decoding", unit="row", file=sys.stderr, disable=None) as bar:
        for m in mips:
            decoded = reader.decode_uint8(m, bar.update)
            for name, image in map_images(decoded, reader.present):
                path = out / f"{name}{f'_mip{m}' if m else ''}.png"
                write_bytes(path, png_bytes(image))
                written.append(path)
    return written


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="export.py",
        allow_abbrev=False,
        description="Export a run's checkpoint again, or decode an export to PNG files.",
    )
    job = parser.add_mutually_exclusive_group(required=True)
    job.add_argument("--load_dir", metavar="RUN", help="run folder whose checkpoint is exported")
    job.add_argument(
        "--decode", metavar="DIR", help="exported folder, or run folder with exports, whose maps are decoded to PNG"
    )
    parser.add_argument(
        "--load_iter", type=int, metavar="N", help="the checkpoint's or export's iteration; -1 (default): the newest"
    )
    parser.add_argument(
        "--storage",
        choices=STORAGES,
        help="how features are stored: rgba8 as 8-bit channels, true_rate 4 bits as B4G4R4A4, packed as bit fields of "
        "32-bit words, packed_rgba8 as the same words in RGBA8 textures; default: as in the run",
    )
    parser.add_argument(
        "--name",
        metavar="N",
        help="what the files' names begin with, so that those of several materials can lie in one folder",
    )
    parser.add_argument(
        "--dds_mips",
        action=BoolAction,
        default=None,
        help="all levels in the DDS files, or the finest alone; default: as in the run",
    )
    parser.add_argument(
        "--report",
        action=BoolAction,
        default=None,
        help="with --load_dir: write the run's pictures and report.html, from its export where it has one",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="where to write; needed with --decode, else the checkpoint's folder, and the run's for --report",
    )
    parser.add_argument("--mip", type=int, metavar="M", help="with --decode: the mip, default 0; -1: every mip")
    return parser


def _decode(options: argparse.Namespace) -> None:
    for name in ("storage", "dds_mips", "report", "name"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name} goes with --load_dir, not with --decode; leave it out")
    if not options.out:
        raise UsageError("--decode needs --out, the folder for the PNG files")
    mip = 0 if options.mip is None else options.mip
    if mip < -1:
        raise UsageError(f"--mip {mip} is not a mip; give 0 or more, or -1 for all")
    given = Path(options.decode)
    is_run = (given / "models").is_dir()
    if options.load_iter is not None and not is_run:
        raise UsageError(f"--load_iter goes with a run folder, {given} is none; leave it out")
    folder = find_export(given, -1 if options.load_iter is None else options.load_iter) if is_run else given
    written = decode_to_pngs(folder, options.out, mip)
    say("decoded", folder)
    print_lines(summary_lines(read_manifest(folder)))
    say("written", f"{len(written)} PNG files in {options.out}")


def _export(options: argparse.Namespace) -> None:
    if options.mip is not None:
        raise UsageError("--mip goes with --decode, not with --load_dir; leave it out")
    load_iter = -1 if options.load_iter is None else options.load_iter
    if options.name is not None:
        file_prefix(options.name)
    found = find_checkpoint(options.load_dir, load_iter)
    folder = require_writable_folder(options.out or found.parent)
    source, reference = source_from_checkpoint(options.load_dir, load_iter)
    if options.report and reference is None:
        raise UserError("--report needs the images that the run was trained on; put them back, or leave it out")
    is_asked_for = options.out or options.storage or options.dds_mips is not None or options.name is not None
    if options.report and reference and not is_asked_for and (folder / MANIFEST_NAME).is_file():
        export, title = read_export(folder, reference), "read"
    else:
        source.storage = options.storage or source.storage
        source.dds_mips = source.dds_mips if options.dds_mips is None else options.dds_mips
        export, title = export_material(source, folder, reference, options.name), "written"
    report = None
    if options.report and reference:
        run_dir, out = Path(options.load_dir), folder if options.out else None
        report = report_checkpoint(run_dir, load_checkpoint(found), export, folder, reference, out)
    say("checkpoint", found)
    print_lines(summary_lines(export.manifest))
    say(title, f"{len(export.manifest['files']) + 1} files in {folder}")
    if report:
        say("report", report)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; raises `UserError` and `UsageError`."""
    options = _parser().parse_args(arguments)
    if options.decode:
        _decode(options)
    else:
        _export(options)
    return 0


if __name__ == "__main__":
    run_command(main)
