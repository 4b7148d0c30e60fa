"""Train every material of a folder of folders, each into its own output folder, one or several at a time."""

from __future__ import annotations

import io
import os
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from batch.processes import train_in_processes
from batch.worker import train_material
from configs import Config
from formats.manifest import read_manifest
from reporting.console import decibels, say
from reporting.summary import next_commands, print_lines
from utils.errors import UsageError
from utils.files import require_writable_folder


def material_folders(batch_dir: Path) -> list[Path]:
    """Return the sub-folders to train, sorted by name; raises `UsageError` where there are none."""
    if not batch_dir.is_dir():
        raise UsageError(f"groups_batch_dir {batch_dir} is no folder; give a folder with one sub-folder per material")
    folders = sorted(path for path in batch_dir.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise UsageError(
            f"groups_batch_dir {batch_dir} has no sub-folder; give a folder with one sub-folder per material"
        )
    return folders


class BatchLog:
    """What a batch says: when a material begins, its notices, and how it ended."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.started: dict[int, float] = {}
        self.done: dict[str, Path] = {}
        self.failed: list[str] = []

    def tell(self, index: int, what: str, text: str) -> None:
        """Say what happened to a material; `what` and `text` as in `batch.worker.Tell`, and `started`."""
        name, title = self.names[index], f"{index + 1} of {len(self.names)}"
        if what == "started":
            self.started[index] = time.perf_counter()
            say(title, name)
        elif what == "note":
            say("note", f"{name}: {text}")
        elif what == "line":
            # Several materials speak at a time.
            say(name, text)
        elif what == "interrupted":
            say("interrupted", f"{name}, {f'saved {text}' if text else 'nothing to save yet'}")
        elif what == "done":
            self.done[name] = Path(text)
            manifest = read_manifest(Path(text))
            say(
                title,
                f"{name} done in {time.perf_counter() - self.started[index]:.0f} s, "
                f"{decibels(manifest['psnr']['overall'][0])} dB at {manifest['bpp']:.2f} bits per texel, {text}",
            )
        else:
            self.failed.append(name)
            print(f"error: {name} failed: {text}", file=sys.stderr, flush=True)

    def summary(self, save_root: Path) -> None:
        """Say how the batch ended."""
        failed = [name for name in self.names if name in self.failed]
        say(
            "summary",
            f"{len(self.done)} of {len(self.names)} materials trained into {save_root}"
            + (f"; failed: {', '.join(failed)}" if failed else ""),
        )
        if self.done:
            name, folder = next(iter(self.done.items()))
            say("next", f"the commands for {name}; those of the others have their folders instead")
            # A checkpoint's folder lies in `models` of its run.
            print_lines(next_commands(folder.parent.parent))


def train_groups(config: Config) -> int:
    """Train all sub-folders of `groups_batch_dir`, `groups_max_workers` at a time; returns 1 where any failed, else 0.

    A material that fails is reported and costs itself alone. Without `groups_verbose` each has one line when it begins
    and one when it ends. One at a time is trained in this process, several in one process each.
    """
    folders = material_folders(Path(config.run.groups_batch_dir))
    save_root = require_writable_folder(config.run.groups_save_dir)
    materials = [
        # The folders are not given by hand, so that no material calls them without effect.
        replace(
            config, run=replace(config.run, data_dir=os.path.abspath(folder), save_dir=str(save_root / folder.name))
        )
        for folder in folders
    ]
    log = BatchLog([folder.name for folder in folders])
    try:
        if config.run.groups_max_workers > 1 and len(materials) > 1:
            train_in_processes(materials, config.run.groups_max_workers, config.run.groups_verbose, log.tell)
        else:
            for index, material in enumerate(materials):
                log.tell(index, "started", "")
                train_material(material, None if config.run.groups_verbose else io.StringIO(), partial(log.tell, index))
    finally:
        log.summary(save_root)
    return 1 if log.failed else 0
