"""summary.json, summary.csv and summary.html of a batch: every group, the failed ones first, and what was skipped."""

from __future__ import annotations

import base64
import csv
import io
import time
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from batch.board import STATES, Board, Group
from batch.live import duration
from batch.materials import Found
from batch.thumbnail import THUMBNAIL_NAME
from configs import VERSION as TOOLKIT
from reporting.console import decibels, say
from utils.errors import UserError
from utils.files import write_bytes, write_json

if TYPE_CHECKING:
    from jinja2 import Template

FORMAT, VERSION = "neural-texture-batch", 1
COLUMNS = (
    "name state psnr_db bpp bpp_mips size_bytes width height time_s cause notices folder export report log data_dir"
).split()
"""Of summary.csv."""
INTERVAL_S, INTERVAL_WRITES = 2.0, 20
"""A summary is written anew after these seconds, or after so many times what writing it took, whichever is longer."""


class Summary:
    """Keeps the summary of a batch up to date, so that one that is killed has one too."""

    def __init__(self, board: Board, found: Found, save_dir: Path, command: str, stem: str = "summary") -> None:
        """`stem`: name of the three files without their suffixes."""
        self.board, self.found, self.save_dir, self.command = board, found, save_dir, command
        self.started = datetime.now().astimezone()
        self.stem, self.page = stem, save_dir / f"{stem}.html"
        self._changed, self._next_s = True, 0.0
        self._thumbnails: dict[int, str] = {}
        self._problem = ""

    def told(self, ended: bool) -> None:
        """Write the summary if something `ended` since it was written and the last time is long enough ago."""
        self._changed = self._changed or ended
        if self._changed and time.perf_counter() >= self._next_s:
            self.write("running")

    def write(self, state: str) -> bool:
        """Write all three files, each whole or not at all, and return whether that worked; if not, it is said once.

        `state` of the batch: running, ended or interrupted.
        """
        began = time.perf_counter()
        groups = sorted(self.board.groups, key=lambda group: STATES.index(group.state))
        entries = [group_entry(group, self.save_dir) for group in groups]
        content = self._content(state) | {"groups": entries}
        try:
            write_json(self.save_dir / f"{self.stem}.json", content)
            write_bytes(self.save_dir / f"{self.stem}.csv", csv_bytes(entries))
            thumbnails = [self._thumbnail(group) for group in groups]
            write_bytes(self.page, page_html(content, thumbnails).encode("utf-8", "replace"))
            self._problem = ""
        except UserError as error:
            if not self._problem:
                say("note", f"{error}; the summary is written later")
            self._problem = str(error)
        now = time.perf_counter()
        self._changed, self._next_s = bool(self._problem), now + max(INTERVAL_S, INTERVAL_WRITES * (now - began))
        return not self._problem

    def _content(self, state: str) -> dict[str, object]:
        now = datetime.now().astimezone()
        return {
            "format": FORMAT,
            "version": VERSION,
            "toolkit": TOOLKIT,
            "state": state,
            "command": self.command,
            "started": self.started.isoformat(timespec="seconds"),
            "updated": now.isoformat(timespec="seconds"),
            "time_s": round((now - self.started).total_seconds(), 1),
            "workers": self.board.workers,
            "counts": self.board.counts(),
            "skipped": [{"folder": name, "why": why} for name, why in self.found.skipped.items()],
            "notices": self.found.notices,
            "null": "a psnr_db of null is identical to the original; what was not measured is left out",
        }

    def _thumbnail(self, group: Group) -> str:
        """Return a group's picture as a data URI, empty where it has none yet."""
        index = group.job.index
        if index not in self._thumbnails:
            if group.state in ("waiting", "running"):
                return ""
            try:
                data = (group.job.folder / THUMBNAIL_NAME).read_bytes()
            except OSError:
                data = b""
            uri = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}" if data else ""
            self._thumbnails[index] = uri
        return self._thumbnails[index]


def group_entry(group: Group, save_dir: Path) -> dict[str, object]:
    """Return a group's entry of summary.json; paths are relative to the summary's folder."""

    def relative(path: Path) -> str:
        return path.relative_to(save_dir).as_posix() if path.is_relative_to(save_dir) else str(path)

    entry: dict[str, object] = {"name": group.job.name, "state": group.state}
    if group.cause:
        entry["cause"] = group.cause
    if group.saved:
        entry["saved"] = relative(Path(group.saved))
    entry |= group.figures
    entry["time_s"] = round(group.time_s or group.elapsed_s(), 1)
    if group.state == "running" and group.progress:
        entry["iteration"] = group.progress.iteration
    entry |= {"notices": group.notices, "notes": group.notes, "data_dir": group.job.config.run.data_dir}
    entry["folder"] = relative(group.job.folder)
    if group.folder:
        entry["export"] = relative(group.folder)
        report = group.folder.parent.parent / "report.html"
        if report.is_file():
            entry["report"] = relative(report)
    # That of a group which waits is from before.
    if group.state != "waiting" and group.job.log_path.is_file():
        entry["log"] = relative(group.job.log_path)
    return entry


def csv_bytes(entries: list[dict[str, object]]) -> bytes:
    """Return summary.csv, UTF-8 with the mark by which spreadsheets know it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    for entry in entries:
        psnr = entry.get("psnr_db", "")
        writer.writerow(
            {**entry, "psnr_db": "identical" if psnr is None else psnr, "notices": len(_list(entry["notices"]))}
        )
    return text.getvalue().encode("utf-8-sig", "replace")


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


@cache
def _template() -> Template:
    # Not at the top: a batch has begun by the time that it is needed.
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    environment.filters |= {
        "link": lambda path: quote(str(path)),
        "duration": duration,
        "db": decibels,
        "moment": lambda text: str(text)[:19].replace("T", " "),
        "bytes": lambda count: f"{count / 1024:,.0f} KB" if count < 1 << 20 else f"{count / (1 << 20):,.1f} MB",
    }
    return environment.get_template("summary.html.j2")


def page_html(content: Mapping, thumbnails: list[str]) -> str:
    """Return summary.html: one file with every picture in it, that a double click opens."""
    return _template().render(**content, thumbnails=thumbnails, states=STATES)
