"""Train every material below a folder, each into its own output folder, several at a time in processes of their own."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from batch.board import Board
from batch.engines.local import run_local
from batch.jobs import ENDS, LOG_NAME, Job, What
from batch.lines import BatchLines
from batch.live import LiveTable
from batch.materials import Found, find_materials
from batch.names import output_folders
from batch.summary import Summary
from configs import Config
from dataset import get_texture_config
from reporting.console import console
from utils.arguments import command_path
from utils.files import require_writable_folder


def group_jobs(config: Config, found: Found, save_dir: Path) -> list[Job]:
    """Return a job for each material that was found."""
    folders = output_folders([material.name for material in found.materials])
    jobs = []
    for index, (material, name) in enumerate(zip(found.materials, folders, strict=True)):
        folder = save_dir / name
        # The folders are not given by hand, so that no material calls them without effect.
        run = replace(config.run, data_dir=material.data_dir, save_dir=str(folder))
        settings = replace(config, run=run)
        jobs.append(Job(index, material.name, settings, folder / LOG_NAME, config.run.groups_resume))
    return jobs


def train_groups(config: Config) -> int:
    """Train all materials below `groups_batch_dir`, `groups_max_workers` at a time; returns 1 where any failed, else 0.

    A material that fails is reported and costs itself alone; the summary is in `groups_save_dir` however the batch ends.
    """
    run = config.run
    # Absolute, as the processes' own working folders may be others.
    save_dir = Path(run.groups_save_dir).absolute()
    found = find_materials(Path(run.groups_batch_dir), save_dir, get_texture_config())
    require_writable_folder(save_dir)
    jobs = group_jobs(config, found, save_dir)
    board = Board(jobs, run.groups_max_workers)
    lines = BatchLines(board, run.groups_resume)
    summary = Summary(board, found, save_dir, " ".join(["python", *map(command_path, sys.argv)]))
    renamed = {job.name: str(job.folder) for job in jobs if job.folder != save_dir / job.name}
    lines.found(found, renamed)

    def tell(index: int, what: What, value: object) -> None:
        group = board.take(index, what, value)
        lines.told(group, what, value)
        summary.told(what in ENDS)

    state = "interrupted"
    try:
        with LiveTable(board, console):
            run_local(jobs, run.groups_max_workers, run.groups_verbose, tell)
        state = "ended"
    finally:
        lines.summary(Path(run.groups_save_dir), found, summary.page if summary.write(state) else None)
    return 1 if board.of("failed") else 0
