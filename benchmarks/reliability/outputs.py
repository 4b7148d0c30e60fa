"""Whether everything in an output folder is whole, and what half-written files lie beside it."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from formats.dds import read_dds
from formats.manifest import MANIFEST_NAME, check_files, read_manifest
from training.checkpoint import load_checkpoint
from utils.files import LEFTOVER

GROWING = re.compile(r"log\.txt|events.*")
"""Files that are appended to, whose last line a kill may cut: a group's log, TensorBoard's events."""
LOCKS = (".group.lock",)


@dataclass
class Found:
    """What an output folder holds."""

    broken: list[str] = field(default_factory=list)
    """A line for every file under its final name that is not whole."""
    whole: int = 0
    """Files under their final names that were read and are whole."""
    leftovers: list[Path] = field(default_factory=list)
    """Half-written files and folders under temporary names."""


def check_outputs(folder: Path) -> Found:
    """Read every file below a folder of outputs."""
    found = Found()
    for path in _files(folder, found):
        try:
            if _is_whole(path):
                found.whole += 1
        except Exception as error:  # whatever a reader raises, the file is not as it has to be
            found.broken.append(f"{path.relative_to(folder)}: {type(error).__name__}: {error}")
    return found


def _files(folder: Path, found: Found) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if LEFTOVER.fullmatch(path.name):
            found.leftovers.append(path)
        elif path.is_dir():
            yield from _files(path, found)
        elif path.name not in LOCKS and not GROWING.fullmatch(path.name):
            yield path


def _is_whole(path: Path) -> bool:
    """Read a file; raises where it is not whole, returns False where nothing is known of such a file."""
    if path.name == "model.pth":
        load_checkpoint(path)
    elif path.name == MANIFEST_NAME:
        check_files(path.parent, read_manifest(path.parent))
    elif path.suffix == ".dds":
        read_dds(path)
    elif path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
        if bad:
            raise ValueError(f"{bad} does not match its checksum")
    elif path.suffix == ".json":
        json.loads(path.read_text("utf-8"))
    elif path.suffix in (".png", ".jpg"):
        with Image.open(path) as image:
            image.load()
    elif path.suffix == ".html":
        if not path.read_text("utf-8").rstrip().endswith("</html>"):
            raise ValueError("the page has no end")
    elif path.suffix == ".csv":
        if not path.read_bytes().endswith(b"\n"):
            raise ValueError("the last line has no end")
    else:
        raise ValueError("no file that a run writes")
    return True
