"""group.json: what a group was trained from and how far it came, so that a later batch can go on."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass

from batch.content import Content, differences
from batch.names import RUN_FOLDER
from configs import VERSION as TOOLKIT
from formats.manifest import check_files, read_manifest
from utils.errors import UserError
from utils.files import read_json, write_json

FORMAT, VERSION = "neural-texture-group", 1
RECORD_NAME = "group.json"
MOST_CHANGES = 3
"""Differences that are named; more are counted."""
Name = Annotated[str, Field(max_length=4096)]


@checked_dataclass(config=ConfigDict(extra="ignore", strict=True))
class GroupRecord:
    """What `group.json` holds."""

    name: Name
    """Of the group."""
    data_dir: Name
    state: Literal["running", "done", "failed", "interrupted"]
    files: dict[str, str]
    maps: dict[str, dict[str, object]]
    settings: dict[str, object]
    earlier: list[str] = field(default_factory=list)
    """Run folders of the group from before, which were trained from something else."""
    folder: str | None = None
    """The last checkpoint's folder with the exports, below the group's, once it is done."""
    cause: str = ""
    """Why it failed."""
    notices: list[str] = field(default_factory=list)
    """What was skipped, resized or guessed of its images."""
    time_s: Annotated[float, Field(ge=0)] = 0.0
    """Time it has taken so far, over all batches."""
    toolkit: str = TOOLKIT
    format: str = FORMAT
    version: int = VERSION

    @property
    def content(self) -> Content:
        return Content(self.files, self.maps, self.settings)


@dataclass(frozen=True)
class Beginning:
    """How a group begins."""

    finished: Path | None = None
    """Folder of the exports of a group that is done."""
    checkpoints: list[Path] = field(default_factory=list)
    """`model.pth` files to go on from, the newest first; the others count where one is damaged."""
    note: str = ""
    """What is to be said of it."""
    earlier: list[str] = field(default_factory=list)
    """See `GroupRecord.earlier`."""
    time_s: float = 0.0
    """Time it took in earlier batches."""


def read_record(folder: Path) -> GroupRecord | None:
    """Read a group's record, None where there is none; raises `UserError` where it is damaged."""
    path = folder / RECORD_NAME
    if not path.is_file():
        return None
    try:
        values = read_json(path)
        if not isinstance(values, dict) or values.get("format") != FORMAT or values.get("version") != VERSION:
            raise ValueError("another format")
        return GroupRecord(**values)
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is no record of a group that this toolkit knows") from error


def write_record(folder: Path, record: GroupRecord) -> None:
    """Write a group's record, whole or not at all; raises `UserError` where that fails."""
    write_json(folder / RECORD_NAME, dataclasses.asdict(record))


def run_folders(folder: Path) -> list[str]:
    """Return the names of a group's run folders, the oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if RUN_FOLDER.fullmatch(path.name) and path.is_dir())


def checkpoints(folder: Path, earlier: list[str]) -> list[Path]:
    """Return the checkpoints of a group, the newest first, without those of `earlier` run folders."""
    found = []
    for name in reversed(run_folders(folder)):
        if name not in earlier:
            paths = (folder / name).glob("models/train_result_*/model.pth")
            numbered = ((re.fullmatch(r"train_result_(\d+)", path.parent.name), path) for path in paths)
            of_run = sorted(((int(match[1]), path) for match, path in numbered if match), reverse=True)
            found += [path for _, path in of_run]
    return found


def begin(folder: Path, content: Content, resume: bool) -> Beginning:
    """Decide how a group begins whose outputs are in `folder`, from its record and what it is to be trained from.

    Without `resume` it is trained anew; with it what is finished is kept and what is not goes on, unless inputs or
    settings have changed.
    """
    runs = run_folders(folder)
    if not resume:
        return Beginning(earlier=runs)
    try:
        record = read_record(folder)
    except UserError as error:
        return Beginning(note=f"trained anew: {error}", earlier=runs)
    if record is None:
        note = f"trained anew: {len(runs)} earlier runs have no {RECORD_NAME} that says of what" if runs else ""
        return Beginning(note=note, earlier=runs)
    changes = differences(record.content, content)
    if changes:
        more = f" and {len(changes) - MOST_CHANGES} more" if len(changes) > MOST_CHANGES else ""
        return Beginning(note=f"trained anew: {', '.join(changes[:MOST_CHANGES])}{more}", earlier=runs)
    going_on = Beginning(None, checkpoints(folder, record.earlier), "", record.earlier, record.time_s)
    if record.state != "done" or record.folder is None:
        return going_on
    try:
        finished = export_of(folder, record)
        check_files(finished, read_manifest(finished))
    except UserError as error:
        return dataclasses.replace(going_on, note=f"was finished, but {error}")
    return dataclasses.replace(going_on, finished=finished)


def export_of(folder: Path, record: GroupRecord) -> Path:
    """Return the folder of a finished group's exports; raises `UserError` where the record names one elsewhere."""
    path = folder / (record.folder or "")
    if record.folder is None or not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{folder / RECORD_NAME} names a folder outside of the group's")
    return path
