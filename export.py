"""Export of a trained material: DDS grids, network_data.npz and the manifest; and PNGs decoded from an export.

    python export.py --load_dir RUN [--load_iter N] [--storage true_rate] [--dds_mips False] [--out DIR]
    python export.py --decode DIR --out PNGS [--mip M]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tqdm import tqdm

import utils.threads  # noqa: F401, before torch
from configs import STORAGES
from formats.reader import NeuralTextureReader
from reporting.pictures import map_images
from training.checkpoint import find_checkpoint
from training.export_source import source_from_checkpoint
from training.exporting import export_material
from training.flags import parse_bool
from utils.arguments import OneLineParser
from utils.errors import UsageError, run_command
from utils.files import require_writable_folder, written_aside


def summary_lines(manifest: dict) -> list[str]:
    """Return what an export is, as aligned lines with units."""
    psnr = manifest["psnr"].get("overall", [])
    total = sum(entry["bytes"] for entry in manifest["files"])
    lines = [("texels", f"{manifest['width']} x {manifest['height']}, {manifest['mips']} mips"),
             ("maps", ", ".join(channel["name"] for channel in manifest["channels"] if channel["present"])),
             ("size", f"{total:,} bytes"),
             ("rate", f"{manifest['bpp']:.2f} bits per texel, {manifest['bpp_mips']:.2f} with mips"),
             ("cost", f"{manifest['network']['macs_per_texel']:,} multiply-adds and "
                      f"{manifest.get('bytes_per_texel', 0):g} bytes fetched per texel")]
    if psnr:
        lines.append(("psnr", "identical, mip 0" if psnr[0] is None else f"{psnr[0]:.2f} dB overall, mip 0"))
    obstacles = manifest.get("ue5_plugin_obstacles", [])
    lines.append(("ue5 plugin", "yes" if manifest["ue5_plugin"] else f"no ({'; '.join(obstacles) or 'other format'})"))
    return [f"  {name:<12}{value}" for name, value in lines]


def decode_to_pngs(folder: str | os.PathLike, out: str | os.PathLike, mip: int = 0) -> list[Path]:
    """Decode an export to one PNG per present map (`<map>.png`, `<map>_mip<m>.png` for m > 0) and return the paths.

    `mip` -1 decodes every stored mip. Raises `UserError` where the export is damaged or has no such mip.
    """
    reader = NeuralTextureReader(folder)
    out = require_writable_folder(out)
    mips, written = reader.stored_mips if mip == -1 else [mip], []
    with tqdm(total=sum(reader.mip_size(m)[1] for m in mips), desc="decoding", unit="row", file=sys.stderr, disable=None) as bar:
        for m in mips:
            decoded = reader.decode_uint8(m, bar.update)
            for name, image in map_images(decoded, reader.present):
                path = out / f"{name}{f'_mip{m}' if m else ''}.png"
                with written_aside(path) as aside:
                    image.save(aside, format="PNG")
                written.append(path)
    return written


def _parser() -> OneLineParser:
    parser = OneLineParser(prog="export.py", allow_abbrev=False,
                     description="Export a run's checkpoint again, or decode an export to PNG files.")
    job = parser.add_mutually_exclusive_group(required=True)
    job.add_argument("--load_dir", metavar="RUN", help="run folder whose checkpoint is exported")
    job.add_argument("--decode", metavar="DIR", help="exported folder whose maps are decoded to PNG")
    parser.add_argument("--load_iter", type=int, metavar="N",
                        help="the checkpoint's iteration; -1 (default): the newest")
    parser.add_argument("--storage", choices=STORAGES, help="how features are stored; default: as in the run")
    parser.add_argument("--dds_mips", nargs="?", const=True, type=parse_bool, metavar="BOOL",
                        help="all levels in the DDS files, or the finest alone; default: as in the run")
    parser.add_argument("--no-dds_mips", dest="dds_mips", action="store_false", default=argparse.SUPPRESS,
                        help="the finest levels alone")
    parser.add_argument("--out", metavar="DIR",
                        help="where to write; needed with --decode, else the checkpoint's folder")
    parser.add_argument("--mip", type=int, metavar="M", help="with --decode: the mip, default 0; -1: every mip")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; raises `UserError` and `UsageError`."""
    options = _parser().parse_args(arguments)
    if options.decode:
        for name in ("load_iter", "storage", "dds_mips"):
            if getattr(options, name) is not None:
                raise UsageError(f"--{name} goes with --load_dir, not with --decode; leave it out")
        if not options.out:
            raise UsageError("--decode needs --out, the folder for the PNG files")
        mip = 0 if options.mip is None else options.mip
        if mip < -1:
            raise UsageError(f"--mip {mip} is not a mip; give 0 or more, or -1 for all")
        written = decode_to_pngs(options.decode, options.out, mip)
        print(f"Decoded {options.decode}")
        print("\n".join(summary_lines(NeuralTextureReader(options.decode).manifest)))
        print(f"  {'written':<12}{len(written)} PNG files in {options.out}")
        return 0
    if options.mip is not None:
        raise UsageError("--mip goes with --decode, not with --load_dir; leave it out")
    load_iter = -1 if options.load_iter is None else options.load_iter
    found = Path(find_checkpoint(options.load_dir, load_iter))
    folder = require_writable_folder(options.out or (found if found.is_dir() else found.parent))
    source, reference = source_from_checkpoint(options.load_dir, load_iter)
    source.storage = options.storage or source.storage
    source.dds_mips = source.dds_mips if options.dds_mips is None else options.dds_mips
    manifest = export_material(source, folder, reference).manifest
    print(f"Exported {found}")
    print("\n".join(summary_lines(manifest)))
    print(f"  {'written':<12}{len(manifest['files']) + 1} files in {folder}")
    return 0


if __name__ == "__main__":
    run_command(main)
