"""Train every material of a folder of folders, one after the other, each into its own output folder."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from pathlib import Path

from configs import Config
from reporting.console import console, decibels, say
from training import flags as cli
from training.run import memory_error, train
from utils.errors import UsageError, UserError
from utils.files import read_json, require_writable_folder


def material_folders(batch_dir: Path) -> list[Path]:
    """Return the sub-folders to train, sorted by name; raises `UsageError` where there are none."""
    if not batch_dir.is_dir():
        raise UsageError(f"groups_batch_dir {batch_dir} is no folder; give a folder with one sub-folder per material")
    folders = sorted(path for path in batch_dir.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise UsageError(f"groups_batch_dir {batch_dir} has no sub-folder; give a folder with one sub-folder per "
                         "material")
    return folders


def train_groups(config: Config, flags: dict[str, object]) -> int:
    """Train all sub-folders of `groups_batch_dir`; returns 1 where any failed, else 0.

    A material that fails is reported and the next one begins. Without `groups_verbose` each has one line.
    """
    folders = material_folders(Path(config.run.groups_batch_dir))
    save_root = require_writable_folder(config.run.groups_save_dir)
    if config.run.groups_max_workers > 1:
        say("note", "groups_max_workers above 1 has no effect: materials are trained one after the other")
    failed = []
    for number, folder in enumerate(folders, 1):
        title = f"{number} of {len(folders)}"
        say(title, folder.name)
        material = cli.make_config({**flags, "data_dir": str(folder), "save_dir": str(save_root / folder.name)})
        started = time.perf_counter()
        try:
            with contextlib.ExitStack() as stack:
                if not config.run.groups_verbose:
                    stack.enter_context(_quiet())
                result = train(material)
            manifest = read_json(result / "manifest.json")
            say(title, f"{folder.name} done in {time.perf_counter() - started:.0f} s, "
                       f"{decibels(manifest['psnr']['overall'][0])} dB at {manifest['bpp']:.2f} bits per texel, "
                       f"{result}")
        except (UserError, OSError, MemoryError, RuntimeError) as error:
            failed.append(folder.name)
            cause = str(memory_error(error) or error).strip().split("\n")[0] or type(error).__name__
            print(f"error: {folder.name} failed: {cause}", file=sys.stderr, flush=True)
    say("summary", f"{len(folders) - len(failed)} of {len(folders)} materials trained into {save_root}"
                   + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


@contextlib.contextmanager
def _quiet():
    """Keep a material's own output off the terminal; errors still reach stderr."""
    before = console.file
    console.file = io.StringIO()
    try:
        yield
    finally:
        console.file = before
