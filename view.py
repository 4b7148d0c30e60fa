"""Viewer of trained materials in the browser: `python view.py --load_dir RUN [RUN ...]`.

python view.py --load_dir RUN [RUN ...] [--load_iter N] [--data_dir MATERIAL ...] [--port P] [--open False]
python view.py --load_dir RUN [RUN ...] --static DIR
"""

from __future__ import annotations

if __name__ == "__main__":
    import utils.start  # noqa: F401, before all that takes time

import argparse
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from reporting.console import say
from runtime.viewer.materials import open_materials
from runtime.viewer.server import serve
from runtime.viewer.site import Site
from runtime.viewer.static import write_static
from training.flags import BoolAction
from utils.arguments import OneLineParser
from utils.errors import UsageError, run_command


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port, 0 to 65535")
    return int(text)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = OneLineParser(
        prog="view.py",
        allow_abbrev=False,
        description="Look at trained materials in the browser, decoded in its shader from the exported files.",
    )
    parser.add_argument(
        "--load_dir",
        required=True,
        nargs="+",
        metavar="RUN",
        help="run folders, exported folders, or folders of runs, of which the newest is taken; several are compared",
    )
    parser.add_argument(
        "--load_iter", type=int, default=-1, metavar="N", help="the iteration; -1, the default: the newest"
    )
    parser.add_argument(
        "--data_dir",
        nargs="+",
        default=[],
        metavar="MATERIAL",
        help="the original images, one folder for all runs or one for each; default: those the run was trained on",
    )
    parser.add_argument("--port", type=_port, default=0, metavar="P", help="port; 0, the default: a free one")
    parser.add_argument("--open", action=BoolAction, default=True, help="open the browser (default True)")
    parser.add_argument("--static", metavar="DIR", help="write a folder for any web server instead, and serve nothing")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; raises `UserError` and `UsageError`, and ends with Ctrl-C while it serves."""
    options = _parse(argv)
    if options.load_iter < -1:
        raise UsageError(f"--load_iter {options.load_iter} is no iteration; give one, or -1 for the newest")
    if options.static and Path(options.static).is_file():
        raise UsageError(f"--static {options.static} is a file; give the name of a folder")
    materials = open_materials(
        [Path(path) for path in options.load_dir], options.load_iter, list(map(Path, options.data_dir))
    )
    for material in materials:
        say("material", f"{material.name}, {material.manifest['bpp']:.2f} bpp, {material.folder}")
        if material.originals_missing:
            say("note", f"{material.originals_missing}; shown without original, BC7 and ASTC")
    with Site(materials) as site:
        if options.static:
            say(
                "written",
                f"{write_static(site, Path(options.static))} files in {options.static}; open it through a web server",
            )
            return 0

        def ready(address: str) -> bool:
            say("viewer", f"{address}  (Ctrl-C ends it)")
            if not options.open or webbrowser.open(address) or sys.stdout.isatty():
                return True
            # A script on a machine without a screen would wait forever for somebody to look.
            say("note", "no browser can be opened here; serve all the same with --open False, or use --static DIR")
            return False

        try:
            serve(site, options.port, ready)
        except KeyboardInterrupt:
            say("viewer", "closed")
    return 0


if __name__ == "__main__":
    run_command(main)
