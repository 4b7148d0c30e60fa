"""Damaged records of groups, which a batch goes on from."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.reliability.caged import Kind
from benchmarks.reliability.damage import damaged_json, json_bytes
from benchmarks.reliability.run_kinds import FLAGS

if TYPE_CHECKING:
    from batch.board import Board
    from batch.content import Content
    from configs import Config


def _config(folder: Path) -> Config:
    from training.flags import make_config

    data_dir, save_dir = folder / "materials" / "wall", folder / "out" / "wall"
    return make_config({**FLAGS, "data_dir": str(data_dir), "save_dir": str(save_dir)})


def _content(config: Config) -> Content:
    from batch.content import group_content
    from dataset import get_texture_config
    from images.inputs import material_maps

    return group_content(config, material_maps(config.run.data_dir, get_texture_config()))


def write_group(samples: Path, folder: Path) -> None:
    """Write the images of a group and its output folder, as a batch leaves it that has trained it."""
    from batch.record import GroupRecord, write_record

    shutil.copytree(samples / "run" / "material", folder / "materials" / "wall")
    group, (run,) = folder / "out" / "wall", (samples / "run" / "runs").glob("2*")
    shutil.copytree(run, group / run.name)
    config = _config(folder)
    content = _content(config)
    (export,) = (group / run.name / "models").iterdir()
    record = GroupRecord(
        "wall",
        config.run.data_dir,
        "done",
        content.files,
        content.maps,
        content.settings,
        ["2020-01-01-00-00-00"],
        export.relative_to(group).as_posix(),
        notices=["roughness: a notice"],
        time_s=1.5,
    )
    write_record(group, record)


def make_group(samples: Path, folder: Path, chance: random.Random) -> None:
    """Write a group whose record is damaged."""
    from batch.record import RECORD_NAME

    write_group(samples, folder)
    path = folder / "out" / "wall" / RECORD_NAME
    path.write_bytes(json_bytes(damaged_json(json.loads(path.read_text("utf-8")), chance), chance))


def open_group(folder: Path, out: Path) -> None:
    """Read a group's record as a batch does that goes on: how the group begins, and what the summary says of it."""
    from batch.record import begin, read_record

    group, config = folder / "out" / "wall", _config(folder)
    begun = begin(group, _content(config), True)
    for path in (*begun.checkpoints, *([begun.finished] if begun.finished else [])):
        if not path.resolve().is_relative_to(group.resolve()):
            raise ValueError(f"a group goes on from {path}")
    if not write_summary(ended_board(config, begun.finished), out):
        raise ValueError("no summary could be written")
    # Here a damaged one is refused; the batch above has said so and trains the group anew.
    read_record(group)


def ended_board(config: Config, finished: Path | None, groups: int = 1) -> Board:
    """Return groups that have ended: kept as `finished`, or failed."""
    from batch.board import Board
    from batch.jobs import LOG_NAME, Job

    log = Path(config.run.save_dir) / LOG_NAME
    board = Board([Job(number, f"wall {number}", config, log) for number in range(groups)], groups)
    for number in range(groups):
        board.take(number, "started", "")
        board.take(number, *(("kept", str(finished)) if finished else ("failed", "trained anew")))
    return board


def write_summary(board: Board, folder: Path) -> bool:
    """Write a batch's summary; returns whether that worked."""
    from batch.materials import Found
    from batch.summary import Summary

    return Summary(board, Found([]), folder, "train.py --groups_batching").write("ended")


KINDS = [Kind("group.json", make_group, open_group, 400, write_group)]
