"""What a batch says on the terminal: a line when a group begins and one when it ends, and who failed at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import cast

from batch.board import Board, Group
from batch.jobs import What
from batch.live import duration, psnr_text
from batch.materials import Found
from reporting.console import console, say
from reporting.summary import next_commands, print_lines

MOST_LISTED = 20
"""Entries of a list that are printed; the summary has all."""


class BatchLines:
    """Prints what is told of a batch's groups; where a table shows who runs, beginnings are not said."""

    def __init__(self, board: Board, resume: bool) -> None:
        self.board, self.resume = board, resume
        self.unsaid: set[int] = set()
        """Groups that have begun, and may turn out to be finished."""
        self.broken = False
        """Whether nobody reads any more what is said."""

    def told(self, group: Group, what: What, value: object) -> None:
        """Say what happened to a group, as an engine tells it."""
        self._safely(lambda: self._told(group, what, value))

    def _safely(self, speak: Callable[[], None]) -> None:
        """A terminal or program that has gone away is no reason to end a batch."""
        if self.broken:
            return
        try:
            speak()
        except (OSError, ValueError):
            self.broken = True

    def _told(self, group: Group, what: What, value: object) -> None:
        name, index = group.job.name, group.job.index
        title = f"{index + 1} of {len(self.board.groups)}"
        if what == "started":
            self.unsaid.add(index)
            if not self.resume:
                self._say_start(group, title)
            return
        if what != "kept":
            self._say_start(group, title)
        self.unsaid.discard(index)
        if what in ("note", "retried"):
            say("note", f"{name}: {value if what == 'note' else group.notes[-1]}")
        elif what == "line":
            if self.board.workers > 1:
                say(name, value)
            else:
                console.print(str(value), markup=False)
        elif what == "interrupted":
            say("interrupted", f"{name}, {f'saved {value}' if value else 'nothing to save yet'}")
        elif group.state == "failed":
            print(f"error: {name} failed: {group.cause}", file=sys.stderr, flush=True)
        elif what in ("done", "kept"):
            say(title, _end_line(group))

    def _say_start(self, group: Group, title: str) -> None:
        if group.job.index in self.unsaid and not console.is_terminal:
            say(title, group.job.name + (f" on {group.where}" if group.where else ""))
        self.unsaid.discard(group.job.index)

    def found(self, found: Found, renamed: dict[str, str]) -> None:
        """Say what is not trained, and which groups have output folders of other names."""
        for notice in found.notices:
            say("note", notice)
        _list("skipped", [f"{name}: {why}" for name, why in found.skipped.items()])
        _list(
            "note", [f"{name} goes to {folder}, a name that every system can have" for name, folder in renamed.items()]
        )

    def summary(self, save_dir: object, found: Found, page: object | None) -> None:
        """Say how the batch ended."""
        self._safely(lambda: self._summary(save_dir, found, page))

    def _summary(self, save_dir: object, found: Found, page: object | None) -> None:
        board = self.board
        finished, failed = board.of("done", "kept"), board.of("failed")
        say(
            "summary",
            f"{len(finished)} of {len(board.groups)} materials trained into {save_dir}"
            + (f", {board.counts()['kept']} of them before" if board.of("kept") else "")
            + (f"; folders skipped: {len(found.skipped)}" if found.skipped else ""),
        )
        unfinished = board.of("interrupted", "running", "waiting")
        if unfinished:
            say("to go on", f"the same command with --groups_resume, for {len(unfinished)} that are not finished")
        _list("failed", [f"{group.job.name}: {group.cause}{_log(group)}" for group in failed])
        if page:
            say("all of them", page)
        if finished and finished[0].folder:
            say("next", f"the commands for {finished[0].job.name}; those of the others have their folders instead")
            # A checkpoint's folder lies in `models` of its run.
            print_lines(next_commands(finished[0].folder.parent.parent))


def _list(title: str, entries: list[str]) -> None:
    for entry in entries[:MOST_LISTED]:
        say(title, entry)
    if len(entries) > MOST_LISTED:
        say(title, f"and {len(entries) - MOST_LISTED} more, see the summary")


def _log(group: Group) -> str:
    """Say where a group's log is; one whose folder takes no files has none."""
    return f" (log: {group.job.log_path})" if group.job.log_path.is_file() else ""


def _end_line(group: Group) -> str:
    """Say how good and how large a finished group is, and where it lies."""
    psnr = psnr_text(group)
    took = "was finished before" if group.state == "kept" else f"done in {duration(group.taken_s)}"
    quality = f", {psnr}{'' if psnr == 'identical' else ' dB'} at" if psnr else ","
    notices = f", {len(group.notices)} {'notice' if len(group.notices) == 1 else 'notices'}" if group.notices else ""
    rate = cast(float, group.figures["bpp"])
    return f"{group.job.name} {took}{quality} {rate:.2f} bits per texel{notices}, {group.folder}"
