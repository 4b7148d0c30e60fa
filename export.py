"""Export of a trained material: DDS grids, network_data.npz and the manifest; and what is made from an export.

python export.py --load_dir RUN [--load_iter N] [--storage packed] [--dds_mips False] [--name N] [--out DIR]
python export.py --load_dir RUN [--load_iter N] --report
python export.py --load_dir RUN [--load_iter N] [--bake png bc7 bc5 ktx2] [--engine unreal gltf] [--name N] [--out DIR]
python export.py --load_dir RUN [--load_iter N] --shaders hlsl wgsl [--storage S] [--name N] [--out DIR]
python export.py --decode DIR --out PNGS [--mip M]
"""

from __future__ import annotations

if __name__ == "__main__":
    import utils.start  # noqa: F401, before all that takes time

import argparse
import os
import sys
from pathlib import Path

from PIL import Image
from tqdm import tqdm

import utils.threads  # noqa: F401, before torch
from configs import STORAGES
from formats.manifest import MANIFEST_NAME, find_export, read_manifest
from formats.names import file_prefix, material_prefix
from formats.reader import NeuralTextureReader
from reporting.console import say
from reporting.pictures import map_images, png_bytes
from reporting.summary import print_lines, summary_lines
from runtime.bake.bake import bake
from runtime.bake.files import BAKES
from runtime.engines.gltf import TEXTURE_FORMATS
from runtime.engines.packages import PACKAGES, write_packages
from runtime.shader_files import write_shaders
from runtime.shaders import TARGETS
from training.flags import BoolAction
from utils.arguments import OneLineParser
from utils.errors import UsageError, UserError, run_command
from utils.files import require_writable_folder, write_bytes


def decode_to_pngs(folder: str | os.PathLike, out: str | os.PathLike, mip: int = 0) -> list[Path]:
    """Decode an export to one PNG per present map (`<map>.png`, `<map>_mip<m>.png` for m > 0) and return the paths.

    One-channel maps that were trained beyond 8 bits become PNG of 16 bits.
    `mip` -1 decodes every stored mip. Raises `UserError` where the export is damaged or has no such mip.
    """
    reader = NeuralTextureReader(folder)
    out = require_writable_folder(out)
    mips, written = reader.stored_mips if mip == -1 else [mip], []
    # Grey alone: Pillow writes no colour of 16 bits.
    deep = [
        entry["name"]
        for entry in reader.manifest["channels"]
        if entry["present"] and entry["count"] == 1 and (entry.get("depth") or 8) > 8
    ]
    rows = sum(reader.mip_size(m)[1] for m in mips)
    with tqdm(total=rows, desc="decoding", unit="row", file=sys.stderr, disable=None) as bar:
        for m in mips:
            decoded, wide = reader.decode_codes(m, deep, bar.update)
            for name, image in map_images(decoded, reader.present):
                path = out / f"{name}{f'_mip{m}' if m else ''}.png"
                write_bytes(path, png_bytes(Image.fromarray(wide[name][..., 0]) if name in wide else image))
                written.append(path)
    return written


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="export.py",
        allow_abbrev=False,
        description="Export a run's checkpoint again, make files for engines of its export, or decode it to PNG files.",
    )
    job = parser.add_mutually_exclusive_group(required=True)
    job.add_argument(
        "--load_dir",
        metavar="RUN",
        help="run folder whose checkpoint is exported; with --bake, --engine or --shaders a run folder or export, whose "
        "exported files are read",
    )
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
        "--bake",
        nargs="+",
        choices=BAKES,
        help="decode the maps for engines that run no network: PNG, BC7 in DDS, BC7 / BC5 / BC4 in DDS, BC7 in KTX2; "
        "each kind into a folder of its own",
    )
    parser.add_argument(
        "--engine",
        nargs="+",
        choices=tuple(PACKAGES),
        help="write the material for these, each into a folder of its own",
    )
    parser.add_argument(
        "--name",
        metavar="NAME",
        help="what file names begin with, so that files of several materials can lie in one project; default with --bake "
        "and --engine: the material's name",
    )
    parser.add_argument(
        "--shaders",
        nargs="+",
        choices=tuple(TARGETS),
        help="write the decoder as source for these, with the textures and weights it reads and a page for each",
    )
    parser.add_argument(
        "--shader_precision",
        choices=("float32", "float16"),
        help="with --shaders: the arithmetic, float32 (default) or half precision with sums in float32",
    )
    parser.add_argument(
        "--fold",
        action=BoolAction,
        default=None,
        help="with --shaders: True (default) stores first layers with a texel's place in its cell folded in, which "
        "halves the arithmetic of quality and takes some 250 KB of memory; False leaves them out",
    )
    parser.add_argument(
        "--cooperative_vectors",
        action=BoolAction,
        default=None,
        help="with --shaders: variants for SPIR-V and HLSL (shader model 6.9) that use cooperative vectors too",
    )
    parser.add_argument(
        "--texture_format",
        choices=TEXTURE_FORMATS,
        help="with --engine gltf: textures as PNG (default), or as KTX2 with Basis Universal (needs the package alktx2)",
    )
    parser.add_argument(
        "--normal_convention",
        choices=("opengl", "directx"),
        help="with --bake: which way green points, to the image's top (opengl) or bottom; default: as in the material",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="where to write; needed with --decode, else the checkpoint's folder, the run's for --report, and baked or "
        "engines in the export's folder",
    )
    parser.add_argument(
        "--mip", type=int, metavar="M", help="with --decode and --bake png: the mip, default 0; -1: every mip"
    )
    return parser


def _mip(options: argparse.Namespace) -> int:
    mip = 0 if options.mip is None else options.mip
    if mip < -1:
        raise UsageError(f"--mip {mip} is not a mip; give 0 or more, or -1 for all")
    return mip


def _refuse(options: argparse.Namespace, names: tuple[str, ...], reason: str) -> None:
    for name in names:
        if getattr(options, name) is not None:
            raise UsageError(f"--{name} {reason}; leave it out")


def _decode(options: argparse.Namespace) -> None:
    exported = ("storage", "dds_mips", "report", "bake", "engine", "name", "texture_format", "normal_convention")
    of_shaders = ("shaders", "shader_precision", "fold", "cooperative_vectors")
    _refuse(options, exported + of_shaders, "goes with --load_dir, not with --decode")
    if not options.out:
        raise UsageError("--decode needs --out, the folder for the PNG files")
    mip = _mip(options)
    given = Path(options.decode)
    is_run = (given / "models").is_dir()
    if options.load_iter is not None and not is_run:
        raise UsageError(f"--load_iter goes with a run folder, {given} is none; leave it out")
    folder = find_export(given, -1 if options.load_iter is None else options.load_iter) if is_run else given
    written = decode_to_pngs(folder, options.out, mip)
    say("decoded", folder)
    print_lines(summary_lines(read_manifest(folder)))
    say("written", f"{len(written)} PNG files in {options.out}")


def _for_engines(options: argparse.Namespace) -> None:
    """Bake an export and write packages of it; it reads the exported files alone."""
    bakes, engines = list(dict.fromkeys(options.bake or ())), list(dict.fromkeys(options.engine or ()))
    shaders = list(dict.fromkeys(options.shaders or ()))
    _refuse(options, ("dds_mips", "report"), "goes with an export, not with --bake, --engine and --shaders")
    if not shaders:
        _refuse(options, ("storage",), "goes with an export or --shaders, not with --bake and --engine")
        _refuse(options, ("shader_precision", "fold", "cooperative_vectors"), "goes with --shaders")
    if "png" not in bakes:
        _refuse(options, ("mip",), "goes with --decode and --bake png")
    if not bakes:
        _refuse(options, ("normal_convention",), "goes with --bake")
    if "gltf" not in engines:
        _refuse(options, ("texture_format",), "goes with --engine gltf")
    mip = _mip(options)
    folder = find_export(Path(options.load_dir), -1 if options.load_iter is None else options.load_iter)
    reader = NeuralTextureReader(folder)
    name = file_prefix(options.name) if options.name else material_prefix(reader.manifest.get("name", ""))
    written: dict[str, tuple[Path, list[Path]]] = {}
    notes: list[str] = []
    if bakes:
        out = Path(options.out or folder / "baked")
        files, notes = bake(reader, out, bakes, name, mip, options.normal_convention)
        written.update({kind: (out / kind, paths) for kind, paths in files.items()})
    if engines:
        out = Path(options.out or folder / "engines")
        packages = write_packages(reader, out, engines, name, options.texture_format)
        written.update({engine: (out / engine, paths) for engine, paths in packages.items()})
    if shaders:
        out = Path(options.out or folder) / "shaders"
        paths = write_shaders(
            folder,
            require_writable_folder(out),
            shaders,
            options.storage,
            options.name,
            options.shader_precision == "float16",
            options.fold is not False,
            bool(options.cooperative_vectors),
        )
        written["shaders"] = out, paths
    say("export", folder)
    say("material", name)
    print_lines(summary_lines(reader.manifest)[:2])
    for kind, (place, paths) in written.items():
        size_bytes = sum(path.stat().st_size for path in paths)
        say(kind, f"{len(paths)} files, {size_bytes:,} bytes, in {place}")
    for note in notes:
        say("note", note)


def _export(options: argparse.Namespace) -> None:
    # They load PyTorch, for which a decode or a bake need not wait.
    from training.checkpoint import find_checkpoint, load_checkpoint
    from training.export_source import source_from_checkpoint
    from training.exporting import export_material
    from training.run_report import read_export, report_checkpoint

    _refuse(options, ("mip",), "goes with --decode and --bake png, not with --load_dir alone")
    _refuse(options, ("texture_format", "normal_convention"), "goes with --bake or --engine")
    _refuse(options, ("shader_precision", "fold", "cooperative_vectors"), "goes with --shaders")
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
    elif options.bake or options.engine or options.shaders:
        _for_engines(options)
    else:
        _export(options)
    return 0


if __name__ == "__main__":
    run_command(main)
