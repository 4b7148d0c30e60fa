"""The table of groups that stands at the foot of a terminal while a batch runs."""

from __future__ import annotations

import sys
from typing import cast

from rich.console import Console, RenderableType
from rich.console import Group as Renderables
from rich.live import Live
from rich.table import Table
from rich.text import Text

from batch.board import Board, Group, State
from reporting.console import decibels

REFRESHES_PER_S = 2.0
OTHER_LINES = 6
"""Lines of a terminal that are left for what stands around the groups."""
FEWEST_ROWS = 4
ENDED_ROWS = 3
"""Groups that are shown of those which ended, failed ones and others, where not all have room."""
_COLOURS: dict[State, str] = {
    "failed": "red",
    "interrupted": "yellow",
    "running": "cyan",
    "waiting": "dim",
    "done": "green",
    "kept": "green",
}


def duration(seconds: float) -> str:
    """Write a time in its two largest units.

    >>> duration(8.4), duration(200), duration(7500), duration(200000)
    ('8 s', '3 min 20 s', '2 h 05 min', '2 d 8 h')
    """
    whole = round(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{minutes} min {whole % 60:02d} s" if minutes else f"{whole} s"


def psnr_text(group: Group) -> str:
    """Return the PSNR of a group's export without its unit, empty where there is none."""
    if "psnr_db" not in group.figures:
        return ""
    return decibels(cast("float | None", group.figures["psnr_db"]))


def counts_text(board: Board) -> str:
    """Return how many groups are how far, and about how long the rest takes."""
    counts = board.counts()
    parts = [f"{counts['done'] + counts['kept']} of {len(board.groups)} done"]
    if counts["kept"]:
        parts[0] += f" ({counts['kept']} of them before)"
    parts += [f"{counts[state]} {state}" for state in ("failed", "interrupted", "running", "waiting") if counts[state]]
    left_s = board.left_s()
    if left_s and (counts["running"] or counts["waiting"]):
        parts.append(f"about {duration(left_s)} left")
    return ", ".join(parts)


def shown_groups(board: Board, rows: int) -> list[Group]:
    """Return the groups that a table of so many rows shows: all, or those that run and the last that ended."""
    if len(board.groups) <= rows:
        return board.groups
    failed = [group for group in board.ended if group.state == "failed"][-ENDED_ROWS:]
    others = [group for group in board.ended if group.state in ("done", "kept", "interrupted")][-ENDED_ROWS:]
    running = board.of("running")[: max(rows - len(failed) - len(others), FEWEST_ROWS)]
    waiting = board.of("waiting")[: max(rows - len(failed) - len(others) - len(running), 0)]
    return [*failed, *others, *running, *waiting]


class LiveTable:
    """Shows a board while it is entered, where the console is a terminal."""

    def __init__(self, board: Board, console: Console) -> None:
        self.board, self.console = board, console
        self._live = Live(
            console=console,
            get_renderable=self.render,
            refresh_per_second=REFRESHES_PER_S,
            vertical_overflow="crop",
            # What goes to a file stays out of the terminal.
            redirect_stdout=False,
            redirect_stderr=sys.stderr.isatty(),
        )

    def __enter__(self) -> LiveTable:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def render(self) -> RenderableType:
        """Return the table and, below it, how many groups are how far."""
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("group", no_wrap=True, overflow="ellipsis", max_width=max(self.console.width - 58, 12))
        table.add_column("state", no_wrap=True)
        for title in ("iteration", "dB", "time", "left"):
            table.add_column(title, justify="right", no_wrap=True)
        for group in shown_groups(self.board, max(self.console.height - OTHER_LINES, FEWEST_ROWS)):
            table.add_row(*self._cells(group), style="dim" if group.state == "waiting" else "")
        return Renderables(Text(""), table, Text(counts_text(self.board)))

    def _cells(self, group: Group) -> list[Text]:
        progress = group.progress
        iteration, psnr, left = "", "", ""
        if group.state == "running" and progress:
            iteration = f"{progress.iteration:,} ({progress.fraction:.0%})"
            psnr = "" if progress.psnr_db is None else decibels(progress.psnr_db)
            left = "" if progress.left_s is None else duration(progress.left_s)
        else:
            psnr = psnr_text(group)
        state: str = group.state
        if group.state == "running":
            state = ("starting" if progress is None else progress.phase) + (f" on {group.where}" if group.where else "")
        taken = "" if group.state == "waiting" else duration(group.elapsed_s())
        return [
            Text(group.job.name),
            Text(state, style=_COLOURS[group.state]),
            *(Text(text) for text in (iteration, psnr, taken, left)),
        ]
